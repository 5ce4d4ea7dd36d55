"""buffer.db and index.db on a disk that is really full: what was acknowledged is there."""

from collections.abc import Awaitable, Callable

import pytest

from npmmirror.buffer.base import BufferUnavailableError
from npmmirror.buffer.sqlite import SqliteBuffer
from npmmirror.index import IndexUnavailableError, IndexWriter
from npmmirror.receipt import Position, Receipt
from tests.buffer.contract import append, changes, drained
from tests.disks.mounts import SmallDisk
from tests.index.building import AT

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.mounts,
    pytest.mark.parametrize("small_disk", ["disk"], indirect=True),
]

MOST = 10_000
"""Pages of which no disk of the tests takes so many."""


async def until_refused(write: Callable[[int], Awaitable[object]]) -> int:
    """Write page after page; how many were acknowledged when one was refused for want of room."""
    for page in range(MOST):
        try:
            await write(page)
        except (BufferUnavailableError, IndexUnavailableError) as refused:
            assert "full" in str(refused)  # noqa: PT017 - it is read once, at the end
            return page
    raise AssertionError("the disk takes everything")


async def test_a_buffer_keeps_what_it_acknowledged(small_disk: SmallDisk) -> None:
    """The page that found no room is appended later, whole and once."""
    async with await SqliteBuffer.open(small_disk.point / "buffer.db") as buffer:

        async def write(page: int) -> None:
            await append(buffer, changes(page * 100, 100))

        start = await buffer.end()
        small_disk.fill()
        kept = await until_refused(write)
        small_disk.empty()
        await write(kept)
        found = [entry.change.seq for entry in await drained(buffer, start)]
    assert found == [change.seq for change in changes(0, (kept + 1) * 100)]


async def test_an_index_keeps_what_it_acknowledged(small_disk: SmallDisk) -> None:
    """The page that found no room is received later."""
    async with await IndexWriter.open(small_disk.point / "index.db") as index:

        async def write(page: int) -> None:
            end = Position("a", str(page))
            await index.receive_page(Receipt(page, page + 1, end, "x" * 2000), AT)

        small_disk.fill()
        kept = await until_refused(write)
        assert await index.cursor() == (kept or None)
        small_disk.empty()
        await write(kept)
        assert await index.cursor() == kept + 1
        assert [one.receipt.after for one in await index.receipts()][-1] == kept + 1
