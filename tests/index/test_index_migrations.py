"""Each step of the schema, from files as former programs made them."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from npmmirror.index import IndexReader, IndexWriter
from tests.index.building import captured, maintainers

pytestmark = pytest.mark.anyio

FIRST = (Path(__file__).parent / "schema_1.sql").read_text("utf-8")


def shape(path: Path) -> dict[tuple[str, str], object]:
    """The tables with their columns, the indices and views with their texts."""
    with closing(sqlite3.connect(path)) as index:
        found: dict[tuple[str, str], object] = {}
        for kind, name, sql in index.execute("SELECT type, name, sql FROM sqlite_schema"):
            columns = index.execute(f"SELECT * FROM pragma_table_info('{name}')").fetchall()  # noqa: S608 - our own names
            text = " ".join(re.sub(r"--.*", "", sql or "").replace('"', "").split())
            found[kind, name] = columns if kind == "table" else text
    return found


async def test_the_first_schema_is_brought_up_with_all_it_holds(path: Path) -> None:
    """It becomes what a new file is, and says of its packages what it said."""
    await (await IndexWriter.open(fresh := path.with_name("fresh.db"))).close()
    with closing(sqlite3.connect(path)) as index:
        index.executescript(f"{FIRST}; PRAGMA user_version = 1; PRAGMA application_id = 1852861801")
        index.execute(
            "INSERT INTO packages (id, name, state, ordinal, latest, problems) "
            "VALUES (7, 'left-pad', 'live', 3, '1.0.0', '[\"odd\"]')"
        )
        index.commit()
    async with await IndexWriter.open(path) as writer:
        await writer.commit(captured("left-pad", 5, "1.0.0", "1.1.0", people=maintainers("ann")))
    async with await IndexReader.open(path) as reader:
        found = await reader.package("left-pad")
        assert found is not None
        assert (found.state, found.ordinal, found.latest) == ("live", 5, "1.0.0")
    assert shape(path) == shape(fresh)


async def test_a_package_can_be_erased_after_the_step(path: Path) -> None:
    """The new state is allowed in an old file."""
    with closing(sqlite3.connect(path)) as index:
        index.executescript(f"{FIRST}; PRAGMA user_version = 1; PRAGMA application_id = 1852861801")
    async with await IndexWriter.open(path) as writer:
        group = captured("left-pad", 5, "1.0.0")
        await writer.commit(group)
    with closing(sqlite3.connect(path)) as index:
        index.execute("UPDATE packages SET state = 'erased'")
        index.execute("UPDATE revisions SET erased = 1")
        with pytest.raises(sqlite3.IntegrityError):
            index.execute("UPDATE packages SET state = 'vanished'")
