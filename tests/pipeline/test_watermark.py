"""The checkpoint is the end of the longest finished prefix."""

import pytest
from hypothesis import given, strategies as st

from npmmirror.buffer.base import Gap
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


@given(order=st.permutations(range(20)), lanes=st.integers(2, 5))
async def test_each_lane_has_a_prefix_of_its_own(order: list[int], lanes: int) -> None:
    """What is not finished holds back those that follow it in its lane, and nobody else."""
    buffer = MemoryBuffer(lanes)
    start = await buffer.end()
    changes = [Change(seq, f"p{seq}", "1-a") for seq in order]
    await buffer.append(changes, observed_at="now", source="feed")
    watermark = Watermark(buffer, start)
    items = await buffer.read(start, len(order))
    tickets = [watermark.open(item) for item in items]
    finished: set[int] = set()
    for place in order:
        finished.add(place)
        position = watermark.finish([tickets[place]])
        left = 0
        for lane in range(lanes):
            own = [n for n, item in enumerate(items) if item.place[0] == lane]
            passed = next((n for n, one in enumerate(own) if one not in finished), len(own))
            left += len(own) - passed
        assert await buffer.depth(position) == left
    assert len(watermark) == 0


async def test_tickets_of_the_watermark_before_mean_nothing() -> None:
    """A job that was under way when the buffer was lost comes to its end after that."""
    buffer, earlier, old = await filled(3)
    start = earlier.finish(old[:1])
    watermark = Watermark(buffer, start, after=earlier)
    new = [watermark.open(item) for item in await buffer.read(start, 10)]
    assert not set(new) & set(old)
    assert await buffer.depth(watermark.finish(old)) == 2
    assert await buffer.depth(watermark.finish(new)) == 0


async def test_a_gap_in_the_buffer_is_passed_like_a_change() -> None:
    """Where a record was set aside there is nothing to do, and the checkpoint goes on."""
    buffer, _, _ = await filled(2)
    start = await buffer.start()
    entries = await buffer.read(start, 2)
    watermark = Watermark(buffer, start)
    tickets = [watermark.open(entries[0]), watermark.open(Gap(entries[1].place))]
    watermark.finish(tickets[1:])
    assert watermark.seq is None
    assert await buffer.depth(watermark.finish(tickets[:1])) == 0
    assert watermark.seq == 0


async def test_the_prefix_tells_its_last_seq() -> None:
    """Whatever is finished behind a gap: the lag is counted from the prefix."""
    _, watermark, tickets = await filled(4)
    seqs = []
    for group in (tickets[2:], tickets[:1], tickets[1:2]):
        watermark.finish(group)
        seqs.append(watermark.seq)
    assert seqs == [None, 0, 3]
