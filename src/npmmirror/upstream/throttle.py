"""Slowing down together: one throttle for each host, shared by all requests to it.

`Throttle` decides (no clock, no loop), `Turnstile` makes requests wait accordingly.
"""

import asyncio
from collections import deque
from contextlib import suppress

from npmmirror.clock import Clock
from npmmirror.upstream.errors import HostFault

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
LONGEST_RETRY_AFTER = 3600.0


class Throttle:
    """How many requests a host may have at a time, and not before when.

    A refusal (429, 503) halves the number and holds everybody back, for as long as the host
    asked or for a pause that doubles with each round of refusals; each round of successes gives
    one place back. Times are seconds of a clock that never goes back.
    """

    __slots__ = ("_cut_at", "_rounds", "allowed", "ceiling", "in_use", "not_before")

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.allowed = float(ceiling)
        self.in_use = 0
        self.not_before: float | None = None
        self._rounds = 0
        self._cut_at: float | None = None

    @property
    def room(self) -> int:
        """How many more requests may be under way; never below zero."""
        return max(0, int(self.allowed) - self.in_use)

    def wait(self, now: float) -> float:
        """Seconds until a request may be sent."""
        if self.not_before is not None and now >= self.not_before:
            self.not_before = None
        return 0.0 if self.not_before is None else self.not_before - now

    def refused(self, now: float, sent_at: float, retry_after: float | None = None) -> None:
        """The host refused a request that was sent at `sent_at`.

        The refusals of requests that were already under way at the last cut are the same news.
        """
        if self._cut_at is None or sent_at >= self._cut_at:
            self.allowed = max(1.0, self.allowed / 2)
            self._rounds += 1
            self._cut_at = now
        own = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (self._rounds - 1))
        pause = max(own, min(retry_after or 0.0, LONGEST_RETRY_AFTER))
        self.not_before = max(self.not_before or 0.0, now + pause)

    def succeeded(self, sent_at: float) -> None:
        """The host answered a request that was sent at `sent_at`."""
        if self._cut_at is None or sent_at < self._cut_at:
            return
        self._rounds = 0
        self.allowed += 1.0 / self.allowed
        if self.allowed >= self.ceiling:
            self.allowed = float(self.ceiling)
            self._cut_at = None


class Turnstile:
    """Lets requests to a host through as its throttle says; `enter` and `leave` belong together."""

    __slots__ = ("_clock", "_patience", "_waiting", "throttle")

    def __init__(self, throttle: Throttle, clock: Clock, *, patience: float) -> None:
        self.throttle = throttle
        self._clock = clock
        self._patience = patience
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Take a place, as soon as there is one.

        Raises:
            HostFault: (`throttled`) the host asked for more quiet than is waited for here.
        """
        throttle = self.throttle
        if throttle.not_before is not None or throttle.in_use >= int(throttle.allowed):
            await self._wait()
        throttle.in_use += 1

    def leave(self) -> None:
        """Give the place back."""
        self.throttle.in_use -= 1
        if self._waiting:
            self._wake()

    async def _wait(self) -> None:
        try:
            while True:
                seconds = self._seconds()
                if seconds > 0:
                    await self._clock.sleep(seconds + self._clock.jitter(0.0, seconds / 10))
                elif self.throttle.room:
                    return
                else:
                    await self._turn()
        except BaseException:
            # Who leaves the queue without a place may have been woken for one: hand it on.
            self._wake()
            raise

    def _seconds(self) -> float:
        seconds = self.throttle.wait(self._clock.monotonic())
        if seconds > self._patience:
            raise HostFault("throttled", f"asked for {seconds:.0f} s of quiet", seconds)
        return seconds

    async def _turn(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            with suppress(ValueError):
                self._waiting.remove(future)

    def _wake(self) -> None:
        room = self.throttle.room
        while room and self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                room -= 1
