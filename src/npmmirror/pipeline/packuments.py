"""Fetching a packument and finding out what it changes."""

from collections.abc import Callable
from dataclasses import dataclass
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
from npmmirror.capture import Chain, Payload
from npmmirror.diff import changed_versions, diff, is_stale
from npmmirror.effects import Effects, Known
from npmmirror.packument import Packument
from npmmirror.upstream import Found, Missing, NotModified, Upstream
from npmmirror.worker_threads import WorkerThreads

log = structlog.get_logger(__name__)

INLINE_BYTES = 64 * 1024
"""Documents up to this size are examined on the loop: handing them to a thread costs as much."""
SPOOL_BYTES = 2 * 1024 * 1024


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
        self._encoder = encoder

    def examine(
        self,
        raw: bytes,
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
        """
        packument = Packument.parse(raw, name=name)
        if is_stale(packument, known, announced_rev):
            return Examined(packument, self._aside(raw, known), None, True, etag)
        effects = self.compare(packument, known, following_since)
        payload = self._encoder.encode(raw, known.chain if known else None, self._archive)
        if known is not None and payload.sha256 == known.sha256 and not effects.events:
            return Examined(packument, None, effects, False, etag)
        return Examined(packument, payload, effects, False, etag)

    def compare(
        self, packument: Packument, known: Known | None, following_since: str | None
    ) -> Effects:
        """The difference to what is known; loads the document before where bodies changed."""
        previous = None
        if known is not None and changed_versions(packument, known):
            previous = self.captured(packument.name, known)
        return diff(packument, known, previous, following_since=following_since)

    def captured(self, name: str, known: Known) -> Packument | None:
        """The newest document that is captured and not stale; None where none can be read."""
        if known.place is None:
            return None
        try:
            return Packument.parse(self._archive.document(known.place), name=name)
        except ErasedError:
            return None
        except CaptureDamagedError as error:
            # One damaged record must not keep its package from being mirrored.
            log.warning("capture_damaged", package=name, error=str(error))
            return None

    def _aside(self, raw: bytes, known: Known | None) -> Payload | None:
        chain: Chain | None = known.chain if known else None
        payload = self._encoder.encode(raw, chain, self._archive, aside=True)
        if known is not None and payload.sha256 in {known.sha256, known.stale_sha256}:
            return None
        return payload


@dataclass(slots=True)
class Body:
    """A document's bytes in memory; `release` lets the next large one pass."""

    raw: bytes
    etag: str | None
    release: Callable[[], None] | None = None


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
            DiskFaultError: it could not be put aside, or not be read again.
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

    async def _take_turn(self, path: Path, etag: str | None) -> Body:
        try:
            await self._large.acquire()
            try:
                with disk_faults(path):
                    raw = await self._threads.run(path.read_bytes)
            except BaseException:
                self._large.release()
                raise
        finally:
            await self._threads.run(path.unlink, missing_ok=True)
        return Body(raw, etag, self._large.release)
