"""Reading captured documents again, off the loop, large ones one at a time."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from npmmirror.archive import CaptureReader
from npmmirror.capture import Location
from npmmirror.effects import Known
from npmmirror.index import IndexReader
from npmmirror.index.signing import Unjudged
from npmmirror.packument import Packument
from npmmirror.worker_threads import WorkerThreads

T = TypeVar("T")


class Turns(Protocol):
    """Lets large documents into memory one at a time (`PackumentFetcher.turn`)."""

    def __call__(self, length: int, /) -> Awaitable[Callable[[], None] | None]:
        """Wait until a document of this length may be in memory; what to call afterwards."""
        ...


class CapturedDocuments:
    """The newest document of each package, as far as one is captured."""

    def __init__(
        self, index: IndexReader, captures: CaptureReader, threads: WorkerThreads, turn: Turns
    ) -> None:
        self._index = index
        self._captures = captures
        self._threads = threads
        self._turn = turn

    async def read(self, package: str, call: Callable[[Packument], T]) -> T | None:
        """What a call makes of a package's document, in a thread; None where none is captured.

        Raises:
            CaptureDamagedError: the capture log cannot be read there.
        """
        known: Known | None = await self._index.known(package)
        if known is None or known.place is None:
            return None
        record = await self._threads.run(self._captures.record, known.place)
        release = await self._turn(record.length or 0)
        try:
            return await self._threads.run(self._parse, package, known.place, call)
        finally:
            if release is not None:
                release()

    async def read_at(self, row: Unjudged, call: Callable[[Packument], T]) -> T:
        """What a call makes of an earlier document, in a thread.

        Raises:
            CaptureDamagedError, ErasedError: the capture log cannot be read there.
        """
        release = await self._turn(row.length)
        try:
            return await self._threads.run(self._parse, row.name, row.place, call)
        finally:
            if release is not None:
                release()

    def _parse(self, package: str, place: Location, call: Callable[[Packument], T]) -> T:
        return call(Packument.parse(self._captures.document(place), name=package))
