"""The breaker: many packages that vanish at once are a fault of upstream's until a person says so.

It covers removals alone, where nothing but an absence speaks: a registry under maintenance gives
one as well. Unpublished packages and security holders are told by documents, which are captured
with their revision and their bytes, and pass.
"""

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from npmmirror.clock import Clock, moment, timestamp
from npmmirror.index import HeldRemoval, IndexReader, IndexUnavailableError

HOUR: Final = timedelta(hours=1)
FEWEST: Final = 20
"""So many removals or fewer are no share of anything: small mirrors have nothing but shares."""
COMMITTED_SECONDS: Final = 60.0
"""What was judged so long ago is in the index."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many removals within an hour are believed: `packages`, and `percent` of the live ones.

    0 is no limit.
    """

    packages: int
    percent: float

    def are_passed(self, removals: int, live: int) -> bool:
        """Whether so many removals are too many where so many packages are live."""
        if self.packages and removals > self.packages:
            return True
        return bool(self.percent) and removals > FEWEST and removals * 100 > self.percent * live


class Window:
    """Counts what happened within the last hour, minute by minute. Pure."""

    def __init__(self) -> None:
        self._minutes: deque[tuple[datetime, int]] = deque()

    def note(self, at: datetime, count: int = 1) -> None:
        """So much happened then, which is not before what was noted last."""
        minute = at.replace(second=0, microsecond=0)
        if self._minutes and self._minutes[-1][0] >= minute:
            last, before = self._minutes.pop()
            self._minutes.append((last, before + count))
        else:
            self._minutes.append((minute, count))

    def count(self, now: datetime) -> int:
        """How much happened within the hour before; a minute that began before it counts."""
        while self._minutes and self._minutes[0][0] + timedelta(minutes=1) <= now - HOUR:
            self._minutes.popleft()
        return sum(count for _, count in self._minutes)

    def clear(self) -> None:
        """Begin anew."""
        self._minutes.clear()


class RemovalBreaker:
    """Says whether one more confirmed removal is applied, or held for the operator.

    It is tripped while removals are held: they are rows of the index, and so outlast the process.
    """

    def __init__(self, limits: Limits, index: IndexReader, clock: Clock) -> None:
        self._limits = limits
        self._index = index
        self._clock = clock
        self._window = Window()
        self._held_at = float("-inf")
        self.held = 0
        """How many removals are held, as far as was last looked."""

    @property
    def tripped(self) -> bool:
        """Whether removals are held."""
        return self.held > 0

    async def load(self) -> None:
        """Take up where the last process was."""
        standing = await self._index.removals.standing()
        since = timestamp(self._clock.now() - HOUR)
        decided_at = standing.decided_at or since
        self._refill(await self._index.removals.since(max(since, decided_at)))
        self.held = standing.held
        if self.tripped:
            log.warning("removals_held", held=self.held, since=standing.held_since)

    def _refill(self, minutes: Iterable[tuple[str, int]]) -> None:
        for minute, count in minutes:
            self._window.note(moment(f"{minute}:00.000000Z"), count)

    async def admits(self, package: str) -> bool:
        """Whether a removal that is confirmed now is applied; if not, it is to be held."""
        if await self.held_of(package) is not None:
            return False
        # Counted before anything is awaited again: many are judged at the same time.
        now = self._clock.now()
        self._window.note(now)
        removals = self._window.count(now)
        tripped, live = await self._index.removals.tripped()
        if not (tripped or self._limits.are_passed(removals, live)):
            return True
        self._trip(removals, live)
        return False

    def _trip(self, removals: int, live: int) -> None:
        if not self.tripped:
            log.error(
                "removal_breaker_tripped",
                removals=removals,
                live=live,
                packages=self._limits.packages,
                percent=self._limits.percent,
            )
        self.held = max(self.held, 1)
        self._held_at = self._clock.monotonic()

    async def held_of(self, package: str) -> HeldRemoval | None:
        """The removal of a package that is held; None where none is."""
        return await self._index.removals.of(package)

    async def refresh(self) -> None:
        """Look how many are held; where none is any more, the breaker is closed.

        An index that cannot be read now is looked at the next time.
        """
        # What was judged a moment ago is not committed yet.
        if self.tripped and self._clock.monotonic() - self._held_at <= COMMITTED_SECONDS:
            return
        with suppress(IndexUnavailableError):
            # The last look may have come before what was judged was committed.
            if self.tripped or (await self._index.removals.tripped())[0]:
                await self._look()

    async def decided(self) -> int:
        """The operator decided; how many are still held.

        Where none is, what was removed before counts no more.
        """
        await self._look()
        if not self.tripped:
            self._window.clear()
        return self.held

    async def _look(self) -> None:
        before = self.held
        self.held = (await self._index.removals.standing()).held
        if before and not self.held:
            log.info("removal_breaker_closed")
