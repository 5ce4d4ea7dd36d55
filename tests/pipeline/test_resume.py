"""Receipts and checkpoint held against the buffer that is there."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from npmmirror.buffer.sqlite import SqliteBuffer
from npmmirror.change import Change
from npmmirror.index import KeptReceipt
from npmmirror.pipeline.resume import Resume, resume
from npmmirror.receipt import Receipt

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[SqliteBuffer]:
    directory.mkdir(exist_ok=True)  # noqa: ASYNC240 - nothing else runs
    async with await SqliteBuffer.open(directory / "buffer.db") as buffer:
        yield buffer


async def page(buffer: SqliteBuffer, number: int, *, finished: bool = False) -> KeptReceipt:
    """Append the page of ten rows that ends at seq `number * 10`."""
    first = (number - 1) * 10
    changes = [Change(seq, f"p{seq}", "1-a") for seq in range(first + 1, first + 11)]
    end, tail = await buffer.append(changes, observed_at="now", source="feed")
    receipt = Receipt(before=first, after=first + 10, end=end, tail=tail)
    return KeptReceipt(number, receipt, "now", finished)


def copied(directory: Path, name: str) -> Path:
    """A copy of the whole directory, as a backup would make it."""
    target = directory.parent / name
    shutil.copytree(directory, target)
    return target


async def test_everything_is_there(tmp_path: Path) -> None:
    """Cursor and checkpoint stay as they are."""
    async with opened(tmp_path) as buffer:
        receipts = [await page(buffer, 1, finished=True), await page(buffer, 2)]
        checkpoint = receipts[0].receipt.end
        assert await resume(buffer, 20, checkpoint, receipts) == Resume(20, checkpoint)


async def test_another_buffer_starts_over_at_the_newest_finished_page(tmp_path: Path) -> None:
    """A deleted buffer.db: what was not finished is read from the feed again."""
    async with opened(tmp_path / "old") as buffer:
        receipts = [
            await page(buffer, 1, finished=True),
            await page(buffer, 2),
            await page(buffer, 3),
        ]
        checkpoint = receipts[1].receipt.end
    async with opened(tmp_path / "new") as buffer:
        found = await resume(buffer, 30, checkpoint, receipts)
        assert (found.cursor, found.receipt) == (10, 1)
        assert found.checkpoint == await buffer.end()
        assert found.lost is not None
        assert "another one" in found.lost


async def test_the_buffer_lost_its_end(tmp_path: Path) -> None:
    """An older copy put back: the cursor goes to the newest page that is wholly there."""
    async with opened(tmp_path / "a") as buffer:
        receipts = [await page(buffer, 1, finished=True), await page(buffer, 2)]
    older = copied(tmp_path / "a", "b")
    async with opened(tmp_path / "a") as buffer:
        receipts += [await page(buffer, 3), await page(buffer, 4)]
    async with opened(older) as buffer:
        checkpoint = receipts[0].receipt.end
        found = await resume(buffer, 40, checkpoint, receipts)
        assert (found.cursor, found.checkpoint, found.receipt) == (20, checkpoint, 2)
        assert await buffer.depth(found.checkpoint) == 10


async def test_the_buffer_lost_more_than_was_finished(tmp_path: Path) -> None:
    """The checkpoint itself lies behind the buffer's end: back to the newest finished page."""
    async with opened(tmp_path / "a") as buffer:
        receipts = [await page(buffer, 1)]
    older = copied(tmp_path / "a", "b")
    async with opened(tmp_path / "a") as buffer:
        receipts = [await page(buffer, 2, finished=True), await page(buffer, 3)]
        checkpoint = receipts[0].receipt.end
    async with opened(older) as buffer:
        found = await resume(buffer, 30, checkpoint, receipts)
        assert (found.cursor, found.receipt) == (20, 2)
        assert found.checkpoint == await buffer.end()


async def test_the_buffer_lost_its_beginning(tmp_path: Path) -> None:
    """Rows behind the checkpoint were deleted: back to the newest finished page."""
    async with opened(tmp_path) as buffer:
        receipts = [
            await page(buffer, 1, finished=True),
            await page(buffer, 2),
            await page(buffer, 3),
        ]
        await buffer.trim(receipts[1].receipt.end)
        found = await resume(buffer, 30, receipts[0].receipt.end, receipts)
        assert (found.cursor, found.receipt) == (10, 1)


async def test_the_buffer_grew_again_past_the_checkpoint(tmp_path: Path) -> None:
    """What lies behind the checkpoint now was told while nobody knew of the loss."""
    async with opened(tmp_path / "a"):
        pass
    older = copied(tmp_path / "a", "b")
    async with opened(tmp_path / "a") as buffer:
        receipts = [await page(buffer, 1, finished=True)]
        checkpoint = receipts[0].receipt.end
    async with opened(older) as buffer:
        await page(buffer, 7)
        await page(buffer, 8)
        assert await buffer.reaches(checkpoint)
        found = await resume(buffer, 10, checkpoint, receipts)
        assert (found.cursor, found.receipt) == (10, 1)
        assert found.checkpoint == await buffer.end()
        assert found.lost is not None
        assert "holds others" in found.lost


async def test_a_finished_page_of_another_buffer_is_no_loss(tmp_path: Path) -> None:
    """After a move to this one it stays the place to go back to."""
    async with opened(tmp_path / "old") as buffer:
        receipts = [await page(buffer, 1, finished=True)]
    async with opened(tmp_path / "new") as buffer:
        checkpoint = await buffer.end()
        assert await resume(buffer, 10, checkpoint, receipts) == Resume(10, checkpoint)


async def test_nothing_was_ever_finished(tmp_path: Path) -> None:
    """Then following begins where it began."""
    async with opened(tmp_path / "old") as buffer:
        receipts = [await page(buffer, 3)]
        checkpoint = await buffer.start()
    async with opened(tmp_path / "new") as buffer:
        found = await resume(buffer, 30, checkpoint, receipts)
        assert (found.cursor, found.receipt) == (20, None)


async def test_after_going_back_all_is_well(tmp_path: Path) -> None:
    """What `resume` says is what the next start finds good."""
    async with opened(tmp_path / "old") as buffer:
        receipts = [await page(buffer, 1, finished=True), await page(buffer, 2)]
        checkpoint = receipts[0].receipt.end
    async with opened(tmp_path / "new") as buffer:
        found = await resume(buffer, 20, checkpoint, receipts)
        kept = [kept for kept in receipts if kept.number <= (found.receipt or 0)]
        kept.append(await page(buffer, 2))
        assert await resume(buffer, 20, found.checkpoint, kept) == Resume(20, found.checkpoint)
