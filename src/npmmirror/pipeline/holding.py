"""Keeping everybody off some packages while something is done to what is held of them."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager

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
        self._enter(package)

    @contextmanager
    def held_at_once(self, packages: Collection[str]) -> Iterator[bool]:
        """The same without waiting; False, and nothing is held, where somebody works on one.

        For who holds others already: two that waited for each other would wait for ever.
        """
        if any(self._gate.busy(package) for package in packages):
            yield False
            return
        for package in packages:
            self._enter(package)
        try:
            yield True
        finally:
            for package in packages:
                self._let_go(package)

    def _enter(self, package: str) -> None:
        # No job is to join: none is done here.
        self._gate.admit(Job(package, document=False, sent=True))
