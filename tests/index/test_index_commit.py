"""What a group does to the index."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror.effects import DependencyFacts, Event, EventKind, Known, KnownVersion, PersonFacts
from npmmirror.index import (
    Finished,
    Group,
    IndexReader,
    IndexUnavailableError,
    IndexWriter,
    Skip,
    Wake,
)
from tests.index.building import (
    AT,
    LATER,
    captured,
    document,
    drop,
    effects,
    facts,
    gone,
    maintainers,
    mark,
    place,
    tarball,
    version,
    work,
)

pytestmark = pytest.mark.anyio

ODD_NAMES = [
    "@scope/name",
    "JSONStream",
    "jsonstream",
    "-----hsad-----",
    "constructor",
    "x" * 300,
    "quote'\"\\name",
    "new\nline",
    "nul\0byte",
    "lone\ud800surrogate",
    "😀",
]


async def known(writer: IndexWriter, name: str = "left-pad") -> Known:
    found = await writer.known(name)
    assert found is not None
    return found


def rows(path: Path, sql: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


async def test_unknown_package_is_none(writer: IndexWriter) -> None:
    """Nothing is known of a package that was never captured."""
    assert await writer.known("left-pad") is None


async def test_first_sight_is_known_in_full(writer: IndexWriter) -> None:
    """What the next document is compared with is what this one brought."""
    found = effects("1.0.0", "1.1.0", tags={"latest": "1.1.0"}, people=maintainers("ann", "bob"))
    await writer.commit(Group(documents=(document("left-pad", 5, found, etag='"e"'),)))
    stored = await known(writer)
    assert stored.state == "live"
    assert (stored.rev, stored.modified_at, stored.etag) == (
        "1-a",
        "2021-01-01T00:00:00.000Z",
        '"e"',
    )
    assert stored.place == place(5)
    assert stored.chain is not None
    assert (stored.chain.number, stored.chain.places) == (0, {0: place(5)})
    assert stored.versions == {
        name: KnownVersion(version(name).digest) for name in ("1.0.0", "1.1.0")
    }
    assert stored.tags == {"latest": "1.1.0"}
    assert stored.maintainers == {"ann", "bob"}


async def test_known_is_the_same_through_reader_and_writer(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Recording and replaying compare with the same."""
    await writer.commit(captured("left-pad", 1, "1.0.0", tags={"latest": "1.0.0"}))
    assert await reader.known("left-pad") == await writer.known("left-pad")


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_odd_names_are_kept_apart(writer: IndexWriter, name: str) -> None:
    """Names compare byte by byte, whatever is in them."""
    await writer.commit(captured(name, 1, "1.0.0"))
    assert (await known(writer, name)).versions.keys() == {"1.0.0"}
    others = [other for other in ODD_NAMES if other != name]
    assert [await writer.known(other) for other in others] == [None] * len(others)


async def test_text_and_numbers_that_sqlite_cannot_hold_stop_nothing(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """A document with lone surrogates or huge integers is kept, and so are all beside it."""
    odd = version("1.0.0", license="\ud800", file_count=2**70)
    found = effects(versions=(odd,), tags={"\udfff": "1.0.0"})
    event = Event(
        EventKind.PACKAGE_OBSERVED, publisher="\ud800", detail={"x": "\udc00", "y": [2**80]}
    )
    found = replace(found, events=(event,))
    good = document("chalk", 2, effects("5.0.0"))
    await writer.commit(Group(documents=(document("left-pad", 1, found), good)))
    assert (await known(writer, "chalk")).versions.keys() == {"5.0.0"}
    [row] = await reader.versions("left-pad")
    assert (row.license, row.file_count) == ("\\ud800", 2**63 - 1)
    [told] = await reader.events("left-pad")
    assert (told.publisher, told.detail) == ("\\ud800", {"x": "\\udc00", "y": [2**63 - 1]})


async def test_sets_that_stayed_as_they_were_are_left_alone(writer: IndexWriter) -> None:
    """None in the effects means: no difference to what is known."""
    await writer.commit(
        captured("left-pad", 1, "1.0.0", tags={"latest": "1.0.0"}, people=maintainers("ann"))
    )
    await writer.commit(captured("left-pad", 2))
    stored = await known(writer)
    assert stored.tags == {"latest": "1.0.0"}
    assert stored.maintainers == {"ann"}
    assert stored.versions.keys() == {"1.0.0"}


async def test_sets_that_changed_are_replaced_whole(writer: IndexWriter) -> None:
    """A tag or maintainer that the document no longer names is gone."""
    await writer.commit(
        captured(
            "left-pad", 1, "1.0.0", tags={"latest": "1.0.0", "old": "1"}, people=maintainers("ann")
        )
    )
    await writer.commit(captured("left-pad", 2, tags={"new": "1.0.0"}, people=()))
    stored = await known(writer)
    assert stored.tags == {"new": "1.0.0"}
    assert stored.maintainers == frozenset()


async def test_dependencies_are_kept_in_full(writer: IndexWriter, reader: IndexReader) -> None:
    """Of a list that names something twice the last word counts."""
    named = [
        DependencyFacts("1.0.0", "dependencies", "chalk", "^1"),
        DependencyFacts("1.0.0", "devDependencies", "chalk", "^2"),
        DependencyFacts("1.0.0", "bundleDependencies", "twice", ""),
        DependencyFacts("1.0.0", "bundleDependencies", "twice", ""),
    ]
    await writer.commit(captured("left-pad", 1, "1.0.0", dependencies=tuple(named)))
    found = await reader.dependencies("left-pad", "1.0.0")
    assert found == [named[2], named[0], named[1]]


async def test_vanished_version_keeps_its_row_and_its_file(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Nothing that was captured is deleted because upstream lost it."""
    await writer.commit(captured("left-pad", 1, "1.0.0", "1.1.0"))
    await writer.commit(Group(tarballs=(tarball("left-pad", "1.0.0", 2),)))
    await writer.commit(captured("left-pad", 3, vanished=("1.0.0",)))
    stored = (await known(writer)).versions["1.0.0"]
    assert (stored.present, stored.state) == (False, "held")
    [row] = await reader.versions("left-pad", "1.0.0")
    assert (row.path, row.size) == ("ab/left-pad/left-pad-1.0.0.tgz", 1000)


async def test_version_that_comes_back_is_present_again(writer: IndexWriter) -> None:
    """With the file that was kept."""
    await writer.commit(captured("left-pad", 1, "1.0.0"))
    await writer.commit(Group(tarballs=(tarball("left-pad", "1.0.0", 2),)))
    await writer.commit(captured("left-pad", 3, vanished=("1.0.0",)))
    await writer.commit(captured("left-pad", 4, "1.0.0"))
    stored = (await known(writer)).versions["1.0.0"]
    assert (stored.present, stored.state) == (True, "held")


async def test_changed_manifest_leaves_the_file_alone(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """What a document says of a version changes; what we hold of it does not."""
    await writer.commit(captured("left-pad", 1, "1.0.0"))
    await writer.commit(Group(tarballs=(tarball("left-pad", "1.0.0", 2),)))
    changed = version("1.0.0", "again", deprecated="use pad", integrity="sha512-other")
    await writer.commit(captured("left-pad", 3, versions=(changed,)))
    [row] = await reader.versions("left-pad")
    assert (row.deprecated, row.integrity) == ("use pad", "sha512-other")
    assert (row.state, row.size, row.sha512, row.verified_at) == ("held", 1000, "ab" * 64, AT)


async def test_dropped_file_stays_known_for_what_it_was(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Its path is gone, its size and digest are not, and the reason stands beside them."""
    await writer.commit(captured("left-pad", 1, "1.0.0"))
    await writer.commit(Group(tarballs=(tarball("left-pad", "1.0.0", 2),)))
    await writer.commit(Group(drops=(drop("left-pad", "1.0.0", 3),)))
    [row] = await reader.versions("left-pad")
    assert (row.state, row.path, row.missing) == ("dropped", None, "pruned")
    assert (row.size, row.sha512) == (1000, "ab" * 64)


@pytest.mark.parametrize(("dropped_at", "state"), [(2, "held"), (4, "dropped")])
async def test_newest_record_of_a_file_counts(
    writer: IndexWriter, dropped_at: int, state: str
) -> None:
    """A file dropped and stored again in one group ends as its last record says."""
    await writer.commit(captured("left-pad", 1, "1.0.0"))
    await writer.commit(
        Group(
            tarballs=(tarball("left-pad", "1.0.0", 3),),
            drops=(drop("left-pad", "1.0.0", dropped_at),),
        )
    )
    assert (await known(writer)).versions["1.0.0"].state == state


async def test_file_of_a_version_that_no_document_named(writer: IndexWriter) -> None:
    """It is held, as not present; a document that names it later fills the row."""
    await writer.commit(Group(tarballs=(tarball("left-pad", "1.0.0", 1, unverifiable=True),)))
    assert await writer.known("left-pad") is None
    await writer.commit(captured("left-pad", 2, "1.0.0", "1.1.0"))
    stored = (await known(writer)).versions
    assert stored["1.0.0"] == KnownVersion(version("1.0.0").digest, True, "unverifiable")


async def test_removed_package_keeps_everything(writer: IndexWriter) -> None:
    """Gone is a state."""
    await writer.commit(captured("left-pad", 1, "1.0.0", tags={"latest": "1.0.0"}))
    before = await known(writer)
    await writer.commit(Group(gone=(gone("left-pad", 2),)))
    assert await known(writer) == replace(before, state="removed")
    await writer.commit(captured("left-pad", 3))
    assert (await known(writer)).state == "live"


async def test_stale_document_changes_nothing_but_its_own_row(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """It is listed, and known by its digest, so that it is not captured again and again."""
    await writer.commit(captured("left-pad", 1, "1.0.0", tags={"latest": "1.0.0"}))
    before = await known(writer)
    stale = document("left-pad", 2, None)
    await writer.commit(Group(documents=(stale,)))
    assert await known(writer) == replace(before, stale_sha256=stale.payload.sha256)
    assert [row.stale for row in await reader.revisions("left-pad")] == [False, True]


async def test_package_of_which_only_stale_documents_came(writer: IndexWriter) -> None:
    """It has no state, and the next document is its first sight."""
    await writer.commit(Group(documents=(document("left-pad", 1, None),)))
    stored = await known(writer)
    assert (stored.state, stored.place, stored.chain, stored.versions) == ("", None, None, {})


async def test_chain_holds_the_newest_and_what_the_next_is_a_delta_of(
    writer: IndexWriter,
) -> None:
    """Of position n + 1 that is the one without its lowest bit, in the newest chain."""
    ordinal = 0
    for length in (6, 12):
        for number in range(length):
            ordinal += 1
            found = document("left-pad", ordinal, effects(), number=number)
            stale = document("left-pad", ordinal + 1000, None, number=number)
            await writer.commit(Group(documents=(found, stale)))
            chain = (await known(writer)).chain
            assert chain is not None
            base = (number + 1) & number
            assert chain.number == number
            assert chain.places == {
                number: place(ordinal),
                base: place(ordinal - (number - base)),
            }


async def test_events_have_ids_made_of_their_record(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Ordinal times a million, plus the place: a rebuilt index gives the same."""
    told = (
        Event(EventKind.VERSION_PUBLISHED, version="1.0.0", publisher="ann", detail={"a": [1]}),
        Event(EventKind.DIST_TAG_SET, tag="latest", happened_at="2020"),
    )
    await writer.commit(
        Group(documents=(document("left-pad", 7, effects(events=told), seq="5-x"),))
    )
    await writer.commit(Group(gone=(gone("left-pad", 9),)))
    found = await reader.events("left-pad")
    assert [event.id for event in found] == [7_000_000, 7_000_001, 9_000_000]
    assert [event.kind for event in found] == [
        "version_published",
        "dist_tag_set",
        "package_removed",
    ]
    assert (found[0].seq, found[0].publisher, found[0].detail) == ("5-x", "ann", {"a": [1]})
    assert [event.id for event in await reader.events("left-pad", 7_000_000)] == [
        7_000_001,
        9_000_000,
    ]


async def test_two_records_that_would_be_compared_with_the_same_are_refused(
    writer: IndexWriter,
) -> None:
    """The second one's effects were made without knowing the first's."""
    twice = (document("left-pad", 1, effects()), document("left-pad", 2, effects()))
    with pytest.raises(ValueError, match="left-pad"):
        await writer.commit(Group(documents=twice))
    with pytest.raises(ValueError, match="left-pad"):
        await writer.commit(Group(documents=twice[:1], gone=(gone("left-pad", 2),)))


async def test_finished_change_is_known_of_any_package(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Also of one of which nothing is held; the newest one counts."""
    await writer.commit(
        Group(finished=(Finished("a", 1, "1-a"), Finished("b", "2-x", None, deleted=True)))
    )
    await writer.commit(Group(finished=(Finished("a", 3, "2-b"),)))
    await writer.commit(Group(skips=(Skip("d", "", "too_large", "", AT),)))
    known = await reader.finished(["a", "b", "c", "d"])
    assert known == {"a": ("2-b", False), "b": (None, True), "d": None}
    assert await reader.finished([]) == {}
    assert await writer.known("a") is None


async def test_stored_file_is_no_longer_skipped(writer: IndexWriter, reader: IndexReader) -> None:
    """Nor is a package of which a document was captured."""
    skips = tuple(Skip("left-pad", item, "too_large", "", AT) for item in ("", "1.0.0", "1.1.0"))
    await writer.commit(Group(skips=skips))
    assert (await reader.status()).skips == {"too_large": 3}
    await writer.commit(captured("left-pad", 1, "1.0.0", "1.1.0"))
    await writer.commit(Group(tarballs=(tarball("left-pad", "1.0.0", 2),)))
    assert [row.missing for row in await reader.versions("left-pad")] == [None, "too_large"]
    package = await reader.package("left-pad")
    assert package is not None
    assert package.skip is None


async def test_work_taken_off_and_put_again_is_there(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """A job takes off what it took on, and puts what is to be tried again."""
    await writer.commit(Group(work_put=(work("a"), work("a", "1.0.0"), work("b"))))
    again = work("a", "1.0.0", LATER, attempts=2, seq="9-x", rev="3-c", deleted=True)
    await writer.commit(
        Group(work_done=(("a", ""), ("a", "1.0.0"), ("never-met", "")), work_put=(again,))
    )
    assert await reader.work_of("a") == [again]
    assert await reader.work_of("b") == [work("b")]
    assert await reader.work_left() == 2
    assert await reader.work_left(["a", "never-met"]) == 1


async def test_wake_makes_dead_letters_of_a_package_due(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """And leaves its waiting rows and other packages' alone."""
    await writer.commit(
        Group(
            work_put=(work("a", "1", None, attempts=9), work("a", "2", LATER), work("b", "1", None))
        )
    )
    await writer.commit(Group(wake=(Wake("a", AT), Wake("never-met", AT))))
    assert [(row.not_before, row.attempts) for row in await reader.work_of("a")] == [
        (AT, 0),
        (LATER, 1),
    ]
    assert [row.not_before for row in await reader.work_of("b")] == [None]


async def test_group_that_fails_leaves_nothing(writer: IndexWriter, reader: IndexReader) -> None:
    """A bug half-way rolls everything back, and the next group is not held up by it."""
    await writer.commit(Group(mark=mark(1)))
    bad = Group(documents=(document("left-pad", 2, effects("1.0.0")),), mark=mark(1))
    with pytest.raises(sqlite3.IntegrityError):
        await writer.commit(bad)
    assert await reader.known("left-pad") is None
    await writer.commit(captured("left-pad", 2, "1.0.0"))
    assert (await reader.status()).versions == 1


async def test_cancelled_commit_is_whole(writer: IndexWriter, reader: IndexReader) -> None:
    """Cancellation takes effect behind the commit, not inside."""
    group = Group(documents=(document("left-pad", 1, effects("1.0.0")),), mark=mark(2))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.commit, group)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert await reader.known("left-pad") is not None
    assert await reader.last_mark() == mark(2)


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_commit_torn_by_asyncio_itself_is_whole_or_nothing(
    writer: IndexWriter, reader: IndexReader, steps: int
) -> None:
    """A cancelled task, at whatever step, leaves no transaction open for the next one."""
    group = Group(documents=(document("left-pad", 1, effects("1.0.0")),), mark=mark(2))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(writer.commit(group))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
    await writer.commit(Group(mark=mark(5)))
    stored = await reader.known("left-pad") is not None
    assert (await reader.mark_at(AT), stored) == (mark(5), stored)
    assert (await reader.status()).versions == (1 if stored else 0)


async def test_full_disk_leaves_nothing_and_passes(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """The same group can be committed once there is room."""
    async with writer._database.bare() as now:
        [(pages,)] = await now.rows("PRAGMA page_count")
        await now.rows(f"PRAGMA max_page_count = {pages + 1}")
    group = captured("left-pad", 1, *(f"1.{n}.0" for n in range(1000)))
    with pytest.raises(IndexUnavailableError, match="full"):
        await writer.commit(group)
    assert await reader.known("left-pad") is None
    async with writer._database.bare() as now:
        await now.rows("PRAGMA max_page_count = 1000000")
    await writer.commit(group)
    assert len((await known(writer)).versions) == 1000


async def test_view_of_changes_has_what_the_first_mirror_kept(
    writer: IndexWriter, path: Path
) -> None:
    """One row a captured package, its lists as JSON."""
    found = effects(
        "1.0.0",
        package=facts(version_count=1, modifications=3),
        tags={"latest": "1.0.0"},
        people=(*maintainers("zoe", "ann"), PersonFacts("publisher", "zoe")),
        dependencies=(
            DependencyFacts("1.0.0", "dependencies", "chalk", "^1"),
            DependencyFacts("1.0.0", "devDependencies", "mocha", "^2"),
        ),
    )
    await writer.commit(
        Group(
            documents=(document("left-pad", 1, found, seq=77),),
            tarballs=(tarball("left-pad", "1.0.0", 2),),
            finished=(Finished("never-captured", 3, "1-a"),),
        )
    )
    [row] = rows(
        path,
        "SELECT package, seq, revision, latest_version, author, maintainers, dependencies, "
        "versions, modifications, modified_at, dist_tags, deleted, path FROM changes",
    )
    assert row == (
        *("left-pad", 77, "1-a", "1.0.0", "Ann", '["zoe","ann"]', '{"chalk":"^1"}', 1, 3),
        *("2021-01-01T00:00:00.000Z", '{"latest":"1.0.0"}', 0, "ab/left-pad/left-pad-1.0.0.tgz"),
    )
    await writer.commit(Group(gone=(gone("left-pad", 3),)))
    assert rows(path, "SELECT deleted FROM changes") == [(1,)]


async def test_commits_are_synced_before_they_count(writer: IndexWriter) -> None:
    """WAL with synchronous = FULL, and pages that can be given back."""
    async with writer._database.moment() as now:
        settings = {
            name: (await now.rows(f"PRAGMA {name}"))[0][0]
            for name in ("journal_mode", "synchronous", "auto_vacuum")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2}
