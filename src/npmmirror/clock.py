"""Time and chance, injected, so that tests move time instead of waiting for it."""

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the mirror asks of time."""

    def now(self) -> datetime:
        """The wall clock, in UTC. It may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start. It never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def jitter(self, low: float, high: float) -> float:
        """A number between the two, each equally likely."""
        ...


class SystemClock:
    """The machine's own time and a seedless random generator."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)

    def jitter(self, low: float, high: float) -> float:
        """See `Clock.jitter`."""
        return random.uniform(low, high)


def timestamp(moment: datetime) -> str:
    """A moment as it is written everywhere: `2026-11-20T10:00:00.123456Z`, sorting as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    """The moment that `timestamp` wrote as `text`.

    Raises:
        ValueError: `text` is no such timestamp.
    """
    return datetime.fromisoformat(text).astimezone(UTC)
