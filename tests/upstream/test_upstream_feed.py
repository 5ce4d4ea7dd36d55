"""The changes feed: npm's, CouchDB's, and what else answers under its address."""

import json
from typing import Any

import pytest

from npmmirror.change import Change, Head
from npmmirror.errors import UsageError
from npmmirror.upstream import BadAnswer, Limits, Listed, UpstreamError
from npmmirror.upstream.feed import Listing, read_listing, read_page, read_root
from tests.upstream.loopback import Connect, Serve, reply

pytestmark = pytest.mark.anyio


def page(*rows: Any, last_seq: Any = 9) -> bytes:
    return json.dumps({"results": rows, "last_seq": last_seq}).encode()


async def test_a_page_of_npm_is_read() -> None:
    """Integer seqs, one revision a row, `deleted` only where it is true."""
    read = read_page(
        page(
            {"seq": 3, "id": "left-pad", "changes": [{"rev": "2-b"}, {"rev": "1-a"}]},
            {"seq": 7, "id": "gone", "changes": [{"rev": "9-z"}], "deleted": True},
            {"seq": 8, "id": "here", "changes": [{"rev": "9-z"}], "deleted": "true"},
        )
    )
    assert read.changes == (
        Change(3, "left-pad", "2-b"),
        Change(7, "gone", "9-z", deleted=True),
        Change(8, "here", "9-z"),
    )
    assert read.last_seq == 9


async def test_opaque_seqs_stay_what_they_are() -> None:
    """CouchDB's strings are cursors, and so are its pairs, kept as JSON."""
    read = read_page(
        page(
            {"seq": "12-g1AAA", "id": "a", "changes": [{"rev": "1-a"}]},
            {"seq": [13, "g1AAB"], "id": "b", "changes": [{"rev": "1-b"}]},
            last_seq=[13, "g1AAB"],
        )
    )
    assert [change.seq for change in read.changes] == ["12-g1AAA", '[13,"g1AAB"]']
    assert read.last_seq == '[13,"g1AAB"]'


@pytest.mark.parametrize("changes", [[], None, "x", [{}], [None], [{"rev": 5}]])
async def test_a_row_without_revision_has_none(changes: Any) -> None:
    """A change whose revision is not told is a change all the same."""
    read = read_page(page({"seq": 1, "id": "a", "changes": changes}))
    assert read.changes == (Change(1, "a", None),)


@pytest.mark.parametrize(
    "row", [{"seq": 1, "changes": []}, {"seq": 1, "id": 7}, {"seq": 1, "id": ""}, "text", None]
)
async def test_a_row_that_names_no_package_is_told_and_holds_up_nobody(row: Any) -> None:
    """The rest of the page is read; the row is not passed over in silence."""
    read = read_page(page({"seq": 1, "id": "fine"}, row))
    assert [change.id for change in read.changes] == ["fine"]
    assert read.odd == (repr(row),)


@pytest.mark.parametrize("seq", [{}, {"seq": None}, {"seq": True}, {"seq": 1.5}, {"seq": ""}])
async def test_a_change_without_a_usable_seq_gets_the_pages_last(seq: dict[str, Any]) -> None:
    """What it names has changed all the same."""
    read = read_page(page({"id": "left-pad", "changes": [{"rev": "1-a"}], **seq}))
    assert read.changes == (Change(read.last_seq, "left-pad", "1-a"),)
    assert read.odd == ()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>maintenance</html>", "html"),
        (b"\n <!doctype html>", "html"),
        (b"", "not_json"),
        (b'{"results":[', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[]", "bad_feed"),
        (b'{"error":"not_found","reason":"missing"}', "bad_feed"),
        (b'{"results":[],"last_seq":1,"error":"timeout"}', "bad_feed"),
        (b'{"results":{},"last_seq":1}', "bad_feed"),
        (b'{"results":[]}', "bad_feed"),
        (b'{"results":[],"last_seq":null}', "bad_feed"),
    ],
)
async def test_a_200_that_is_no_page_is_told_apart(body: bytes, reason: str) -> None:
    """HTML, broken JSON and error objects come with status 200 too."""
    with pytest.raises(BadAnswer) as bad:
        read_page(body)
    assert bad.value.reason == reason


async def test_a_lone_surrogate_in_an_id_is_read() -> None:
    """What strict JSON parsers refuse does not stop the feed."""
    read = read_page(b'{"results":[{"seq":1,"id":"\\ud800","changes":[]}],"last_seq":1}')
    assert read.changes[0].id == "\ud800"


async def test_a_listing_is_read() -> None:
    """`_all_docs` gives names and revisions; the key stands in for a missing id."""
    rows = [
        {"id": "a", "key": "a", "value": {"rev": "1-a"}},
        {"key": "b", "value": None},
    ]
    listing = read_listing(json.dumps({"total_rows": 2, "offset": 0, "rows": rows}).encode())
    assert listing == Listing((Listed("a", "1-a"), Listed("b", None)), 2)


@pytest.mark.parametrize(
    "row", [{"value": {"rev": "1-a"}}, None, {"id": 1}, {"key": "b", "error": "not_found"}]
)
async def test_a_listing_row_without_name_is_told_and_passed_over(row: Any) -> None:
    """It must not hold up all others; what a list lacks is a suspicion, and no removal."""
    listing = read_listing(json.dumps({"rows": [row, {"id": "a", "value": None}]}).encode())
    assert listing.rows == (Listed("a", None),)
    assert listing.odd == (f"{row!r}",)
    assert listing.total is None


@pytest.mark.parametrize(
    ("root", "head"),
    [
        ({"update_seq": 129653228, "doc_count": 4374853}, Head(129653228, 4374853)),
        ({"update_seq": "12-g1AAA", "doc_count": "many"}, Head("12-g1AAA", None)),
        ({"db_name": "registry"}, None),
    ],
)
async def test_a_root_document_is_read(root: Any, head: Head | None) -> None:
    """The end of the feed and the number of its documents."""
    assert read_root(json.dumps(root).encode()) == head


async def test_changes_sends_only_what_npm_accepts(serve: Serve, connect: Connect) -> None:
    """`since` and `limit`, and `descending` where asked for; npm answers others with 400."""
    server = await serve(reply(page()))
    upstream = await connect(server.url, feed=server.url + "/registry/")
    await upstream.changes(0, 1000)
    await upstream.changes("3-a=", 1, descending=True)
    assert server.paths == [
        "/registry/_changes?since=0&limit=1000",
        "/registry/_changes?since=3-a%3D&limit=1&descending=true",
    ]


async def test_a_page_of_ten_thousand_rows_is_read(serve: Serve, connect: Connect) -> None:
    """A full page arrives in chunks and is parsed off the loop."""
    rows = [
        {"seq": seq, "id": f"package-{seq}", "changes": [{"rev": "1-abcdef0123456789"}]}
        for seq in range(1, 10_001)
    ]
    server = await serve(reply(page(*rows, last_seq=10_004)))
    read = await (await connect(server.url, feed=server.url)).changes(0, 10_000)
    assert (len(read.changes), read.last_seq) == (10_000, 10_004)
    assert read.changes[-1] == Change(10_000, "package-10000", "1-abcdef0123456789")


async def test_all_docs_asks_from_a_key_on(serve: Serve, connect: Connect) -> None:
    """The key is inclusive and quoted as JSON; the first page has none."""
    server = await serve(reply({"rows": [{"id": "a", "value": {"rev": "1-a"}}]}))
    upstream = await connect(server.url, feed=server.url)
    listing = await upstream.all_docs(startkey=None, limit=2)
    assert listing.rows == (Listed("a", "1-a"),)
    await upstream.all_docs(startkey="@a/b", limit=20_000)
    assert server.paths == [
        "/_all_docs?limit=2",
        "/_all_docs?startkey=%22%40a%2Fb%22&limit=10000",
    ]


async def test_the_head_is_the_roots(serve: Serve, connect: Connect) -> None:
    """One request tells where the feed ends."""
    server = await serve(reply({"update_seq": 7, "doc_count": 3}))
    assert await (await connect(server.url, feed=server.url + "/r")).head() == Head(7, 3)
    assert server.paths == ["/r/"]


@pytest.mark.parametrize("root", [reply({}), reply(b"no", 404), reply(b"<html>")], ids=str)
async def test_without_a_root_the_last_change_tells_the_head(
    serve: Serve, connect: Connect, root: Any
) -> None:
    """`descending=true&limit=1` stands in, without `since`."""
    server = await serve(root, reply(page(last_seq="5-x")))
    assert await (await connect(server.url, feed=server.url)).head() == Head("5-x", None)
    assert server.paths == ["/", "/_changes?limit=1&descending=true"]


async def test_a_refused_request_tells_what_the_feed_said(serve: Serve, connect: Connect) -> None:
    """A 400 carries the beginning of its body into the error."""
    server = await serve(reply({"error": "bad since"}, 400))
    with pytest.raises(BadAnswer, match="bad since") as bad:
        await (await connect(server.url, feed=server.url)).changes(0, 1)
    assert bad.value.reason == "http_400"


async def test_a_page_has_a_cap(serve: Serve, connect: Connect) -> None:
    """A feed that does not end is cut off."""
    server = await serve(reply(page("x" * 5000)))
    upstream = await connect(server.url, feed=server.url, limits=Limits(max_feed_bytes=4000))
    with pytest.raises(UpstreamError) as bad:
        await upstream.changes(0, 1)
    assert bad.value.reason == "too_large"


async def test_without_a_feed_there_is_nothing_to_follow(serve: Serve, connect: Connect) -> None:
    """A plain registry is told from one with a feed before anything is sent."""
    server = await serve(reply())
    with pytest.raises(UsageError, match=r"upstream\.feed"):
        await (await connect(server.url)).changes(0, 1)
    assert not server.paths
