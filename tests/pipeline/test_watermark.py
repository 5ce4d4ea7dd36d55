"""The checkpoint is the end of the longest finished prefix."""

import pytest
from hypothesis import given, strategies as st

from npmmirror.buffer.memory import MemoryBuffer
from npmmirror.change import Change
from npmmirror.pipeline.watermark import Watermark

pytestmark = pytest.mark.anyio


async def filled(rows: int) -> tuple[MemoryBuffer, Watermark, list[int]]:
    """A buffer with so many rows, all of them read."""
    buffer = MemoryBuffer()
    start = await buffer.end()
    changes = [Change(seq, f"p{seq}", "1-a") for seq in range(rows)]
    await buffer.append(changes, observed_at="now", source="feed")
    watermark = Watermark(buffer, start)
    tickets = [watermark.open(entry) for entry in await buffer.read(start, rows)]
    return buffer, watermark, tickets


async def test_nothing_finished_nothing_passed() -> None:
    """The checkpoint stays at the start."""
    buffer, watermark, _ = await filled(3)
    assert await buffer.depth(watermark.finish([])) == 3


async def test_a_gap_holds_the_checkpoint() -> None:
    """Later changes that are finished wait behind one that is not."""
    buffer, watermark, tickets = await filled(4)
    assert await buffer.depth(watermark.finish(tickets[1:])) == 4
    oldest = watermark.oldest
    assert oldest is not None
    assert oldest.change.seq == 0
    assert await buffer.depth(watermark.finish(tickets[:1])) == 0
    assert watermark.oldest is None
    assert len(watermark) == 0


@given(order=st.permutations(range(12)), sizes=st.lists(st.integers(1, 4), min_size=12))
async def test_the_checkpoint_is_the_longest_finished_prefix(
    order: list[int], sizes: list[int]
) -> None:
    """In whatever order and groups changes are finished."""
    buffer, watermark, tickets = await filled(len(order))
    finished: set[int] = set()
    waiting = [tickets[place] for place in order]
    for size in sizes:
        group, waiting = waiting[:size], waiting[size:]
        finished.update(group)
        position = watermark.finish(group)
        prefix = next((t for t in tickets if t not in finished), len(tickets))
        assert await buffer.depth(position) == len(tickets) - prefix


async def test_the_prefix_tells_its_last_seq() -> None:
    """Whatever is finished behind a gap: the lag is counted from the prefix."""
    _, watermark, tickets = await filled(4)
    seqs = []
    for group in (tickets[2:], tickets[:1], tickets[1:2]):
        watermark.finish(group)
        seqs.append(watermark.seq)
    assert seqs == [None, 0, 3]
