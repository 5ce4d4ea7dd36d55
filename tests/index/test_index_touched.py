"""The ordinal that a package has in our own feed: of the newest record that changed what is served."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from npmmirror.index import Group, IndexWriter
from npmmirror.index.group import StoredErasure
from tests.index.building import (
    AT,
    captured,
    document,
    drop,
    effects,
    gone,
    tarball,
)

pytestmark = pytest.mark.anyio

FIRST = (Path(__file__).parent / "schema_1.sql").read_text("utf-8")


def touched(path: Path) -> dict[str, int | None]:
    """The column, by package."""
    with closing(sqlite3.connect(path)) as index:
        return dict(index.execute("SELECT name, touched FROM packages").fetchall())


async def test_a_document_moves_its_package(writer: IndexWriter, path: Path) -> None:
    """It is the first record, and the next one behind it."""
    await writer.commit(captured("a", 3, "1.0.0"))
    await writer.commit(captured("b", 5, "1.0.0"))
    await writer.commit(captured("a", 7, "1.0.0", "1.1.0"))
    assert touched(path) == {"a": 7, "b": 5}


async def test_a_stale_document_moves_nothing(writer: IndexWriter, path: Path) -> None:
    """It is kept, and never served."""
    await writer.commit(captured("a", 3, "1.0.0"))
    await writer.commit(Group(documents=(document("a", 5, None), document("b", 6, None))))
    assert touched(path) == {"a": 3, "b": None}


async def test_a_file_moves_its_package(writer: IndexWriter, path: Path) -> None:
    """Whether it comes with the document, in the order of the records, later, or goes."""
    with_it = Group(
        documents=(document("a", 4, effects("1.0.0", "1.1.0")), document("b", 6, effects("1.0.0"))),
        tarballs=(tarball("a", "1.0.0", 5), tarball("b", "1.0.0", 3)),
    )
    await writer.commit(with_it)
    assert touched(path) == {"a": 5, "b": 6}
    await writer.commit(Group(tarballs=(tarball("a", "1.1.0", 8),)))
    assert touched(path) == {"a": 8, "b": 6}
    await writer.commit(Group(drops=(drop("b", "1.0.0", 10),)))
    assert touched(path) == {"a": 8, "b": 10}


async def test_a_removal_and_an_erasure_move_it(writer: IndexWriter, path: Path) -> None:
    """Both change what is there to be had."""
    await writer.commit(captured("a", 3, "1.0.0"))
    await writer.commit(Group(gone=(gone("a", 5),)))
    assert touched(path) == {"a": 5}
    await writer.commit(Group(erasures=(StoredErasure("a", 7, AT),)))
    assert touched(path) == {"a": 7}


async def test_an_older_file_is_given_what_its_rows_tell(path: Path) -> None:
    """The newest ordinal of the package and of its files; none where nothing was captured."""
    with closing(sqlite3.connect(path)) as index:
        index.executescript(f"{FIRST}; PRAGMA user_version = 1; PRAGMA application_id = 1852861801")
        index.executescript(
            "INSERT INTO packages (id, name, state, ordinal) VALUES "
            "(1, 'a', 'live', 3), (2, 'b', 'live', 4), (3, 'c', '', NULL);"
            "INSERT INTO versions (package_id, version, digest, present, state, ordinal) VALUES "
            "(1, '1.0.0', x'', 1, 'held', 9), (2, '1.0.0', x'', 1, '', NULL)"
        )
    await (await IndexWriter.open(path)).close()
    assert touched(path) == {"a": 9, "b": 4, "c": None}
