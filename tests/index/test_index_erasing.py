"""A package that is erased: nothing stays of its documents, and all that the log's headers tell."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from npmmirror.effects import DependencyFacts, Event, EventKind
from npmmirror.index import Group, IndexReader, IndexWriter, Skip, StoredErasure
from tests.index.building import AT, captured, drop, maintainers, tarball, work

pytestmark = pytest.mark.anyio

SECRET = "mallory"


def telling(name: str, ordinal: int, *versions: str) -> Group:
    """A group whose every row names a person."""
    event = Event(EventKind.MAINTAINER_ADDED, publisher=SECRET, detail={"name": SECRET})
    return captured(
        name,
        ordinal,
        *versions,
        people=maintainers(SECRET),
        tags={SECRET: versions[0]},
        dependencies=(DependencyFacts(versions[0], "dependencies", SECRET, "*"),),
        events=(event,),
    )


def erasure(name: str, ordinal: int, *dropped: str) -> Group:
    """The decision, with the drops in front of it."""
    drops = tuple(drop(name, version, ordinal - 1) for version in dropped)
    return Group(drops=drops, erasures=(StoredErasure(name, ordinal, AT),))


def text_of(path: Path) -> str:
    """Everything that the tables hold, as a text."""
    with closing(sqlite3.connect(path)) as index:
        return "\n".join(index.iterdump())


async def test_nothing_of_the_documents_stays(path: Path) -> None:
    """No person, event, tag, dependency or version that no file was held of; others' stay."""
    async with await IndexWriter.open(path) as writer:
        await writer.commit(telling("a", 1, "1.0.0", "1.1.0"))
        await writer.commit(captured("b", 2, "2.0.0"))
        await writer.commit(Group(tarballs=(tarball("a", "1.0.0", 3),)))
        await writer.commit(
            Group(work_put=(work("a", "1.1.0"),), skips=(Skip("a", "1.1.0", SECRET, "", AT),))
        )
        await writer.commit(erasure("a", 11, "1.0.0"))
    assert SECRET not in text_of(path)
    async with await IndexReader.open(path) as reader:
        package = await reader.package("a")
        assert package is not None
        assert (package.state, package.ordinal, package.version_count) == ("erased", 11, 0)
        assert [(row.version, row.state) for row in await reader.versions("a")] == [
            ("1.0.0", "dropped")
        ]
        assert await reader.work_of("a") == []
        assert len(await reader.versions("b")) == 1
        status = await reader.status()
    assert dict(status.packages) == {"erased": 1, "live": 1}
    assert (status.versions, status.tarballs, status.tarball_bytes) == (2, 0, 0)
    assert (status.revisions, status.events) == (2, 0)


async def test_the_next_document_is_a_first_sight(path: Path) -> None:
    """What is known of an erased package is which of its files were dropped, and no more."""
    async with await IndexWriter.open(path) as writer:
        await writer.commit(telling("a", 1, "1.0.0"))
        await writer.commit(Group(tarballs=(tarball("a", "1.0.0", 2),)))
        await writer.commit(erasure("a", 11, "1.0.0"))
        known = await writer.known("a")
        assert known is not None
        assert (known.state, known.rev, known.sha256, known.chain) == ("erased", None, None, None)
        assert {name: one.state for name, one in known.versions.items()} == {"1.0.0": "dropped"}
        await writer.commit(captured("a", 20, "1.0.0", "2.0.0"))
        known = await writer.known("a")
        assert known is not None
        assert known.state == "live"
        assert known.versions["1.0.0"].state == "dropped"
    async with await IndexReader.open(path) as reader:
        status = await reader.status()
    assert dict(status.packages) == {"live": 1}
    assert status.versions == 2


async def test_files_without_a_drop_are_dropped(path: Path) -> None:
    """Where the record of a drop is damaged, the decision has to do."""
    async with await IndexWriter.open(path) as writer:
        await writer.commit(telling("a", 1, "1.0.0"))
        await writer.commit(Group(tarballs=(tarball("a", "1.0.0", 2),)))
        await writer.commit(erasure("a", 11))
    async with await IndexReader.open(path) as reader:
        (row,) = await reader.versions("a")
        assert (row.state, row.path, row.missing) == ("dropped", None, "erased")
        assert (await reader.status()).tarballs == 0


async def test_the_same_from_blanked_documents(path: Path) -> None:
    """A replay that never saw the documents ends with the same tables."""
    seen, blanked = path, path.with_name("blanked.db")
    first = telling("a", 1, "1.0.0", "1.1.0")
    held = Group(tarballs=(tarball("a", "1.0.0", 2),))
    last = erasure("a", 11, "1.0.0")
    async with await IndexWriter.open(seen) as writer:
        for group in (first, held, last):
            await writer.commit(group)
    (document,) = first.documents
    bare = Group(documents=(replace(document, effects=None, erased=True),))
    async with await IndexWriter.open(blanked) as writer:
        for group in (bare, held, last):
            await writer.commit(group)
    assert derived(seen) == derived(blanked)


def derived(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """The derived tables of an index of one package; sums of nothing left out."""
    tables = ("packages", "versions", "revisions", "events", "people", "dist_tags", "dependencies")
    with closing(sqlite3.connect(path)) as index:
        found = {table: index.execute(f"SELECT * FROM {table}").fetchall() for table in tables}  # noqa: S608 - constants
        found["totals"] = index.execute("SELECT * FROM totals WHERE number ORDER BY 1").fetchall()
    return found


async def test_a_file_that_was_lost_is_not_looked_for_again(path: Path) -> None:
    """`verify --repair` goes by the reason of a drop."""
    lost = replace(drop("a", "1.0.0", 3), reason="missing")
    async with await IndexWriter.open(path) as writer:
        await writer.commit(telling("a", 1, "1.0.0"))
        await writer.commit(Group(tarballs=(tarball("a", "1.0.0", 2),)))
        await writer.commit(Group(drops=(lost,)))
        await writer.commit(erasure("a", 11))
    async with await IndexReader.open(path) as reader:
        assert await reader.damaged() == []
