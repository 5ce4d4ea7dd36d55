"""Where to go on: the receipts and the checkpoint held against the buffer that is there."""

from collections.abc import Sequence
from dataclasses import dataclass

from npmmirror.buffer.base import Buffer
from npmmirror.change import Seq
from npmmirror.index import KeptReceipt
from npmmirror.receipt import Position


@dataclass(frozen=True, slots=True)
class Resume:
    """Where to go on.

    Where something was lost, `lost` is a sentence for the log, and `receipt` the number of the
    page that cursor and checkpoint went back to: receipts behind it are void (None: all are).
    """

    cursor: Seq
    checkpoint: Position
    lost: str | None = None
    receipt: int | None = None


async def resume(
    buffer: Buffer, cursor: Seq, checkpoint: Position, receipts: Sequence[KeptReceipt]
) -> Resume:
    """Hold what the index remembers against the buffer.

    `receipts` are ordered, oldest first; the newest finished one is among them. Where the buffer
    lost its end, the cursor goes back to the newest page that is wholly there, and what lies
    before is still read from the buffer. Where it lost its beginning, holds others in the place of
    what it held, or is another one, the cursor goes back to the newest page that was finished, and what the buffer holds is passed
    over: the feed tells it again.
    """
    why = await _past_repair(buffer, checkpoint, receipts)
    if why is not None:
        return await _start_over(buffer, receipts, cursor, why)
    unfinished = [kept for kept in receipts if not kept.finished]
    for age, kept in enumerate(reversed(unfinished)):
        if await buffer.holds(kept.receipt):
            if age == 0:
                return Resume(cursor, checkpoint)
            seq = kept.receipt.after
            lost = f"the buffer lost its newest pages ({age}); the feed is read again from {seq}"
            return Resume(seq, checkpoint, lost, kept.number)
    if unfinished:
        return await _start_over(buffer, receipts, cursor, "the buffer lost its end")
    return Resume(cursor, checkpoint)


async def _past_repair(
    buffer: Buffer, checkpoint: Position, receipts: Sequence[KeptReceipt]
) -> str | None:
    """Why nothing that lies behind the checkpoint can be relied on; None where it can."""
    if checkpoint.buffer != buffer.identity:
        return "the buffer is another one"
    if not await buffer.reaches(checkpoint):
        return "the buffer lost changes not yet done"
    if await _is_overgrown(buffer, receipts):
        return "the buffer holds others where it held what was finished"
    return None


async def _is_overgrown(buffer: Buffer, receipts: Sequence[KeptReceipt]) -> bool:
    """Whether it lost its end and grew past the checkpoint again: where that leads is chance."""
    finished = [kept.receipt for kept in receipts if kept.finished]
    # After a move from another buffer the newest finished page is one of that.
    ours = finished and finished[-1].end.buffer == buffer.identity
    return bool(ours) and not await buffer.holds(finished[-1])


async def _start_over(
    buffer: Buffer, receipts: Sequence[KeptReceipt], cursor: Seq, why: str
) -> Resume:
    """Back to the newest page that was finished, at the buffer's end."""
    finished = [kept for kept in receipts if kept.finished]
    number = None
    if finished:
        number, cursor = finished[-1].number, finished[-1].receipt.after
    elif receipts and receipts[0].receipt.before is not None:
        cursor = receipts[0].receipt.before
    lost = f"{why}; the feed is read again from {cursor}"
    return Resume(cursor, await buffer.end(), lost, number)
