"""Making, migrating and refusing index.db."""

import os
import re
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest

from npmmirror import __version__
from npmmirror.errors import StorageError
from npmmirror.index import IndexReader, IndexUnavailableError, IndexWriter, Schema
from npmmirror.index.schema import KIND
from npmmirror.sqlite import Database
from tests.index.building import captured

pytestmark = pytest.mark.anyio

OURS = Path(str(files("npmmirror.index")))
NOW = Schema().version
NEXT = NOW + 1


@pytest.fixture
def next_schema(tmp_path: Path) -> Path:
    """A made-up newer program: two more columns in two steps."""
    directory = tmp_path / "newer"
    shutil.copytree(OURS / "migrations", directory / "migrations")
    script = (OURS / "schema.sql").read_text("utf-8")
    script = script.replace("email      TEXT,", "email TEXT, homepage TEXT, icon TEXT,")
    (directory / "schema.sql").write_text(script, "utf-8")
    for number, column in ((NEXT, "homepage"), (NEXT + 1, "icon")):
        step = f"-- A comment; with a semicolon.\nALTER TABLE people ADD COLUMN {column} TEXT"
        (directory / "migrations" / f"{number:04}_add_{column}.sql").write_text(step, "utf-8")
    return directory


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def content(path: Path) -> bytes:
    return path.read_bytes()


def spoil(path: Path, start: int, length: int) -> bytes:
    """Overwrite a part of a file; what it holds then."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.seek(start)
        file.write(b"\xa5" * length)
    return content(path)


def columns(path: Path) -> set[object]:
    return {row[1] for row in ask(path, "PRAGMA table_info(people)")}


async def test_new_file_says_what_made_it(path: Path) -> None:
    """Its version, its program, and that it is an index of ours."""
    await (await IndexWriter.open(path)).close()
    assert ask(path, "PRAGMA user_version") == [(NOW,)]
    assert ask(path, "PRAGMA application_id") == [(0x6E706D69,)]
    assert ("created_by", f"npmmirror {__version__}") in ask(path, "SELECT * FROM meta")


async def test_every_table_says_whether_it_is_derived() -> None:
    """The schema tells a reader what `reindex` makes again, and what only a backup saves."""
    text = (OURS / "schema.sql").read_text("utf-8")
    tables = re.findall(r"((?:^--.*\n)+)CREATE TABLE (\w+)", text, re.MULTILINE)
    assert len(tables) == text.count("CREATE TABLE")
    untold = [name for comment, name in tables if not re.search("DERIVED|OPERATIONAL", comment)]
    assert untold == []


async def test_version_of_the_schema_is_that_of_the_last_step() -> None:
    """Steps are numbered without gaps from 2 on."""
    names = sorted(step.name for step in (OURS / "migrations").glob("*.sql"))
    assert [int(name[:4]) for name in names] == [*range(2, Schema().version + 1)]


async def test_old_file_is_brought_up_with_all_it_holds(path: Path, next_schema: Path) -> None:
    """A copy of the old one lies beside it, with the same content."""
    async with await IndexWriter.open(path) as writer:
        await writer.commit(captured("left-pad", 1, "1.0.0"))
    async with await IndexWriter.open(path, Schema(next_schema)) as writer:
        assert await writer.known("left-pad") is not None
    assert ask(path, "PRAGMA user_version") == [(NEXT + 1,)]
    assert columns(path) >= {"homepage", "icon"}
    copy = path.with_name(f"index.db.version-{NOW}.copy")
    assert ask(copy, "PRAGMA user_version") == [(NOW,)]
    assert ask(copy, "SELECT name FROM packages") == [("left-pad",)]
    assert not path.with_name(f"{copy.name}.partial").exists()


async def test_migrated_file_has_the_tables_of_a_new_one(path: Path, next_schema: Path) -> None:
    """The steps and schema.sql lead to the same columns."""
    await (await IndexWriter.open(path)).close()
    await (await IndexWriter.open(path, Schema(next_schema))).close()
    fresh = path.with_name("fresh.db")
    await (await IndexWriter.open(fresh, Schema(next_schema))).close()
    assert columns(path) == columns(fresh)


async def test_step_that_fails_leaves_the_file_as_it_was(path: Path, next_schema: Path) -> None:
    """All steps or none, and one plain sentence."""
    async with await IndexWriter.open(path) as writer:
        await writer.commit(captured("left-pad", 1, "1.0.0"))
    (next_schema / "migrations" / f"{NEXT + 1:04}_add_icon.sql").write_text(
        "ALTER TABLE nope RENAME TO x"
    )
    with pytest.raises(
        StorageError, match=rf"from schema {NOW} to {NEXT + 1} \(no such table.*unchanged"
    ):
        await IndexWriter.open(path, Schema(next_schema))
    assert ask(path, "PRAGMA user_version") == [(NOW,)]
    assert "homepage" not in columns(path)
    async with await IndexWriter.open(path) as writer:
        assert await writer.known("left-pad") is not None


async def test_step_that_is_missing_is_refused(path: Path, next_schema: Path) -> None:
    """A way with a gap in it is no way."""
    await (await IndexWriter.open(path)).close()
    (next_schema / "migrations" / f"{NEXT:04}_add_homepage.sql").unlink()
    with pytest.raises(StorageError, match="knows no way"):
        await IndexWriter.open(path, Schema(next_schema))


@pytest.mark.parametrize("opener", [IndexWriter.open, IndexReader.open])
async def test_newer_file_is_refused(
    path: Path, next_schema: Path, opener: Callable[[Path], Awaitable[object]]
) -> None:
    """An older program says what made the file, and what can be done."""
    await (await IndexWriter.open(path, Schema(next_schema))).close()
    with pytest.raises(
        StorageError, match=rf"newer npmmirror \(schema {NEXT + 1}, this program knows {NOW}\)"
    ):
        await opener(path)


async def test_reader_refuses_an_older_file(path: Path, next_schema: Path) -> None:
    """Only a writer brings it up."""
    await (await IndexWriter.open(path)).close()
    with pytest.raises(StorageError, match="start `npmmirror run` once"):
        await IndexReader.open(path, schema=Schema(next_schema))


async def test_damaged_file_is_one_sentence(path: Path) -> None:
    """It says which file, what is wrong, and what to do."""
    before = spoil(path, 0, 8000)
    with pytest.raises(StorageError, match=r"index\.db is damaged .* `npmmirror reindex`"):
        await IndexWriter.open(path)
    assert content(path) == before


async def test_damage_in_the_middle_is_one_sentence(path: Path) -> None:
    """Also where it is met only when a page is read."""
    async with await IndexWriter.open(path) as writer:
        for n in range(20):
            await writer.commit(captured(f"package-{n}", n + 1, *map(str, range(200))))
    spoil(path, 8192, len(content(path)) - 8192)
    with pytest.raises(StorageError, match="is damaged"):
        async with await IndexWriter.open(path) as writer:
            await writer.known("package-7")


async def test_database_of_another_program_is_left_alone(path: Path) -> None:
    """Its tables are not ours to write into."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match="another program's database"):
        await IndexWriter.open(path)


async def test_reader_without_a_file_is_one_sentence(path: Path) -> None:
    """And makes none."""
    with pytest.raises(IndexUnavailableError, match="unable to open"):
        await IndexReader.open(path)
    assert [*path.parent.iterdir()] == []


@pytest.fixture
def locked_directory() -> Iterator[Path]:
    """A directory that this process may read and not write; root becomes nobody for that."""
    directory = Path("/tmp") / f"npmmirror-{os.getpid()}-locked"  # noqa: S108  pytest's own is closed to nobody
    directory.mkdir()
    directory.chmod(0o555)
    uid = os.geteuid()
    if uid == 0:
        os.seteuid(65534)
    try:
        yield directory
    finally:
        os.seteuid(uid)
        directory.chmod(0o755)
        shutil.rmtree(directory)


async def test_read_only_directory_is_one_sentence(locked_directory: Path) -> None:
    """No traceback for a data directory that cannot be written."""
    with pytest.raises(IndexUnavailableError, match=r"index\.db cannot be used: unable to open"):
        await IndexWriter.open(locked_directory / "index.db")


async def test_an_index_that_may_not_be_written_says_what_to_do(
    locked_directory: Path,
) -> None:
    """SQLite's own words name neither the user nor the directory, of which it is about."""
    told = "this user may not write it, or not its directory"
    path = locked_directory / "index.db"
    with as_owner(locked_directory):
        async with await IndexWriter.open(path):
            pass
    with pytest.raises(IndexUnavailableError, match=told):
        async with await IndexReader.open(path, connections=1) as reader:
            await reader.status()
    with as_owner(locked_directory):
        database = await Database.open(path, KIND, read_only=True)
    try:
        with pytest.raises(IndexUnavailableError, match=told) as refused:
            async with database.transaction() as now:
                await now.run("DELETE FROM meta")
    finally:
        await database.close()
    assert "attempt to write a readonly database" in str(refused.value)


@contextmanager
def as_owner(directory: Path) -> Iterator[None]:
    """Whoever may write a directory that is locked for all others."""
    uid = os.geteuid()
    os.seteuid(os.getuid())
    directory.chmod(0o755)
    try:
        yield
    finally:
        directory.chmod(0o555)
        os.seteuid(uid)
