"""What every buffer promises. Held by one contract suite, `tests/buffer/contract.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from npmmirror.change import Change
from npmmirror.errors import NpmmirrorError
from npmmirror.receipt import Position, Receipt

__all__ = ["Buffer", "BufferUnavailableError", "Entry", "Position", "Receipt"]


class BufferUnavailableError(NpmmirrorError):
    """The buffer does not answer now (broker away, disk full); the same call may work later."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A change as it lies in the buffer. `place` is for the buffer's own use.

    `observed_at` is when the follower saw it, `source` the feed that it came from.
    """

    change: Change
    place: tuple[int, int]
    observed_at: str
    source: str


class Buffer(Protocol):
    """An ordered, durable queue of changes; order is kept per package at least."""

    @property
    def identity(self) -> str:
        """Tells this buffer from one made anew in its place."""
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

    async def read(self, after: Position, limit: int) -> list[Entry]:
        """Up to `limit` entries behind a position, oldest first; empty at the end."""
        ...

    async def wait(self, after: Position) -> None:
        """Return once there are entries behind `after` (or there may be)."""
        ...

    def advance(self, position: Position, entries: Sequence[Entry]) -> Position:
        """The position behind these entries, which were read from `position` on, in order."""
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
        """Delete the entries before a position; how many went. Positions are never used again."""
        ...

    async def depth(self, after: Position) -> int:
        """How many entries lie behind a position."""
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
