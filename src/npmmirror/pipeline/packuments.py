"""Fetching a packument, and letting large ones into memory one at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from npmmirror.archive import (
    TarballStore,
    disk_faults,
)
from npmmirror.liveness import at_rest
from npmmirror.pipeline.large import LargeDocument
from npmmirror.upstream import Found, Missing, NotModified, Outsized, Upstream
from npmmirror.worker_threads import WorkerThreads

INLINE_BYTES = 64 * 1024
"""Documents up to this size are examined on the loop: handing them to a thread costs as much."""


@dataclass(slots=True)
class Body:
    """A document in memory; `release` lets the next large one pass."""

    document: bytes | LargeDocument
    etag: str | None
    release: Callable[[], None] | None = None

    @property
    def is_small(self) -> bool:
        """Whether it may be examined on the loop."""
        return isinstance(self.document, bytes) and len(self.document) <= INLINE_BYTES


class PackumentFetcher:
    """Gets documents, and lets large ones into memory one at a time."""

    def __init__(
        self, upstream: Upstream, store: TarballStore, threads: WorkerThreads, *, large_bytes: int
    ) -> None:
        self._upstream = upstream
        self._store = store
        self._threads = threads
        self._large_bytes = large_bytes
        self._large = anyio.Semaphore(1, max_value=1)

    async def get(
        self, name: str, token: str, *, etag: str | None, bust: bool, most: int | None = None
    ) -> Body | NotModified | Missing | Outsized:
        """The document of a package; one of more than `most` bytes is not read to its end.

        A large one waits on disk for its turn, which lasts until `Body.release` is called.

        Raises:
            UpstreamError: it could not be had.
        """
        spool = self._store.temp_path(token, ".json")
        with disk_faults(spool):
            answer = await self._upstream.packument(
                name,
                etag=etag,
                bust=bust,
                spool=spool,
                spool_over=self._large_bytes,
                most=most,
            )
        if not isinstance(answer, Found):
            return answer
        if isinstance(answer.raw, bytes):
            return Body(answer.raw, answer.etag)
        return await self._take_turn(answer.raw, answer.etag)

    async def turn(self, length: int) -> Callable[[], None] | None:
        """Wait until a document of this length may be in memory; what is called when it is not.

        None where it is no large one.
        """
        if length <= self._large_bytes:
            return None
        with at_rest():
            await self._large.acquire()
        return self._large.release

    async def _take_turn(self, path: Path, etag: str | None) -> Body:
        try:
            with at_rest():
                await self._large.acquire()
            try:
                document = await self._threads.run(LargeDocument.take, path)
            except BaseException:
                self._large.release()
                raise
        finally:
            await self._threads.run(path.unlink, missing_ok=True)

        # Called when the job is done: who keeps it longer must not keep the document with it.
        return Body(document, etag, partial(self._end_turn, [document]))

    def _end_turn(self, held: list[LargeDocument]) -> None:
        held.pop().close()
        self._large.release()
