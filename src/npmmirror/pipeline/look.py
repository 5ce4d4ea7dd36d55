"""Looking at a package: its packument fetched, judged, and compared with what is known."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from npmmirror.archive import DiskFaultError
from npmmirror.clock import Clock
from npmmirror.effects import Effects, Known
from npmmirror.failpoints import reach
from npmmirror.outcome import Failed, Gone, Mirrored, Outcome
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.pipeline.blame import DOCUMENT, blame, failed_before
from npmmirror.pipeline.gate import Gate
from npmmirror.pipeline.job import PACKUMENT, CapturedDocument, CapturedGone, Job
from npmmirror.pipeline.packuments import (
    Body,
    Examined,
    Examiner,
    PackumentFetcher,
)
from npmmirror.pipeline.pause import Pause
from npmmirror.pipeline.removal import RemovalRule, removed_event
from npmmirror.upstream import Missing, UpstreamError
from npmmirror.worker_threads import WorkerThreads

STALE = "stale"
STILL_THERE = "deleted_but_answered"
STILL_THERE_TRIES = 4
"""A package that the feed calls deleted and that answers so often is taken at its own word."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a package gave. `packument` is there where versions can be chosen from.

    A fault ends it, the host's too: another package is tried next. Packages that are broken for
    good must not occupy all workers as each other's proof.
    """

    outcome: Outcome
    known: Known | None
    packument: Packument | None = None
    effects: Effects | None = None
    document: CapturedDocument | None = None
    gone: CapturedGone | None = None
    release: Callable[[], None] | None = None


class Looker:
    """Does the packument part of a job."""

    def __init__(
        self,
        fetcher: PackumentFetcher,
        examiner: Examiner,
        threads: WorkerThreads,
        gate: Gate,
        *,
        host: Pause,
        disk: Pause,
        clock: Clock,
        rule: RemovalRule,
        following_since: Callable[[], str | None],
    ) -> None:
        self._fetcher = fetcher
        self._examiner = examiner
        self._threads = threads
        self._gate = gate
        self._host = host
        self._disk = disk
        self._clock = clock
        self._rule = rule
        self._following_since = following_since

    async def look(self, job: Job, known: Known | None, token: str) -> Look:
        """Fetch and judge; every expected failure becomes a value."""
        if _is_captured(job, known):
            return Look(Mirrored(changed=False), known)
        etag, bust = _condition(job, known)
        try:
            answer = await self._fetcher.get(job.package, token, etag=etag, bust=bust)
        except UpstreamError as fault:
            row = job.work.get(PACKUMENT)
            blamed = blame(self._host, DOCUMENT, job.package, fault, row)
            return Look(Failed(fault.reason, None, fault.detail, counts=not blamed), known)
        except DiskFaultError as fault:
            self._disk.fault("disk", str(fault))
            return Look(Failed("disk", None, str(fault), counts=False), known)
        reach("fetch.document_answered")
        if isinstance(answer, Body):
            return await self._found(job, known, answer)
        self._host.success(DOCUMENT)
        if isinstance(answer, Missing):
            return self._missing(job, known, answer)
        return await self._not_modified(job, known)

    def _missing(self, job: Job, known: Known | None, answer: Missing) -> Look:
        row = job.work.get(PACKUMENT)
        now = self._clock.now()
        outcome = self._rule.judge(known, job.change, row, now)
        if not isinstance(outcome, Gone) or known is None:
            return Look(outcome, known)
        evidence: dict[str, str | int] = {"status": answer.status}
        if job.change is not None and job.change.deleted:
            evidence["feed"] = "deleted"
        gone = CapturedGone(outcome.reason, evidence, removed_event(known))
        return Look(outcome, known, gone=gone)

    async def _not_modified(self, job: Job, known: Known | None) -> Look:
        """Nothing new; what a person asked for is chosen from the document that is held."""
        unchanged = Mirrored(changed=False)
        if known is None or job.want is None:
            return Look(unchanged, known)
        release = await self._fetcher.turn(self._examiner.captured_length(known))
        try:
            packument, effects = await self._threads.run(
                self._examiner.again, job.package, known, self._following_since()
            )
        except BaseException:
            if release is not None:
                release()
            raise
        return Look(unchanged, known, packument, effects, release=release)

    async def _found(self, job: Job, known: Known | None, body: Body) -> Look:
        examine = partial(
            self._examiner.examine,
            body.document,
            name=job.package,
            known=known,
            announced_rev=_announced(job),
            following_since=self._following_since(),
            etag=body.etag,
        )
        try:
            if body.is_small:
                examined = examine()
            else:
                examined = await self._threads.run(examine)
        except NotAPackumentError as error:
            _let_go(body)
            again = failed_before(job.work.get(PACKUMENT))
            everywhere = self._host.suspect(
                DOCUMENT, job.package, error.reason, str(error), again=again
            )
            return Look(Failed(error.reason, None, str(error), counts=not everywhere), known)
        except DiskFaultError as fault:
            _let_go(body)
            self._disk.fault("disk", str(fault))
            return Look(Failed("disk", None, str(fault), counts=False), known)
        except BaseException:
            _let_go(body)
            raise
        self._host.success(DOCUMENT)
        self._gate.absorb(job, examined.packument.rev)
        return self._judge(job, known, examined, body)

    def _judge(self, job: Job, known: Known | None, examined: Examined, body: Body) -> Look:
        document = None
        if examined.payload is not None:
            document = CapturedDocument(
                examined.payload, examined.packument.rev, examined.etag, examined.effects
            )
        if examined.stale:
            detail = f"found {examined.packument.rev}, announced {_announced(job)}"
            return Look(Failed(STALE, None, detail), known, document=document, release=body.release)
        row = job.work.get(PACKUMENT)
        tries = row.attempts if row is not None and row.reason == STILL_THERE else 0
        look = Look(
            Mirrored(changed=document is not None),
            known,
            examined.packument,
            examined.effects,
            document,
            release=body.release,
        )
        if _still_there(job, examined.packument) and tries < STILL_THERE_TRIES:
            return replace(look, outcome=Failed(STILL_THERE, None))
        return look


def _let_go(body: Body) -> None:
    if body.release is not None:
        body.release()


def _announced(job: Job) -> str | None:
    """The revision that the document must have at least; a tombstone's own rev has no document."""
    return None if job.change is None or job.change.deleted else job.change.rev


def _still_there(job: Job, packument: Packument) -> bool:
    """Whether the feed says deleted and the registry shows a living package."""
    deleted = job.change is not None and job.change.deleted
    return deleted and packument.unpublished is None and bool(packument.versions)


def _is_captured(job: Job, known: Known | None) -> bool:
    """Whether the very revision that was announced is captured, and nothing more is asked."""
    rev = _announced(job)
    if known is None or rev is None or job.force or job.want is not None:
        return False
    return known.state not in {"", "removed"} and known.rev == rev


def _condition(job: Job, known: Known | None) -> tuple[str | None, bool]:
    """The ETag to ask with, and whether to go around caches.

    A change was announced: then a 304 would prove nothing (a proxy was seen stuck on one), so
    the document is asked for whole. After a stale answer caches are gone around.
    """
    row = job.work.get(PACKUMENT)
    bust = row is not None and row.reason == STALE
    if job.change is not None or job.force or known is None or known.state == "removed":
        return None, bust
    return known.etag, bust
