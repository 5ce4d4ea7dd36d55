"""A clock that tests move."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest


class ManualClock:
    """Time stands still until a test, or somebody's sleep, moves it."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
        self._monotonic = 1000.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self._now

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Move the time on at once."""
        self.slept.append(seconds)
        self.move(seconds)
        await anyio.lowlevel.checkpoint()

    def jitter(self, low: float, high: float) -> float:
        """The upper end, always."""
        assert low <= high
        return high

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


@pytest.fixture
def clock() -> ManualClock:
    """A clock that tests move."""
    return ManualClock()
