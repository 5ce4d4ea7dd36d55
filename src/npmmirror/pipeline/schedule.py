"""When to try again: pure arithmetic over attempts."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from npmmirror.clock import Clock, timestamp

STALE_QUICK_TRIES = 8
"""A document older than announced is usually right within seconds: so many quick looks first."""


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

    def after_stale(self, attempts: int) -> datetime | None:
        """When to look again after a document came older than announced."""
        if attempts <= STALE_QUICK_TRIES:
            return self._in(self.clock.jitter(1.0, 8.0))
        return self.after(attempts - STALE_QUICK_TRIES)

    def now(self) -> str:
        """The time, as text."""
        return timestamp(self.clock.now())

    def _in(self, seconds: float) -> datetime:
        return self.clock.now() + timedelta(seconds=seconds)
