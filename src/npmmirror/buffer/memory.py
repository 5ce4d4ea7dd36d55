"""A buffer in memory, for tests: with several partitions it behaves as a broker's topic does."""

import json
import uuid
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import Self

import anyio

from npmmirror.buffer.base import Entry, Item, Position, Receipt
from npmmirror.change import Change


class MemoryBuffer:
    """A `Buffer` that lasts as long as the object: order is kept in each partition alone.

    `close` keeps the entries, so that an object opened again stands for the same buffer.
    """

    def __init__(self, partitions: int = 1) -> None:
        self._identity = uuid.uuid4().hex
        self._entries: list[list[Entry]] = [[] for _ in range(partitions)]
        self._first = [0] * partitions
        self._appended = anyio.Event()

    @property
    def identity(self) -> str:
        """See `Buffer.identity`."""
        return self._identity

    async def refresh(self) -> None:
        """See `Buffer.refresh`."""

    async def append(
        self, changes: Sequence[Change], *, observed_at: str, source: str
    ) -> tuple[Position, str]:
        """See `Buffer.append`."""
        for change in changes:
            partition = zlib.crc32(change.id.encode("utf-8", "surrogatepass")) % len(self._first)
            number = self._next(partition)
            self._entries[partition].append(Entry(change, (partition, number), observed_at, source))
        if changes:
            self._appended.set()
            self._appended = anyio.Event()
        end = await self.end()
        return end, self._tail(self._offsets(end))

    async def read(self, after: Position, limit: int) -> list[Item]:
        """See `Buffer.read`."""
        lists = [
            self._entries[partition][max(offset - self._first[partition], 0) :]
            for partition, offset in enumerate(self._offsets(after))
        ]
        mixed = chain.from_iterable(zip_longest(*lists))
        return [*islice((entry for entry in mixed if entry is not None), limit)]

    async def wait(self, after: Position) -> None:
        """See `Buffer.wait`."""
        while not await self.depth(after):
            await self._appended.wait()

    def advance(self, position: Position, items: Sequence[Item]) -> Position:
        """See `Buffer.advance`."""
        offsets = self._offsets(position)
        for item in items:
            partition, number = item.place
            offsets[partition] = number + 1
        return self._position(offsets)

    def covers(self, position: Position, other: Position) -> bool:
        """See `Buffer.covers`."""
        if not position.buffer == other.buffer == self._identity:
            return False
        return all(
            mine >= its
            for mine, its in zip(self._offsets(position), self._offsets(other), strict=True)
        )

    async def start(self) -> Position:
        """See `Buffer.start`."""
        return self._position(self._first)

    async def end(self) -> Position:
        """See `Buffer.end`."""
        return self._position([self._next(partition) for partition in self._partitions()])

    async def holds(self, receipt: Receipt) -> bool:
        """See `Buffer.holds`."""
        if receipt.end.buffer != self._identity:
            return False
        end = self._offsets(receipt.end)
        if any(offset > self._next(partition) for partition, offset in enumerate(end)):
            return False
        if not receipt.tail:
            return True
        tails = zip(json.loads(self._tail(end)), json.loads(receipt.tail), strict=True)
        return all(
            now == then or end[partition] <= self._first[partition]
            for partition, (now, then) in enumerate(tails)
        )

    async def reaches(self, position: Position) -> bool:
        """See `Buffer.reaches`."""
        return position.buffer == self._identity and all(
            self._first[partition] <= offset <= self._next(partition)
            for partition, offset in enumerate(self._offsets(position))
        )

    async def trim(self, before: Position) -> int:
        """See `Buffer.trim`."""
        gone = 0
        for partition, offset in enumerate(self._offsets(before)):
            count = min(offset, self._next(partition)) - self._first[partition]
            if count > 0:
                del self._entries[partition][:count]
                self._first[partition] += count
                gone += count
        return gone

    async def depth(self, after: Position) -> int:
        """See `Buffer.depth`."""
        return sum(
            max(self._next(partition) - max(offset, self._first[partition]), 0)
            for partition, offset in enumerate(self._offsets(after))
        )

    async def close(self) -> None:
        """See `Buffer.close`."""

    async def __aenter__(self) -> Self:
        """The buffer itself."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close it."""
        await self.close()

    def _partitions(self) -> Iterator[int]:
        return iter(range(len(self._first)))

    def _next(self, partition: int) -> int:
        return self._first[partition] + len(self._entries[partition])

    def _tail(self, end: Sequence[int]) -> str:
        """In each partition, the change before the end; null where it is not there (any more)."""
        return json.dumps(
            [self._before(partition, end[partition]) for partition in self._partitions()]
        )

    def _before(self, partition: int, offset: int) -> list[str | int | None] | None:
        index = offset - 1 - self._first[partition]
        if index < 0:
            return None
        change = self._entries[partition][index].change
        return [change.seq, change.id, change.rev]

    def _position(self, offsets: Sequence[int]) -> Position:
        return Position(self._identity, json.dumps([*offsets]))

    def _offsets(self, position: Position) -> list[int]:
        if position.buffer != self._identity:
            raise ValueError(f"{position} is of another buffer than {self._identity}")
        offsets: list[int] = json.loads(position.value)
        return offsets
