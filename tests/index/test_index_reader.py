"""Reading the index beside its writer."""

import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from npmmirror.index import (
    Check,
    Group,
    IndexReader,
    IndexUnavailableError,
    IndexWriter,
    Resumption,
    RevisionRow,
    Skip,
    status,
)
from tests.index.building import (
    AT,
    LATER,
    LATEST,
    captured,
    document,
    effects,
    gone,
    maintainers,
    place,
    tarball,
    version,
    work,
)

pytestmark = pytest.mark.anyio


async def test_due_rows_come_by_package_longest_waiting_first(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Rows of the future and dead letters are not among them."""
    rows = (
        work("late", "", LATER),
        work("early", "1", AT),
        work("early", "2", LATEST),
        work("early", "3", None),
        work("never", "", LATEST),
    )
    await writer.commit(Group(work_put=rows))
    found = await reader.due(LATER, packages=10, rows_each=10)
    assert list(found.items()) == [("early", [rows[1]]), ("late", [rows[0]])]


async def test_due_rows_are_bounded_with_the_packument_first(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """So many packages, so many rows of each."""
    rows = [work(name, item) for name in "abc" for item in ("2.0.0", "", "1.0.0")]
    await writer.commit(Group(work_put=tuple(rows)))
    found = await reader.due(AT, packages=2, rows_each=2)
    assert [[row.item for row in items] for items in found.values()] == [["", "1.0.0"]] * 2


async def test_package_with_many_rows_does_not_hide_others(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """However long it has waited, and whether it is busy or not."""
    many = [work("huge", f"{n}", f"2026-11-20T09:{n // 60:02}:{n % 60:02}") for n in range(500)]
    await writer.commit(Group(work_put=(*many, work("small"), work("other", "", LATER))))
    found = await reader.due(LATEST, packages=3, rows_each=1)
    assert list(found) == ["huge", "small", "other"]
    found = await reader.due(LATEST, packages=3, rows_each=1, busy={"huge", "not-there"})
    assert list(found) == ["small", "other"]


async def test_due_rows_of_some_packages_only(writer: IndexWriter, reader: IndexReader) -> None:
    """As a `sync` beside a long work list asks for."""
    await writer.commit(Group(work_put=tuple(work(name) for name in "abcd")))
    found = await reader.due(AT, packages=9, rows_each=9, busy={"c"}, only=frozenset("bcx"))
    assert list(found) == ["b"]


async def test_seconds_to_the_next_row(writer: IndexWriter, reader: IndexReader) -> None:
    """Rows that are due already do not count; without others there is nothing to wait for."""
    await writer.commit(
        Group(work_put=(work("a", "", AT), work("b", "", LATER), work("c", "", None)))
    )
    assert await reader.seconds_to_due("2026-11-20T10:59:58.500000Z") == 1.5
    assert await reader.seconds_to_due(LATER) is None


async def test_claims_are_what_upstream_says_of_tarballs(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """For rows of the work list, whose document is not fetched again."""
    told = version("1.0.0", tarball="https://host.example/x.tgz", shasum="aa", integrity=None)
    await writer.commit(captured("left-pad", 1, versions=(told, version("2.0.0"))))
    assert await reader.claims("left-pad", ["1.0.0", "3.0.0"]) == [
        ("1.0.0", "https://host.example/x.tgz", None, "aa")
    ]


async def test_status_counts_everything(writer: IndexWriter, reader: IndexReader) -> None:
    """The counts are kept, so that asking costs little."""
    await writer.commit(captured("left-pad", 1, "1.0.0", "1.1.0", tags={"latest": "1.0.0"}))
    await writer.commit(captured("chalk", 2, "5.0.0", people=maintainers("ann")))
    await writer.commit(
        Group(
            gone=(gone("chalk", 3),),
            tarballs=(tarball("left-pad", "1.0.0", 4), tarball("left-pad", "1.1.0", 5, size=24)),
            work_put=(work("a"), work("b", "1", None, reason="bug", detail="boom", attempts=0)),
            skips=(Skip("c", "", "too_large", "", AT),),
        )
    )
    found = await reader.status()
    assert found.packages == {"live": 1, "removed": 1}
    assert (found.versions, found.tarballs, found.tarball_bytes) == (3, 2, 1024)
    assert (found.revisions, found.events) == (2, 1)
    assert (found.work_list, found.dead_letters) == ({"http_500": 1}, {"bug": 1})
    assert found.skips == {"too_large": 1}
    assert [row.package for row in found.last_errors] == ["b", "a"]
    change = found.last_change
    assert change is not None
    assert (change["package"], change["deleted"]) == ("chalk", True)
    assert change["maintainers"] == ["ann"]


async def test_status_of_a_new_index(reader: IndexReader) -> None:
    """Zeros and nothing, no error."""
    found = await reader.status()
    assert (found.packages, found.versions, found.last_change) == ({}, 0, None)
    assert (found.cursor, found.checkpoint, found.last_mark) == (None, None, None)


@pytest.mark.parametrize("query", [status.WAITING, status.DEAD, status.SKIPS])
async def test_status_sorts_no_rows_to_count_them(
    writer: IndexWriter, path: Path, query: str
) -> None:
    """A million rows of the work list took 130 MB and seconds."""
    await writer.commit(Group(skips=(Skip("huge", "", "too_large", "", AT),)))
    with closing(sqlite3.connect(path)) as index:
        steps = [row[3] for row in index.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert not [step for step in steps if "GROUP BY" in step]


async def test_package_in_full(writer: IndexWriter, reader: IndexReader) -> None:
    """All that `show` tells of it; None of a name never met."""
    found = effects("1.0.0", tags={"latest": "1.0.0"}, people=maintainers("zoe", "ann"))
    await writer.commit(Group(documents=(document("left-pad", 4, found, seq=9),)))
    row = await reader.package("left-pad")
    assert row is not None
    assert (row.state, row.ordinal, row.revision, row.seq) == ("live", 4, 4, 9)
    assert (row.tags, row.people) == ({"latest": "1.0.0"}, maintainers("zoe", "ann"))
    assert await reader.package("never-met") is None


async def test_skipped_package_says_why(writer: IndexWriter, reader: IndexReader) -> None:
    """Also one of which nothing is held."""
    skip = Skip("huge", "", "too_large", "900 MB", AT)
    await writer.commit(Group(skips=(skip,)))
    row = await reader.package("huge")
    assert row is not None
    assert (row.state, row.skip) == ("", skip)


async def test_missing_files_say_why(writer: IndexWriter, reader: IndexReader) -> None:
    """By the work list, by a skip; nothing where nobody wanted them."""
    await writer.commit(captured("left-pad", 1, "1", "2", "3", "4"))
    await writer.commit(
        Group(
            tarballs=(tarball("left-pad", "1", 2),),
            work_put=(work("left-pad", "2", detail="status 500"),),
            skips=(Skip("left-pad", "3", "too_large", "9 GB", AT),),
        )
    )
    rows = await reader.versions("left-pad")
    assert [(row.missing, row.missing_detail) for row in rows] == [
        (None, None),
        ("http_500", "status 500"),
        ("too_large", "9 GB"),
        (None, None),
    ]


async def test_revisions_are_listed_with_their_places(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """So that any of them can be read back."""
    stored = document("left-pad", 7, effects("1.0.0"), number=3, seq=5, announced_rev="2-b")
    await writer.commit(Group(documents=(stored,)))
    assert await reader.revisions("left-pad") == [
        RevisionRow(*(7, "1-a", "2-b", 5, AT, None, False, stored.payload.sha256, 107, place(7), 3))
    ]


async def test_held_files_are_gone_through_in_order_from_any_place(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """A pair of name and version is where a stopped `verify` goes on."""
    names = ["@a/x", "B", "a", "b"]
    for ordinal, name in enumerate(names, start=1):
        await writer.commit(captured(name, ordinal, "1.0.0", "1.1.0", "not-held"))
    files = [tarball(name, v, 10 + n) for n, name in enumerate(names) for v in ("1.1.0", "1.0.0")]
    await writer.commit(Group(tarballs=tuple(files)))
    everything = [(name, v) for name in names for v in ("1.0.0", "1.1.0")]
    for start in range(len(everything)):
        after = everything[start - 1] if start else ("", "")
        found = await reader.held(after, limit=3)
        assert [(file.name, file.version) for file in found] == everything[start : start + 3]
    assert [file.version for file in await reader.held(only="B")] == ["1.0.0", "1.1.0"]
    assert await reader.names(after="@a/x", limit=2) == ["B", "a"]


async def test_checks_stand_beside_the_files(writer: IndexWriter, reader: IndexReader) -> None:
    """The newest counts; packages that are not known are passed over."""
    await writer.commit(captured("left-pad", 1, "1.0.0"))
    await writer.commit(Group(tarballs=(tarball("left-pad", "1.0.0", 2),)))
    await writer.record_checks([Check("left-pad", "1.0.0", AT, "altered", "sha512 differs")])
    await writer.record_checks(
        [Check("left-pad", "1.0.0", LATER, "ok"), Check("never-met", "1", LATER, "ok")]
    )
    [file] = await reader.held()
    assert (file.checked_at, file.check_result) == (LATER, "ok")
    [row] = await reader.versions("left-pad")
    assert (row.checked_at, row.verified_at) == (LATER, AT)


async def test_long_command_finds_where_it_was(writer: IndexWriter, reader: IndexReader) -> None:
    """Until it came to its end."""
    for where in ("a", "b"):
        await writer.note_resumption(Resumption("verify", AT, where))
    assert await reader.resumption("verify") == Resumption("verify", AT, "b")
    await writer.forget_resumption("verify")
    assert await reader.resumption("verify") is None


async def test_readers_do_not_wait_for_the_writer(writer: IndexWriter, reader: IndexReader) -> None:
    """A transaction under way is not seen, and holds nobody up."""
    await writer.commit(captured("left-pad", 1, "1.0.0"))
    async with writer._database.transaction() as now:
        await now.run("DELETE FROM versions")
        with anyio.fail_after(30):
            assert len(await reader.versions("left-pad")) == 1


async def test_more_tasks_than_connections_have_their_turn(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """They wait for each other, and none is lost."""
    await writer.commit(captured("left-pad", 1, "1.0.0"))
    answers: list[bool] = []

    async def ask() -> None:
        answers.append(await reader.known("left-pad") is not None)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert answers == [True] * 20


async def test_reader_cannot_write(writer: IndexWriter, path: Path) -> None:
    """Its connections are read-only."""
    await writer.commit(captured("left-pad", 1, "1.0.0"))
    async with await IndexReader.open(path, connections=1) as reader:
        with pytest.raises(IndexUnavailableError, match="readonly"):
            async with reader._query() as now:
                await now.run("DELETE FROM versions")


async def test_many_asked_for_together_are_each_told_their_own(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Names that nothing is known of, and one that is asked for twice, among them."""
    for number in range(1, 40):
        await writer.commit(captured(f"p{number}", number, f"{number}.0.0"))
    names = [f"p{number}" for number in range(50)] + ["p7"]
    told: list[tuple[str, set[str] | None]] = []

    async def ask(name: str) -> None:
        found = await reader.known(name)
        told.append((name, set(found.versions) if found is not None else None))

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(ask, name)
    expected = [(name, {f"{name[1:]}.0.0"} if 0 < int(name[1:]) < 40 else None) for name in names]
    assert sorted(told) == sorted(expected)


async def test_nothing_is_known_of_documents_where_only_stale_ones_were(path: Path) -> None:
    """What is not there is None, so that the next document is a first sight."""
    async with await IndexWriter.open(path) as writer:
        await writer.commit(Group(documents=(document("a", 7, None),)))
        known = await writer.known("a")
    assert known is not None
    assert (known.state, known.rev, known.sha256) == ("", None, None)
    assert known.stale_sha256 is not None


async def test_no_file_of_the_program_is_needed_to_open_another_reader(
    writer: IndexWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that is out of file descriptors said "bug" where a verification was asked for."""

    def refuse(*_: object, **__: object) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    del writer
    monkeypatch.setattr(Path, "read_text", refuse)
    async with await IndexReader.open(path) as another:
        assert await another.cursor() is None


async def test_who_lacks_what_upstream_did_not_hold(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """What is skipped for that reason; not what is for another one."""
    names = ("a", "b", "c", "d")
    await writer.commit(
        Group(
            documents=tuple(
                document(name, 3 + n, effects("1.0.0")) for n, name in enumerate(names)
            ),
            skips=(
                Skip("a", "1.0.0", "not_held", "", AT),
                Skip("b", "1.0.0", "too_large", "", AT),
            ),
            work_put=(work("c", "1.0.0"),),
        )
    )
    assert await reader.lacking([*names, "unknown"]) == ["a"]
