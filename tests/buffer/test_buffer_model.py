"""The buffers against a model: a list, and how much of it was trimmed."""

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from npmmirror.buffer import sqlite
from npmmirror.buffer.base import Buffer, Position, Receipt
from npmmirror.buffer.memory import MemoryBuffer
from npmmirror.buffer.sqlite import SqliteBuffer
from npmmirror.change import Change
from tests.buffer.contract import AT, SOURCE, changes, drained, of

Opener = Callable[[Path], Awaitable[Buffer]]
Step = tuple[str, int, int]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "read", "trim", "reopen"]),
        st.integers(0, 40),
        st.integers(1, 20),
    ),
    max_size=25,
)


class Model:
    """Runs steps on a buffer of one partition and holds each answer against a list.

    `places[n]` is the position with n entries before it, where one was met.
    """

    def __init__(self, start: Position) -> None:
        self.all = list[Change]()
        self.trimmed = 0
        self.places = {0: start}
        self.receipts: list[Receipt] = []

    def some_place(self, choice: int) -> int:
        known = sorted(self.places)
        return known[choice % len(known)]

    async def append(self, buffer: Buffer, count: int) -> None:
        page = changes(len(self.all) + 1, count, packages=1)
        end, tail = await buffer.append(page, observed_at=AT, source=SOURCE)
        self.all += page
        self.places[len(self.all)] = end
        self.receipts.append(Receipt(None, len(self.all), end, tail))

    async def read(self, buffer: Buffer, choice: int, limit: int) -> None:
        place = self.some_place(choice)
        entries = await buffer.read(self.places[place], limit)
        begin = max(place, self.trimmed)
        assert of(entries) == self.all[begin : begin + limit]
        for count in range(1, len(entries) + 1):
            position = buffer.advance(self.places[place], entries[:count])
            assert self.places.setdefault(begin + count, position) == position

    async def trim(self, buffer: Buffer, choice: int) -> None:
        place = self.some_place(choice)
        assert await buffer.trim(self.places[place]) == max(place - self.trimmed, 0)
        self.trimmed = max(self.trimmed, place)

    async def check(self, buffer: Buffer) -> None:
        assert len(await drained(buffer, await buffer.start())) == len(self.all) - self.trimmed
        for place, position in self.places.items():
            assert await buffer.depth(position) == len(self.all) - max(place, self.trimmed)
            assert await buffer.reaches(position) == (place >= self.trimmed)
        for receipt in self.receipts:
            assert await buffer.holds(receipt)


async def play(opened: Opener, steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "buffer.db"
        buffer = await opened(path)
        model = Model(await buffer.start())
        for action, choice, count in steps:
            if action == "append":
                await model.append(buffer, count)
            elif action == "read":
                await model.read(buffer, choice, count)
            elif action == "trim":
                await model.trim(buffer, choice)
            else:
                await buffer.close()
                buffer = await opened(path)
        await model.check(buffer)
        await buffer.close()


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_sqlite_buffer_is_a_list_that_is_trimmed(steps: list[Step]) -> None:
    """Whatever is appended, read, trimmed and reopened, the buffer answers as the model does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "BLOCK_ENTRIES", 7)  # so that small pages fill several
        patch.setattr(sqlite, "TRIM_BLOCKS", 2)
        anyio.run(play, SqliteBuffer.open, steps)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_memory_buffer_is_a_list_that_is_trimmed(steps: list[Step]) -> None:
    """The buffer of the tests keeps to the same model."""
    buffer = MemoryBuffer()

    async def opened(_: Path) -> Buffer:
        return buffer

    anyio.run(play, opened, steps)
