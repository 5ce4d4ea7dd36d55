"""Whether tasks get on: each is at work since a moment, or waits for what may take any time.

A watched task counts as at work, except inside `at_rest`. Work ends by itself: by time-outs, by
caps, because a disk answers. Who is at work for longer than the limit is stuck. To wait (for a
change, for upstream, for room on the disk, for whoever does that) is no work.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from npmmirror.clock import Clock


class _Watched:
    """A task; what it starts counts as part of it, and one part at rest is enough."""

    __slots__ = ("clock", "limit_seconds", "name", "resting", "since", "task")

    def __init__(self, name: str, limit_seconds: float, clock: Clock) -> None:
        self.name = name
        self.limit_seconds = limit_seconds
        self.clock = clock
        self.task = asyncio.current_task()
        self.resting = 0
        self.since = clock.monotonic()


_watched: ContextVar[_Watched | None] = ContextVar("watched", default=None)


class _Rest:
    """The context of a wait."""

    __slots__ = ("_watched",)

    def __init__(self, watched: _Watched | None) -> None:
        self._watched = watched

    def __enter__(self) -> None:
        if self._watched is not None:
            self._watched.resting += 1

    def __exit__(self, *exc: object) -> None:
        if self._watched is not None:
            self._watched.resting -= 1
            self._watched.since = self._watched.clock.monotonic()


def at_rest() -> _Rest:
    """A context in which the calling task waits for something that may take any time.

    Costs next to nothing where nobody watches.
    """
    return _Rest(_watched.get())


@dataclass(frozen=True, slots=True)
class Stuck:
    """A task that is at work for too long; `where` has its lines of source, outermost first."""

    name: str
    seconds: float
    where: tuple[str, ...]


class Liveness:
    """The tasks that are watched. Used from one event loop.

    `limit_seconds` is how long work may take where nothing else is said.
    """

    def __init__(self, clock: Clock, limit_seconds: float) -> None:
        self._clock = clock
        self._limit_seconds = limit_seconds
        self._tasks: set[_Watched] = set()

    @contextmanager
    def watch(self, name: str, limit_seconds: float | None = None) -> Iterator[None]:
        """Watch the calling task inside the block, apart from what it is part of."""
        limit = self._limit_seconds if limit_seconds is None else limit_seconds
        watched = _Watched(name, limit, self._clock)
        token = _watched.set(watched)
        self._tasks.add(watched)
        try:
            yield
        finally:
            self._tasks.discard(watched)
            _watched.reset(token)

    async def run(self, name: str, call: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Make a call, watched: for the start of a task."""
        with self.watch(name):
            await call(*args)

    def stuck(self) -> list[Stuck]:
        """Who is at work for longer than allowed."""
        now = self._clock.monotonic()
        return [
            Stuck(task.name, now - task.since, tuple(_where(task.task)))
            for task in self._tasks
            if not task.resting and now - task.since > task.limit_seconds
        ]

    def excuse(self) -> None:
        """Count everybody's work from now on: they could not get on until now."""
        now = self._clock.monotonic()
        for task in self._tasks:
            task.since = now


def _where(task: asyncio.Task[Any] | None) -> Iterator[str]:
    """The lines at which a task waits, as far as they can be seen from outside."""
    waiting: Any = task.get_coro() if task is not None else None
    while (frame := getattr(waiting, "cr_frame", None)) is not None:
        code = frame.f_code
        yield f"{code.co_filename}:{frame.f_lineno} {code.co_name}"
        waiting = waiting.cr_await
