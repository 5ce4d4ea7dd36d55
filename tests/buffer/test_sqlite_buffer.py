"""The embedded buffer keeps the contract, and stands what happens to files."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from npmmirror.buffer.base import BufferUnavailableError
from npmmirror.buffer.sqlite import BLOCK_ENTRIES, SqliteBuffer
from npmmirror.errors import StorageError
from tests.buffer.contract import BufferContract, GoingBackContract, append, changes, drained

pytestmark = pytest.mark.anyio


class SqlitePlace:
    """A directory with a buffer.db."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "buffer.db"
        self._copy = directory / "copy"

    async def open(self) -> SqliteBuffer:
        return await SqliteBuffer.open(self.path)

    def _files(self, directory: Path) -> Iterator[Path]:
        return directory.glob("buffer.db*")

    async def replace(self) -> None:
        for file in self._files(self.path.parent):
            file.unlink()

    async def save(self) -> None:
        self._copy.mkdir()
        if not self.path.exists():
            await (await self.open()).close()
        for file in self._files(self.path.parent):
            shutil.copy(file, self._copy)

    async def put_back(self) -> None:
        await self.replace()
        for file in self._files(self._copy):
            shutil.copy(file, self.path.parent)


@pytest.fixture
def place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path)


class TestSqliteBuffer(BufferContract, GoingBackContract):
    """All of it."""


async def test_pages_larger_than_a_block_are_read_from_any_place(place: SqlitePlace) -> None:
    """Blocks are the file's own affair: positions lie between any two entries."""
    page = changes(1, 2 * BLOCK_ENTRIES + 17, packages=1)
    async with await place.open() as buffer:
        start = await buffer.start()
        await append(buffer, page)
        for cut in (BLOCK_ENTRIES - 1, BLOCK_ENTRIES, BLOCK_ENTRIES + 1, len(page)):
            position = buffer.advance(start, await buffer.read(start, cut) if cut else [])
            entries = await drained(buffer, position, limit=BLOCK_ENTRIES + 3)
            read_so_far = len(page) - len(entries)
            assert [entry.change for entry in entries] == page[read_so_far:]
            assert await buffer.depth(position) == len(entries)


async def test_trim_inside_a_block_leaves_its_rest(place: SqlitePlace) -> None:
    """Entries before the position are gone, those of the same block behind it are not."""
    async with await place.open() as buffer:
        start = await buffer.start()
        receipt = await append(buffer, changes(1, BLOCK_ENTRIES, packages=1))
        entries = await buffer.read(start, 100)
        await buffer.trim(buffer.advance(start, entries))
    async with await place.open() as buffer:
        rest = await drained(buffer, start, limit=1000)
        assert [entry.change.seq for entry in rest] == [*range(101, BLOCK_ENTRIES + 1)]
        assert await buffer.holds(receipt)


async def test_trim_gives_the_room_back(place: SqlitePlace) -> None:
    """The file shrinks: a catch-up of millions of rows leaves no large file behind."""
    async with await place.open() as buffer:
        for n in range(4):
            await append(buffer, changes(1 + 50_000 * n, 50_000))
        await buffer.trim(await buffer.end())
    assert place.path.stat().st_size < 200_000


async def test_emptied_table_is_noticed(place: SqlitePlace) -> None:
    """Rows deleted by another hand are lost changes, not finished ones."""
    async with await place.open() as buffer:
        start = await buffer.start()
        receipt = await append(buffer, changes(1, 10))
    with sqlite3.connect(place.path) as connection:
        connection.execute("DELETE FROM blocks")
    connection.close()
    async with await place.open() as buffer:
        assert not await buffer.reaches(start)
        assert not await buffer.holds(receipt)


async def test_hole_in_the_table_is_noticed(place: SqlitePlace) -> None:
    """A block that is missing in the middle means that not everything behind is there."""
    async with await place.open() as buffer:
        start = await buffer.start()
        pages = [await append(buffer, changes(1 + 10 * n, 10)) for n in range(3)]
    with sqlite3.connect(place.path) as connection:
        connection.execute("DELETE FROM blocks WHERE first = 11")
    connection.close()
    async with await place.open() as buffer:
        assert not await buffer.reaches(start)
        assert await buffer.reaches(pages[1].end)


@pytest.mark.parametrize("spoilt", ["all", "middle"])
async def test_damaged_file_is_moved_aside_for_a_new_buffer(
    place: SqlitePlace, spoilt: str
) -> None:
    """Nothing is deleted, and the new buffer has another identity."""
    async with await place.open() as buffer:
        identity = buffer.identity
        for n in range(20):
            await append(buffer, changes(1 + 1000 * n, 1000))
    content = bytearray(place.path.read_bytes())
    begin = 0 if spoilt == "all" else 8192
    content[begin : begin + 80_000] = b"\xa5" * 80_000
    place.path.write_bytes(content)
    async with await place.open() as buffer:
        assert buffer.identity != identity
        assert len(await drained(buffer, await buffer.start())) == 0
    assert (place.path.parent / "buffer.db.damaged-1").read_bytes() == content


async def test_file_of_another_program_is_refused(place: SqlitePlace) -> None:
    """A database that is not a buffer is left alone."""
    with sqlite3.connect(place.path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StorageError, match="another program's"):
        await place.open()


async def test_newer_file_is_refused(place: SqlitePlace) -> None:
    """A program that is older than the file says so."""
    await (await place.open()).close()
    with sqlite3.connect(place.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="newer npmmirror"):
        await place.open()


async def test_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """No traceback, the path, and what SQLite says."""
    with pytest.raises(BufferUnavailableError, match=r"buffer\.db cannot be used: unable"):
        await SqliteBuffer.open(tmp_path / "nowhere" / "buffer.db")


async def test_full_disk_appends_nothing(place: SqlitePlace) -> None:
    """A page that does not fit is refused whole, and fits when there is room again."""
    async with await place.open() as buffer:
        start = await buffer.start()
        await append(buffer, changes(1, 10))
        async with buffer._database.bare() as now:
            [(pages,)] = await now.rows("PRAGMA page_count")
            await now.rows(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(BufferUnavailableError, match="full"):
            await append(buffer, changes(11, 5000))
        assert await buffer.depth(start) == 10
        async with buffer._database.bare() as now:
            await now.rows("PRAGMA max_page_count = 1000000")
        await append(buffer, changes(11, 5000))
        assert await buffer.depth(start) == 5010
