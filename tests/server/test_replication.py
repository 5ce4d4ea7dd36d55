"""The feed for other mirrors, asked over HTTP."""

import re
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession

from npmmirror.index import Group, IndexWriter
from tests.index.building import captured, document, drop, effects, facts, gone, mark, tarball
from tests.server.conftest import Serve, Served

pytestmark = pytest.mark.anyio

FEED = "/-/replicate/registry"


async def put(here: Served, *groups: Group, end: int) -> None:
    """Commit groups to the index, as a daemon does, with a mark behind the last one."""
    async with await IndexWriter.open(here.mirror.config.storage.index_path) as writer:
        for group in groups:
            await writer.commit(group)
        await writer.commit(Group(mark=mark(end, f"2026-11-20T10:00:00.{end:06}Z")))


async def changes(here: Served, query: str = "") -> Any:
    """A page of the feed."""
    answer = await here.ask(f"{FEED}/_changes?{query}")
    assert answer.status == 200, answer.body
    return answer.json


async def docs(here: Served, query: str = "") -> Any:
    """A page of the list of all packages."""
    answer = await here.ask(f"{FEED}/_all_docs?{query}")
    assert answer.status == 200, answer.body
    return answer.json


def seqs(page: Any) -> list[tuple[int, str]]:
    """Seq and package of each row."""
    return [(row["seq"], row["id"]) for row in page["results"]]


async def test_the_root_tells_where_the_feed_ends(served: Serve) -> None:
    """The newest mark, and the packages that are there."""
    async with served() as here:
        await put(
            here, captured("a", 101), captured("b", 102), Group(gone=(gone("b", 103),)), end=104
        )
        for path in (FEED, f"{FEED}/", "/-/replicate", "/-/replicate/"):
            assert (await here.ask(path)).json == {
                "db_name": "registry",
                "engine": "npmmirror",
                "doc_count": 1,
                "update_seq": 104,
            }


async def test_one_row_a_package_in_the_order_of_its_newest_record(served: Serve) -> None:
    """The newest takes the place of the one before; the last seq is where the feed ends."""
    async with served() as here:
        await put(here, captured("a", 101), captured("b", 102), captured("a", 103), end=104)
        page = await changes(here)
        assert page == {
            "results": [
                {"seq": 102, "id": "b", "changes": [{"rev": "1-a"}]},
                {"seq": 103, "id": "a", "changes": [{"rev": "1-a"}]},
            ],
            "last_seq": 104,
        }
        assert seqs(await changes(here, "since=102")) == [(103, "a")]
        assert await changes(here, "since=103") == {"results": [], "last_seq": 104}


async def test_a_full_page_ends_at_its_last_row(served: Serve) -> None:
    """From there on the next one goes on."""
    async with served() as here:
        await put(here, *(captured(f"p{n}", 100 + n) for n in range(1, 6)), end=106)
        assert (await changes(here, "limit=2"))["last_seq"] == 102
        assert (await changes(here, "limit=2&since=104"))["last_seq"] == 106
        newest = await changes(here, "limit=1&descending=true")
        assert (seqs(newest), newest["last_seq"]) == ([(105, "p5")], 106)


async def test_nothing_is_told_before_its_mark(served: Serve) -> None:
    """A record without a mark behind it is not told; with the mark it is found behind the cursor."""
    async with served() as here:
        await put(here, captured("a", 101), end=102)
        async with await IndexWriter.open(here.mirror.config.storage.index_path) as writer:
            await writer.commit(captured("b", 103))
        before = await changes(here)
        assert (seqs(before), before["last_seq"]) == ([(101, "a")], 102)
        await put(here, end=104)
        assert seqs(await changes(here, "since=102")) == [(103, "b")]


async def test_a_stale_document_is_no_row(served: Serve) -> None:
    """Neither of a package that has another one nor of one that has none."""
    async with served() as here:
        stale = Group(documents=(document("a", 102, None), document("b", 103, None)))
        await put(here, captured("a", 101), stale, end=104)
        assert seqs(await changes(here)) == [(101, "a")]


async def test_a_file_that_comes_or_goes_moves_its_package(served: Serve) -> None:
    """So who did not get it asks again."""
    async with served() as here:
        await put(here, captured("a", 101, "1.0.0"), captured("b", 102), end=103)
        await put(here, Group(tarballs=(tarball("a", "1.0.0", 104),)), end=105)
        assert seqs(await changes(here, "since=103")) == [(104, "a")]
        await put(here, Group(drops=(drop("a", "1.0.0", 106),)), end=107)
        assert seqs(await changes(here, "since=105")) == [(106, "a")]


async def test_what_is_gone_upstream_is_deleted(served: Serve) -> None:
    """A package that was removed; one that was unpublished still has a document."""
    async with served() as here:
        unpublished = captured("u", 102, package=facts("unpublished", rev="3-u"))
        await put(here, captured("a", 101), unpublished, Group(gone=(gone("a", 103),)), end=104)
        assert (await changes(here))["results"] == [
            {"seq": 102, "id": "u", "changes": [{"rev": "3-u"}]},
            {"seq": 103, "id": "a", "changes": [{"rev": "1-a"}], "deleted": True},
        ]
        assert [row["id"] for row in (await docs(here))["rows"]] == ["u"]


async def test_a_document_without_a_revision_is_given_one(served: Serve) -> None:
    """Its ordinal, and the digest of its bytes."""
    async with served() as here:
        await put(here, captured("a", 101, package=facts(rev=None)), end=102)
        [row] = (await changes(here))["results"]
        rev = row["changes"][0]["rev"]
        assert re.fullmatch("101-[0-9a-f]{64}", rev)
        [listed] = (await docs(here))["rows"]
        assert listed["value"]["rev"] == rev


async def test_some_packages_alone(served: Serve) -> None:
    """By their names; unknown ones have no row."""
    async with served() as here:
        await put(here, captured("a", 101), captured("@s/n", 102), captured("c", 103), end=104)
        page = await changes(here, "doc_ids=%5B%22%40s%2Fn%22%2C%22c%22%2C%22x%22%5D")
        assert seqs(page) == [(102, "@s/n"), (103, "c")]
        assert seqs(await changes(here, 'since=102&filter=_doc_ids&doc_ids=["c","a"]')) == [
            (103, "c")
        ]


async def test_all_packages_by_name(served: Serve) -> None:
    """In the order of their bytes, from a key to a key, either way."""
    async with served() as here:
        names = ("JSONStream", "a", "b", "jsonstream", "\u00e9")
        await put(here, *(captured(name, 101 + n) for n, name in enumerate(names)), end=110)
        page = await docs(here)
        assert (page["total_rows"], page["offset"]) == (5, 0)
        assert page["rows"][1] == {"id": "a", "key": "a", "value": {"rev": "1-a"}}
        assert [row["id"] for row in page["rows"]] == list(names)

        async def found(query: str) -> list[str]:
            return [row["key"] for row in (await docs(here, query))["rows"]]

        assert await found('startkey="b"&limit=2') == ["b", "jsonstream"]
        assert await found('startkey="aa"&endkey="jsonstream"') == ["b", "jsonstream"]
        assert await found('startkey="a"&endkey="b"&inclusive_end=false') == ["a"]
        assert await found('descending=true&startkey="b"') == ["b", "a", "JSONStream"]
        assert await found('key="a"') == ["a"]
        assert await found('startkey="b"&endkey="a"') == []
        assert (await docs(here, 'keys=["b","x","b"]'))["rows"] == [
            {"id": "b", "key": "b", "value": {"rev": "1-a"}},
            {"key": "x", "error": "not_found"},
            {"id": "b", "key": "b", "value": {"rev": "1-a"}},
        ]


async def test_names_of_any_kind_are_json(served: Serve) -> None:
    """Quotation marks, control characters, emoji, and what only JSON can hold."""
    async with served() as here:
        names = [
            'say "hi"',
            "back\\slash",
            "tab\there",
            "nul\x00in",
            "\U0001f600",
            "\u2028",
            "\ud800x",
        ]
        rev = facts(rev='9-"\x01')
        await put(here, *(captured(n, 101 + k, package=rev) for k, n in enumerate(names)), end=110)
        page = await changes(here)
        assert [row["id"] for row in page["results"]] == [*names[:-1], "\\ud800x"]
        assert page["results"][0]["changes"] == [{"rev": '9-"\x01'}]
        assert len((await docs(here))["rows"]) == len(names)


async def test_a_refused_question_says_why(served: Serve) -> None:
    """400 with a reason in a sentence; anything but the feed's three addresses is a 404."""
    async with served() as here:
        answer = await here.ask(f"{FEED}/_changes?include_docs=true")
        assert (answer.status, answer.json) == (
            400,
            {"error": "bad_request", "reason": "include_docs is not supported"},
        )
        for path in ("/left-pad", "/_changes/x", "/../_changes", "/_design/app"):
            assert (await here.ask(FEED + path)).status == 404
        assert (await here.ask(f"{FEED}/_changes", "POST")).status == 405
        head = await here.ask(f"{FEED}/_changes", "HEAD")
        assert (head.status, head.body) == (200, b"")


async def test_a_longpoll_waits_for_another_process(served: Serve) -> None:
    """The row that comes is the answer, at once."""
    async with served() as here, anyio.create_task_group() as tasks:
        await put(here, captured("a", 101), end=102)
        found: list[Any] = []

        async def wait() -> None:
            found.append(await changes(here, "feed=longpoll&since=102&timeout=30000"))

        tasks.start_soon(wait)
        await until_waiting(here, 1)
        await put(here, end=103)  # nothing of the feed's: it waits on
        await put(here, captured("b", 104), end=105)
        with anyio.fail_after(20):
            while not found:  # noqa: ASYNC110 - another program would
                await anyio.sleep(0.01)
        assert found[0]["last_seq"] == 105
        assert seqs(found[0]) == [(104, "b")]


async def test_a_daemon_says_itself_that_there_is_news(served: Serve) -> None:
    """Nobody has to look at the file."""
    async with served() as here, anyio.create_task_group() as tasks:
        here.resources.news._has_changed = lambda: False
        found: list[Any] = []

        async def wait() -> None:
            found.append(await changes(here, "feed=longpoll&since=now"))

        tasks.start_soon(wait)
        await until_waiting(here, 1)
        await put(here, captured("b", 104), end=105)
        here.resources.news.tell()
        with anyio.fail_after(20):
            while not found:  # noqa: ASYNC110 - another program would
                await anyio.sleep(0.01)
        assert seqs(found[0]) == [(104, "b")]


async def test_a_longpoll_ends_where_nothing_comes(served: Serve) -> None:
    """By its time, with no rows; and at once where the cursor is beyond the end."""
    async with served() as here:
        await put(here, captured("a", 101), end=102)
        assert await changes(here, "feed=longpoll&since=102&timeout=10") == {
            "results": [],
            "last_seq": 102,
        }
        with anyio.fail_after(20):
            page = await changes(here, "feed=longpoll&since=5000")
        assert page == {"results": [], "last_seq": 102}


async def test_only_so_many_wait(served: Serve) -> None:
    """The others are told to come again; a place is free again when one leaves."""
    async with served(max_requests=4) as here:
        await put(here, captured("a", 101), end=102)
        query = f"{FEED}/_changes?feed=longpoll&since=102"
        async with ClientSession() as impatient, anyio.create_task_group() as tasks:
            tasks.start_soon(impatient.get, here.url + query)
            await until_waiting(here, 1)
            refused = await here.ask(query)
            assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
            tasks.cancel_scope.cancel()
        await until_waiting(here, 0)


async def test_the_end_of_the_server_waits_for_nobody(served: Serve) -> None:
    """Who waits is answered before the daemon's patience is over."""
    async with served() as here, anyio.create_task_group() as tasks:
        await put(here, captured("a", 101), end=102)
        found: list[Any] = []

        async def wait() -> None:
            found.append(await changes(here, "feed=longpoll&since=102"))

        tasks.start_soon(wait)
        await until_waiting(here, 1)
        here.app.draining = True
        await until_waiting(here, 0)
    assert found[0]["results"] == []


async def until_waiting(here: Served, number: int) -> None:
    """Wait until so many requests wait for a change."""
    with anyio.fail_after(20):
        while here.app.replication.waiting != number:  # noqa: ASYNC110 - as another program would
            await anyio.sleep(0.01)


async def test_what_comes_with_its_files_is_told_once(served: Serve) -> None:
    """The row stands where the last of its records does."""
    async with served() as here:
        both = Group(
            documents=(document("a", 101, effects("1.0.0")),),
            tarballs=(tarball("a", "1.0.0", 102),),
        )
        await put(here, both, end=103)
        assert seqs(await changes(here)) == [(102, "a")]
