"""Fetching a packument and finding out what it changes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import structlog

from npmmirror.archive import (
    CaptureDamagedError,
    CaptureReader,
    ErasedError,
    PayloadEncoder,
    TarballStore,
    disk_faults,
)
from npmmirror.archive.deltas import Documents
from npmmirror.capture import Location, Payload
from npmmirror.diff import changed_versions, diff, is_stale
from npmmirror.effects import Effects, Known
from npmmirror.liveness import at_rest
from npmmirror.packument import Packument
from npmmirror.pipeline.large import LargeDocument
from npmmirror.upstream import Found, Missing, NotModified, Upstream
from npmmirror.worker_threads import WorkerThreads

log = structlog.get_logger(__name__)

INLINE_BYTES = 64 * 1024
"""Documents up to this size are examined on the loop: handing them to a thread costs as much."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What a document turned out to be.

    `payload` is None where its bytes are those of the capture before it; `effects` is None where
    it is stale.
    """

    packument: Packument
    payload: Payload | None
    effects: Effects | None
    stale: bool
    etag: str | None


class Examiner:
    """Parses, compares and encodes a document: all that costs CPU, without any await."""

    def __init__(self, archive: CaptureReader, encoder: PayloadEncoder) -> None:
        self._archive = archive
        self._others: Documents = archive
        self._encoder = encoder

    def examine(
        self,
        document: bytes | LargeDocument,
        *,
        name: str,
        known: Known | None,
        announced_rev: str | None,
        following_since: str | None,
        etag: str | None = None,
    ) -> Examined:
        """Compare a document with what is known of its package.

        Raises:
            NotAPackumentError: the bytes are no packument of this package.
            DiskFaultError: they, or those of a document before, cannot be read back.
        """
        raw: bytes | memoryview
        if isinstance(document, LargeDocument):
            raw, others = document.content, _alternately(self._others, document)
        else:
            raw, others = document, self._others
        packument = Packument.parse(raw, name=name)
        chain = known.chain if known else None
        if is_stale(packument, known, announced_rev):
            payload = self._encoder.encode(raw, chain, others, aside=True)
            is_old = known is not None and payload.sha256 in {known.sha256, known.stale_sha256}
            return Examined(packument, None if is_old else payload, None, True, etag)
        effects = self._compare(packument, known, following_since, others)
        payload = self._encoder.encode(raw, chain, others)
        if known is not None and payload.sha256 == known.sha256 and not effects.events:
            return Examined(packument, None, effects, False, etag)
        return Examined(packument, payload, effects, False, etag)

    def compare(
        self, packument: Packument, known: Known | None, following_since: str | None
    ) -> Effects:
        """The difference to what is known; loads the document before where bodies changed."""
        return self._compare(packument, known, following_since, self._others)

    def _compare(
        self,
        packument: Packument,
        known: Known | None,
        following_since: str | None,
        others: Documents,
    ) -> Effects:
        previous = None
        if known is not None and changed_versions(packument, known):
            previous = _captured(packument.name, known, others)
        return diff(packument, known, previous, following_since=following_since)

    def again(
        self, name: str, known: Known, following_since: str | None
    ) -> tuple[Packument | None, Effects | None]:
        """The newest document that is captured and not stale, compared with what is known.

        None where none can be read.
        """
        packument = _captured(name, known, self._others)
        if packument is None:
            return None, None
        return packument, self.compare(packument, known, following_since)

    def captured_length(self, known: Known) -> int:
        """How many bytes that document has; 0 where none can be read."""
        if known.place is None:
            return 0
        try:
            return self._archive.record(known.place).length or 0
        except CaptureDamagedError:
            return 0


@dataclass(frozen=True, slots=True)
class _Alternating:
    """Other documents, read while the large one at hand makes room for them."""

    others: Documents
    large: LargeDocument

    def document(self, place: Location) -> bytes:
        """See `Documents.document`."""
        with self.large.absent():
            return self.others.document(place)


def _alternately(others: Documents, large: LargeDocument) -> Documents:
    return _Alternating(others, large)


def _captured(name: str, known: Known, others: Documents) -> Packument | None:
    if known.place is None:
        return None
    try:
        return Packument.parse(others.document(known.place), name=name)
    except ErasedError:
        return None
    except CaptureDamagedError as error:
        # One damaged record must not keep its package from being mirrored.
        log.warning("capture_damaged", package=name, error=str(error))
        return None


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
        self, name: str, token: str, *, etag: str | None, bust: bool
    ) -> Body | NotModified | Missing:
        """The document of a package.

        A large one waits on disk for its turn, which lasts until `Body.release` is called.

        Raises:
            UpstreamError: it could not be had.
        """
        spool = self._store.temp_path(token, ".json")
        with disk_faults(spool):
            answer = await self._upstream.packument(
                name, etag=etag, bust=bust, spool=spool, spool_over=self._large_bytes
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
