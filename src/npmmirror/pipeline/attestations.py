"""Attestation bundles: fetched for versions whose files are held, archived as they came.

No work item of their own: the row of a version on the work list is done when its file is held and its
attestations were asked for. So a row at a held version asks for those alone, whatever put it there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio
import msgspec
import structlog

from npmmirror.archive import PayloadEncoder
from npmmirror.capture import Payload
from npmmirror.effects import Known
from npmmirror.failpoints import reach
from npmmirror.index import IndexReader, signing
from npmmirror.index.signing import Attested
from npmmirror.liveness import at_rest
from npmmirror.outcome import HELD, Failed, HeldTarball, TarballOutcome, WorkItem
from npmmirror.pipeline.job import THROTTLED, Bundle, Job
from npmmirror.pipeline.look import Look
from npmmirror.pipeline.packuments import INLINE_BYTES
from npmmirror.pipeline.pause import Pause
from npmmirror.upstream import HostFault, Upstream, UpstreamError
from npmmirror.worker_threads import WorkerThreads

PREFIX: Final = "attestations_"
"""What the reasons of rows begin with whose attestations could not be had."""
MISSING: Final = f"{PREFIX}missing"
NOT_UNDERSTOOD: Final = f"{PREFIX}not_understood"
ABSENT_ANSWERS: Final = 3
"""After so many answers in a row it is believed that upstream has none, whatever its document says."""
AT_ONCE: Final = 4

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MissedBundle:
    """Attestations that could not be had, and why; None: this job had no time for them."""

    version: str
    failed: Failed | None


class _Answer(msgspec.Struct):
    attestations: list[msgspec.Raw]


class AttestationFetcher:
    """Does the part of a job that concerns attestations."""

    def __init__(
        self,
        upstream: Upstream,
        index: IndexReader,
        threads: WorkerThreads,
        downloads: anyio.Semaphore,
        *,
        host: Pause,
        per_job: int,
    ) -> None:
        self._upstream = upstream
        self._index = index
        self._threads = threads
        self._downloads = downloads
        self._host = host
        self._per_job = per_job

    async def fetch(
        self, job: Job, look: Look, outcomes: Sequence[TarballOutcome]
    ) -> list[Bundle | MissedBundle]:
        """What came of the attestations that are wanted: those of files that are held by now.

        Each is asked for once in all, and again only where that failed.
        """
        wanted = await self._wanted(job, look, outcomes)
        if not wanted:
            return []
        found: list[Bundle | MissedBundle] = [
            MissedBundle(version, None) for version in wanted[self._per_job :]
        ]
        waiting = iter(wanted[: self._per_job])

        async def lane() -> None:
            for version in waiting:
                one = await self._one(job, version)
                found.append(one)

        async with anyio.create_task_group() as tasks:
            for _ in range(min(AT_ONCE, len(wanted))):
                tasks.start_soon(lane)
        return found

    async def _wanted(self, job: Job, look: Look, outcomes: Sequence[TarballOutcome]) -> list[str]:
        """Versions whose attestations are to be asked for."""
        fresh = [one.version for one in outcomes if isinstance(one, HeldTarball)]
        fresh = [version for version in fresh if _may_be_attested(look, version)]
        changed = [] if job.metadata_only else _changed(look)
        candidates = [*dict.fromkeys((*fresh, *job.tarball_rows, *changed))]
        if not candidates:
            return []
        known: dict[str, Attested] = {}
        if look.known is not None:
            ask = partial(signing.attested, name=job.package, versions=candidates)
            known = await self._index.ask(ask)
        return [v for v in candidates if _is_wanted(look, v, known.get(v), v in fresh)]

    async def _one(self, job: Job, version: str) -> Bundle | MissedBundle:
        row = job.work.get(version)
        try:
            with at_rest():
                await self._downloads.acquire()
            try:
                raw = await self._upstream.attestations(job.package, version)
            finally:
                self._downloads.release()
        except UpstreamError as error:
            return MissedBundle(version, self._failed(error))
        if raw is None:
            return _absent(version, row)
        payload = await self._packed(raw)
        if payload is None:
            return MissedBundle(version, Failed(NOT_UNDERSTOOD, None))
        log.debug("attestations_fetched", version=version, bytes=len(raw))
        reach("fetch.attestations_received")
        return Bundle(version, payload)

    def _failed(self, error: UpstreamError) -> Failed:
        """A host that asks for quiet is given it; what else is wrong with this part stops nobody.

        It is not what a mirror is for: a host that fails in it may well serve everything else.
        """
        if isinstance(error, HostFault):
            if error.reason in {"http_429", THROTTLED}:
                self._host.refused(error.reason, error.detail, error.retry_after, again=False)
            return Failed(f"{PREFIX}{error.reason}", None, error.detail, counts=False)
        return Failed(f"{PREFIX}{error.reason}", None, error.detail)

    async def _packed(self, raw: bytes) -> Payload | None:
        if len(raw) <= INLINE_BYTES:
            return _packed(raw)
        return await self._threads.run(_packed, raw)


def _packed(raw: bytes) -> Payload | None:
    """An answer as it is archived; None where it is no answer about attestations."""
    try:
        msgspec.json.decode(raw, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return PayloadEncoder.whole(raw)


def _absent(version: str, row: WorkItem | None) -> Bundle | MissedBundle:
    """One 404 proves nothing; several in a row are upstream's answer."""
    before = row.attempts if row is not None and row.reason == MISSING else 0
    if before + 1 >= ABSENT_ANSWERS:
        return Bundle(version, None)
    return MissedBundle(version, Failed(MISSING, None))


def _may_be_attested(look: Look, version: str) -> bool:
    """Whether the document at hand tells of attestations, or is not at hand."""
    dist = look.dist(version)
    return dist is None or dist.attested


def _changed(look: Look) -> list[str]:
    """Held versions whose manifest is another one by now, and tells of attestations."""
    effects, known = look.effects, look.known
    if effects is None or known is None:
        return []
    return [
        facts.version
        for facts in effects.versions
        if facts.attested and _is_held(known, facts.version)
    ]


def _is_held(known: Known, version: str) -> bool:
    return version in known.versions and known.versions[version].state in HELD


def _is_wanted(look: Look, version: str, known: Attested | None, fresh: bool) -> bool:
    """`fresh`: the job has just fetched its file."""
    if known is not None and known.is_asked:
        return False
    if not (fresh or (known is not None and known.is_held)):
        return False
    dist = look.dist(version)
    if dist is not None:
        return dist.attested
    return known is not None and known.is_attested
