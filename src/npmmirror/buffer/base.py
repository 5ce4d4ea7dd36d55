"""What every buffer promises. Held by one contract suite, `tests/buffer/contract.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from npmmirror.change import Change
from npmmirror.errors import NpmmirrorError
from npmmirror.receipt import Position, Receipt

__all__ = [
    "Buffer",
    "BufferChangedError",
    "BufferUnavailableError",
    "Entry",
    "Gap",
    "Item",
    "Position",
    "Receipt",
]


class BufferUnavailableError(NpmmirrorError):
    """The buffer does not answer now (broker away, disk full); the same call may work later."""


class BufferChangedError(NpmmirrorError):
    """The buffer is not what it was: entries are gone or others, or it was made anew.

    Every call raises this until `refresh`; then receipts and checkpoint are to be held against it.
    """


@dataclass(frozen=True, slots=True)
class Entry:
    """A change as it lies in the buffer. `place` is its lane, and where in the lane it is.

    Order is kept within a lane, and a package is always in the same one. `observed_at` is when the
    follower saw it, `source` the feed that it came from.
    """

    change: Change
    place: tuple[int, int]
    observed_at: str
    source: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A place without a change: what lay there is set aside, and told. There is nothing to do."""

    place: tuple[int, int]


Item = Entry | Gap


class Buffer(Protocol):
    """An ordered, durable queue of changes; order is kept per package at least.

    Every call that asks something may raise `BufferUnavailableError` and `BufferChangedError`.
    """

    @property
    def identity(self) -> str:
        """Tells this buffer from one made anew in its place. Known from `refresh` on."""
        ...

    async def refresh(self) -> None:
        """Take the buffer for what it is now: its identity, its start and its end.

        Raises:
            BufferUnavailableError: it cannot be looked at.
        """
        ...

    async def append(
        self, changes: Sequence[Change], *, observed_at: str, source: str
    ) -> tuple[Position, str]:
        """Append a page; on return it is durable. The position behind it and the receipt's tail.

        An empty page gives the end as it is, and the tail of what lies before it.

        Raises:
            BufferUnavailableError: nothing, or a part of the page, was appended.
        """
        ...

    async def read(self, after: Position, limit: int) -> list[Item]:
        """Up to `limit` items behind a position, oldest first in each lane; empty at the end."""
        ...

    async def wait(self, after: Position) -> None:
        """Return once there are entries behind `after` (or there may be)."""
        ...

    def advance(self, position: Position, items: Sequence[Item]) -> Position:
        """The position behind these items: of each lane, those that follow `position`, in order."""
        ...

    def covers(self, position: Position, other: Position) -> bool:
        """Whether everything before `other` lies before `position` too; False across buffers."""
        ...

    async def start(self) -> Position:
        """The position before the oldest entry that is there."""
        ...

    async def end(self) -> Position:
        """The position behind the newest entry."""
        ...

    async def holds(self, receipt: Receipt) -> bool:
        """Whether the page of this receipt still ends where it ended, in this very buffer.

        A page that was trimmed does. Where the receipt has no tail, its end has to do.
        """
        ...

    async def reaches(self, position: Position) -> bool:
        """Whether all entries behind this position are still there: nothing was cut or replaced."""
        ...

    async def trim(self, before: Position) -> int:
        """Delete entries before a position, where they need not be kept; how many went.

        Positions are never used again.
        """
        ...

    async def depth(self, after: Position) -> int:
        """How many entries lie behind a position, as far as is known without asking anybody."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...

    async def __aenter__(self) -> Self:
        """The buffer itself, opened."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Close it."""
        ...
