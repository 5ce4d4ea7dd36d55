"""When to try again: pure arithmetic over attempts."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from npmmirror.clock import Clock, timestamp

QUICK_TRIES = 8
"""A document older than announced is usually right within seconds: so many quick looks first,
each `QUICK_SECONDS` after the one before, over `QUICK_SPAN_SECONDS` at least."""
QUICK_SECONDS = (1.0, 8.0)
QUICK_SPAN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Growing pauses with jitter; after `max_attempts` none (a dead letter).

    The first pause is `first_seconds`, each further one twice as long, `longest_seconds` at most.
    """

    clock: Clock
    first_seconds: float
    longest_seconds: float
    max_attempts: int

    def after(self, attempts: int) -> datetime | None:
        """When to try again after so many failed attempts (1 and more)."""
        return self.in_a_while(attempts) if attempts < self.max_attempts else None

    def in_a_while(self, attempts: int) -> datetime:
        """When to try again where the last try was nobody's failure, however many there were."""
        doublings = min(max(attempts - 1, 0), 40)
        pause = min(self.first_seconds * 2.0**doublings, self.longest_seconds)
        return self._in(self.clock.jitter(pause / 2, pause))

    def after_stale(self, attempts: int, since: datetime) -> datetime | None:
        """When to look again after a document came older than announced, the first time `since`."""
        if attempts > QUICK_TRIES:
            return self.after(attempts - QUICK_TRIES)
        return self.soon(QUICK_TRIES - attempts, since)

    def soon(self, tries_left: int, since: datetime) -> datetime:
        """The next of some quick looks, so many of which are left behind it.

        Where chance made the ones before too quick, what is left takes longer, within its bounds.
        """
        low, high = QUICK_SECONDS
        spent = (self.clock.now() - since).total_seconds()
        least = QUICK_SPAN_SECONDS - spent - high * tries_left
        return self._in(self.clock.jitter(min(max(least, low), high), high))

    def now(self) -> str:
        """The time, as text."""
        return timestamp(self.clock.now())

    def _in(self, seconds: float) -> datetime:
        return self.clock.now() + timedelta(seconds=seconds)
