"""What a verification works with, and how it works side by side."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import anyio

from npmmirror.archive import CaptureReader, TarballStore
from npmmirror.clock import Clock
from npmmirror.config import Config
from npmmirror.daemon.opening import Opened
from npmmirror.daemon.verification.tally import Phase, Tell
from npmmirror.errors import NpmmirrorError
from npmmirror.index import IndexReader, IndexWriter
from npmmirror.worker_threads import WorkerThreads

T = TypeVar("T")
R = TypeVar("R")

LANES = 2
"""Files that are read at the same time."""
TELL_SECONDS = 0.2
CLOSE_SECONDS = 5.0
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Bench:
    """The parts; `threads` are the verification's own, so that nothing else waits for them.

    `settle` returns when every tarball that has its final name by now is in the index.
    """

    reader: IndexReader
    index: IndexWriter
    captures: CaptureReader
    store: TarballStore
    threads: WorkerThreads
    clock: Clock
    hash_length: int
    large_bytes: int
    settle: Callable[[], Awaitable[None]]


@asynccontextmanager
async def bench_of(
    config: Config, opened: Opened, clock: Clock, settle: Callable[[], Awaitable[None]]
) -> AsyncIterator[Bench]:
    """A bench for an open mirror."""
    storage = config.storage
    threads = WorkerThreads(LANES, "npmmirror-verify")
    try:
        async with await IndexReader.open(storage.index_path, connections=1) as reader:
            yield Bench(
                reader,
                opened.index,
                opened.captures,
                TarballStore(
                    staging=storage.staging_path, packages=storage.packages_path, threads=threads
                ),
                threads,
                clock,
                storage.subdirectory_hash_length,
                config.fetch.large_packument_bytes,
                settle,
            )
    finally:
        # What is being read is read to its end first; a NAS that hangs is not waited for.
        threads.dismiss()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            while threads.alive:  # noqa: ASYNC110 - a thread's end wakes nobody
                await anyio.sleep(POLL_SECONDS)


class Ticker:
    """Tells of the progress, not more often than somebody can read."""

    def __init__(self, tell: Tell, clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._told = -TELL_SECONDS
        self._phase = ""

    def tick(
        self,
        phase: Phase | str,
        done: int,
        total: int | None,
        done_bytes: int = 0,
        total_bytes: int | None = None,
    ) -> None:
        """So many of so many items, so many of so many bytes."""
        now = self._clock.monotonic()
        if phase == self._phase and now - self._told < TELL_SECONDS:
            return
        self._phase, self._told = phase, now
        self._tell(
            {
                "phase": phase,
                "done": done,
                "total": total,
                "bytes": done_bytes,
                "total_bytes": total_bytes,
            }
        )


async def side_by_side(items: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """The results of the work on each item, in their order, two at a time.

    Raises:
        NpmmirrorError: the first that the work raised; no further item was begun.
    """
    results: dict[int, R] = {}
    errors: list[NpmmirrorError] = []
    waiting = iter(enumerate(items))

    async def lane() -> None:
        for place, item in waiting:
            try:
                results[place] = await work(item)
            except NpmmirrorError as error:
                errors.append(error)
            if errors:
                return

    async with anyio.create_task_group() as tasks:
        for _ in range(min(LANES, len(items))):
            tasks.start_soon(lane)
    if errors:
        raise errors[0]
    return [results[place] for place in range(len(items))]
