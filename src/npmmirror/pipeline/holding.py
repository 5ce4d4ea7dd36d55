"""Keeping everybody off some packages while something is done to what is held of them."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from npmmirror.clock import Clock
from npmmirror.liveness import at_rest
from npmmirror.pipeline.gate import Gate
from npmmirror.pipeline.job import Job

LOOK_SECONDS = 0.05


class Holding:
    """Goes through the gate as a job does, and opens it again by `let_go`."""

    def __init__(self, gate: Gate, let_go: Callable[[str], None], clock: Clock) -> None:
        self._gate = gate
        self._let_go = let_go
        self._clock = clock

    @asynccontextmanager
    async def holding(self, packages: Collection[str]) -> AsyncIterator[None]:
        """Nobody works on these packages inside the block; what comes meanwhile waits for its end."""
        held: list[str] = []
        try:
            # In one order for all, so that nobody waits for who waits for him.
            for package in sorted(packages):
                await self._take(package)
                held.append(package)
            yield
        finally:
            for package in held:
                self._let_go(package)

    async def _take(self, package: str) -> None:
        with at_rest():
            while self._gate.busy(package):
                await self._clock.sleep(LOOK_SECONDS)
        # No job is to join: none is done here.
        self._gate.admit(Job(package, document=False, sent=True))
