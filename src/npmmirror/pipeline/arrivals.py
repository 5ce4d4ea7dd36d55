"""Tarballs on their way into staging, to be read by clients meanwhile.

Nobody is given the end of a file before its digest is known to be right: a client that has all
bytes but the last ones, and then a connection that breaks, cannot take it for a whole.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Set as AbstractSet
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, Self

import anyio

from npmmirror.pulled import BrokenOffError
from npmmirror.worker_threads import WorkerThreads

HELD_BACK: Final = 64 * 1024
"""Bytes that wait for the verdict; the trailer by which gzip tells a whole file is among them.

Most tarballs are smaller: of those nothing is sent on before, so that wrong bytes that come right
when they are asked for once more cost a client nothing.
"""
PIECE: Final = 1 << 18

Key = tuple[str, str]
"""A package and a version."""


class Arrivals:
    """What is being fetched now, and what clients wait for. Used from one event loop.

    `threads` read the files.
    """

    def __init__(self, threads: WorkerThreads) -> None:
        self._threads = threads
        self._under_way: dict[Key, Arrival] = {}
        self._wanted: dict[str, dict[str, Callable[[], None]]] = {}

    @contextmanager
    def wanted(self, package: str, version: str, tell: Callable[[], None]) -> Iterator[None]:
        """A client waits for this inside the block; `tell` is called when something happens."""
        of_package = self._wanted.setdefault(package, {})
        of_package[version] = tell
        if (arrival := self._under_way.get((package, version))) is not None:
            arrival.hurry(tell)
        try:
            yield
        finally:
            del of_package[version]
            if not of_package:
                self._wanted.pop(package, None)
            arrival = self._under_way.get((package, version))
            if arrival is not None and arrival.ended:
                del self._under_way[package, version]

    def urgent(self, package: str) -> AbstractSet[str]:
        """The versions of a package that clients wait for."""
        return self._wanted.get(package, {}).keys()

    def arriving(
        self, package: str, version: str, place: Callable[[], Path], length: int | None
    ) -> "Arrival":
        """A context in which a file is received; it is `verified` before its end, or broken off.

        What clients wait for can be read until it is in the index.
        """
        tell = self._wanted[package].get(version) if package in self._wanted else None
        arrival = Arrival(place, length, self._threads, tell, partial(self._end, package, version))
        self._under_way[package, version] = arrival
        return arrival

    def _end(self, package: str, version: str, *, verified: bool) -> None:
        if not (verified and version in self.urgent(package)):
            del self._under_way[package, version]

    def under_way(self, package: str, version: str) -> "Arrival | None":
        """The file, where it is being received just now, or is not yet in the index."""
        return self._under_way.get((package, version))


class Arrival:
    """A file that is being received. `eager` says that a client waits for it."""

    __slots__ = (
        *("_ended", "_news", "_place", "_tell", "_threads"),
        *("eager", "ended", "length", "size", "verified"),
    )

    def __init__(
        self,
        place: Callable[[], Path],
        length: int | None,
        threads: WorkerThreads,
        tell: Callable[[], None] | None,
        ended: Callable[..., None],
    ) -> None:
        self._place = place
        self.length = length
        self.eager = tell is not None
        self.verified = False
        self.ended = False
        self.size = 0
        self._threads = threads
        self._tell = tell
        self._ended = ended
        self._news: anyio.Event | None = None

    def __enter__(self) -> Self:
        """The file itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """No more comes; unless it is verified, it is broken off."""
        self.ended = True
        self._ended(verified=self.verified)
        if self._tell is not None:
            self._tell()
        self._say()

    def grew(self, size: int) -> None:
        """So many bytes of it are in the file."""
        is_first = self._tell is not None and not self.readable
        self.size = size
        if is_first and self._tell is not None and self.readable:
            self._tell()
        if self._news is not None:
            self._say()

    def hurry(self, tell: Callable[[], None]) -> None:
        """A client waits for it from now on."""
        self.eager, self._tell = True, tell

    async def open(self) -> "Reader | None":
        """Read along from the beginning; None where there is nothing yet, or it is past."""
        if not (self.readable or self.verified):
            return None
        self.eager = True
        try:
            file = await self._threads.run(os.open, self._place(), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None  # moved to its place, or given up, while the thread began
        return Reader(self, file, self._threads)

    @property
    def readable(self) -> int:
        """How many bytes may be given away by now."""
        return self.size if self.verified else max(self.size - HELD_BACK, 0)

    async def news(self) -> None:
        """Wait for more of it, or its end."""
        if self._news is None:
            self._news = anyio.Event()
        await self._news.wait()

    def _say(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None


class Reader:
    """Reads a file while it is received, whatever becomes of its name. See `pulled.Arriving`."""

    def __init__(self, arrival: Arrival, file: int, threads: WorkerThreads) -> None:
        self._arrival = arrival
        self._file = file
        self._threads = threads

    @property
    def length(self) -> int | None:
        """How many bytes upstream announced; None: not told."""
        return self._arrival.length

    async def pieces(self) -> AsyncIterator[bytes]:
        """Its bytes from the beginning; the last ones once the whole is verified."""
        arrival, offset = self._arrival, 0
        while True:
            left = arrival.readable - offset
            if left > 0:
                piece = await self._threads.run(os.pread, self._file, min(left, PIECE), offset)
                if not piece:
                    raise BrokenOffError(f"the file ends at {offset} of {arrival.size} bytes")
                offset += len(piece)
                yield piece
            elif arrival.verified:
                return
            elif arrival.ended:
                raise BrokenOffError(f"broken off behind {arrival.size} bytes")
            else:
                await arrival.news()

    async def close(self) -> None:
        """Let go of the file. Nobody may be reading."""
        await self._threads.run(os.close, self._file)
