"""Looking at a package: its packument fetched, judged, and compared with what is known."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from npmmirror.archive import DiskFaultError
from npmmirror.change import names_document
from npmmirror.clock import Clock, timestamp
from npmmirror.effects import Effects, Known
from npmmirror.failpoints import reach
from npmmirror.manifest import Dist
from npmmirror.outcome import Failed, Gone, Mirrored, Outcome, Skipped, WorkItem
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.pipeline.blame import DOCUMENT, blame, failed_before
from npmmirror.pipeline.breaker import RemovalBreaker
from npmmirror.pipeline.examiner import Examiner, Finding, Question
from npmmirror.pipeline.examiner_process import (
    DIED,
    MOST_BYTES,
    ExaminerDiedError,
    ExaminerProcess,
)
from npmmirror.pipeline.examining import Choice
from npmmirror.pipeline.gate import Gate
from npmmirror.pipeline.job import PACKUMENT, CapturedDocument, CapturedGone, Decided, Job
from npmmirror.pipeline.packuments import Body, PackumentFetcher
from npmmirror.pipeline.pause import Pause
from npmmirror.pipeline.registry_revs import RevsOfRegistry
from npmmirror.pipeline.removal import (
    ANSWERS,
    DECISIONS,
    DISCARDED,
    HELD,
    Evidence,
    RemovalRule,
    evidence_of,
    is_contradicted,
    removed_event,
)
from npmmirror.pipeline.second_looks import LOOKS, Asked, SecondLooks
from npmmirror.policy import OUTSIZED, Settings, outsized
from npmmirror.signatures import Keys
from npmmirror.upstream import Missing, Outsized, UpstreamError
from npmmirror.worker_threads import WorkerThreads

_BUSTING = LOOKS | ANSWERS | {DISCARDED}
"""Reasons of rows after which caches are gone around."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a package gave.

    Versions are chosen from `packument`, or were already (`choice`), where the document was
    examined in another process.

    A fault ends it, the host's too: another package is tried next. Packages that are broken for
    good must not occupy all workers as each other's proof.
    """

    outcome: Outcome
    known: Known | None
    packument: Packument | None = None
    choice: Choice | None = None
    effects: Effects | None = None
    document: CapturedDocument | None = None
    gone: CapturedGone | None = None
    held: Evidence | None = None
    unheld: bool = False
    decided: Decided | None = None
    again: WorkItem | None = None
    """The row of the work list that is put in any case."""
    release: Callable[[], None] | None = None

    def dist(self, version: str) -> Dist | None:
        """What the document says of a version's tarball; None where it has no such version."""
        if self.choice is not None:
            return self.choice.dists.get(version)
        if self.packument is not None and version in self.packument.versions:
            return self.packument.manifest(version).dist
        return None

    def manifest(self, version: str) -> bytes | None:
        """All that the document says of a version, in JSON; None where it has no such version."""
        if self.choice is not None:
            return self.choice.manifests.get(version)
        if self.packument is not None and version in self.packument.versions:
            return bytes(self.packument.versions[version])
        return None


class Looker:
    """Does the packument part of a job."""

    def __init__(
        self,
        fetcher: PackumentFetcher,
        examiner: Examiner,
        threads: WorkerThreads,
        gate: Gate,
        *,
        beside: ExaminerProcess | None,
        host: Pause,
        disk: Pause,
        clock: Clock,
        rule: RemovalRule,
        breaker: RemovalBreaker,
        revs: RevsOfRegistry,
        following_since: Callable[[], str | None],
        keys: Callable[[], Keys],
    ) -> None:
        self._fetcher = fetcher
        self._examiner = examiner
        self._beside = beside
        self._threads = threads
        self._gate = gate
        self._host = host
        self._disk = disk
        self._clock = clock
        self._rule = rule
        self._breaker = breaker
        self._revs = revs
        self._second_looks = SecondLooks(rule.answers, rule.hours)
        self._following_since = following_since
        self._keys = keys

    async def look(self, job: Job, known: Known | None, token: str, settings: Settings) -> Look:
        """Fetch and judge; every expected failure becomes a value."""
        if _is_captured(job, known):
            return Look(Mirrored(changed=False), known, unheld=await self._is_let_go(job))
        etag, bust = _condition(job, known)
        most = (settings.max_packument_bytes or None) if not job.force else None
        try:
            answer = await self._fetcher.get(job.package, token, etag=etag, bust=bust, most=most)
        except UpstreamError as fault:
            row = job.work.get(PACKUMENT)
            blamed = blame(self._host, DOCUMENT, job.package, fault, row)
            return Look(Failed(fault.reason, None, fault.detail, counts=not blamed), known)
        except DiskFaultError as fault:
            self._disk.fault("disk", str(fault))
            return Look(Failed("disk", None, str(fault), counts=False), known)
        reach("fetch.document_answered")
        if isinstance(answer, Body):
            return await self._found(job, known, answer, settings)
        self._host.success(DOCUMENT)
        match answer:
            case Missing():
                look = await self._missing(job, known, answer)
            case Outsized():
                look = self._outsized(job, known, settings)
            case _:
                look = await self._not_modified(job, known)
        return look

    def _outsized(self, job: Job, known: Known | None, settings: Settings) -> Look:
        """What is captured of it stays as it is; its document was not read, nor kept."""
        doubt = self._second_looks.of_life(self._asked(job))
        drop = outsized(settings, None)
        skipped = Skipped(OUTSIZED, drop.detail if drop is not None else "")
        return Look(doubt or skipped, known, unheld=self._breaker.tripped)

    async def _missing(self, job: Job, known: Known | None, answer: Missing) -> Look:
        row, now = job.work.get(PACKUMENT), self._clock.now()
        outcome = self._rule.judge(known, job.change, row, now)
        if (decided := await self._decided(job, known)) is not None:
            return decided
        if not isinstance(outcome, Gone) or known is None:
            return Look(outcome, known, unheld=await self._is_let_go(job))
        evidence = evidence_of(answer.status, job.change, row, now)
        if not await self._breaker.admits(job.package):
            held = Failed(HELD, self._rule.later(now), "`npmmirror removals`")
            return Look(held, known, held=evidence)
        gone = CapturedGone(outcome.reason, evidence, removed_event(known, evidence))
        return Look(outcome, known, gone=gone)

    async def _is_let_go(self, job: Job) -> bool:
        """Whether a removal of the package is held, and a change since says that it is there."""
        change, row = job.change, job.work.get(PACKUMENT)
        if not self._breaker.tripped or change is None or change.deleted:
            return False
        if row is not None:
            return is_contradicted(row, change)
        # A change of the feed's comes without the row, which it takes the place of.
        held = await self._breaker.held_of(job.package)
        return held is not None and held.seq != change.seq

    async def decide(self, job: Job, known: Known | None) -> Look:
        """Do what the operator decided about a removal that is held; nothing where none is."""
        return await self._decided(job, known) or Look(Mirrored(changed=False), known)

    async def _decided(self, job: Job, known: Known | None) -> Look | None:
        held = await self._breaker.held_of(job.package) if job.verdict is not None else None
        if held is None or job.verdict is None:
            return None
        if known is None or known.state == "removed":
            return Look(Mirrored(changed=False), known, unheld=True)
        decided = Decided(DECISIONS[job.verdict], {"held_at": held.at, "evidence": held.evidence})
        if job.verdict == "confirm":
            evidence = held.evidence | {"confirmed_by": "operator"}
            gone = CapturedGone("removed", evidence, removed_event(known, evidence))
            return Look(Gone("removed"), known, gone=gone, unheld=True, decided=decided)
        again = self._much_later(job)
        return Look(Mirrored(changed=False), known, unheld=True, decided=decided, again=again)

    def _much_later(self, job: Job) -> WorkItem:
        """The row of a package whose removal was discarded."""
        now, change = self._clock.now(), job.change
        return WorkItem(
            job.package,
            PACKUMENT,
            DISCARDED,
            timestamp(self._rule.later(now)),
            rev=change.rev if change is not None else None,
            seq=change.seq if change is not None else None,
            since=timestamp(now),
            deleted=change.deleted if change is not None else False,
        )

    async def _not_modified(self, job: Job, known: Known | None) -> Look:
        """Nothing new; what a person asked for is chosen from the document that is held."""
        unchanged, unheld = Mirrored(changed=False), self._breaker.tripped
        if known is None or job.want is None:
            return Look(unchanged, known, unheld=unheld)
        release = await self._fetcher.turn(self._examiner.captured_length(known))
        try:
            packument, effects = await self._threads.run(
                self._examiner.again, job.package, known, self._following_since()
            )
        except BaseException:
            if release is not None:
                release()
            raise
        return Look(unchanged, known, packument, effects=effects, unheld=unheld, release=release)

    async def _found(self, job: Job, known: Known | None, body: Body, settings: Settings) -> Look:
        try:
            finding, choice, packument = await self._examined(job, known, body, settings)
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
        except ExaminerDiedError:
            _let_go(body)
            return Look(Failed(DIED, None), known)
        except BaseException:
            _let_go(body)
            raise
        self._host.success(DOCUMENT)
        if finding.is_living:  # what npm leaves of an unpublished package has no `_rev` anywhere
            await self._revs.note(job.package, finding.rev)
        self._gate.absorb(job, finding.rev)
        document = None
        if finding.payload is not None:
            document = CapturedDocument(finding.payload, finding.rev, body.etag, finding.effects)
        outcome = self._judge(job, finding, known, changed=document is not None)
        # Whatever its document says, the package is there.
        unheld = self._breaker.tripped
        if finding.stale:
            return Look(outcome, known, document=document, unheld=unheld, release=body.release)
        return Look(
            outcome,
            known,
            packument,
            choice,
            finding.effects,
            document,
            unheld=unheld,
            release=body.release,
        )

    async def _examined(
        self, job: Job, known: Known | None, body: Body, settings: Settings
    ) -> tuple[Finding, Choice | None, Packument | None]:
        """What the document is, and either what to fetch or the document to choose from."""
        believed = self._second_looks.believes(self._asked(job), self._clock.now())
        since = self._following_since()
        by_revision = not self._revs.absent
        keys = self._keys()
        question = Question(job.package, known, _announced(job), since, believed, by_revision, keys)
        if self._beside is not None and (document := _for_a_process(job, body)) is not None:
            rows = job.tarball_rows
            there = await self._beside.examine(document, question, settings, rows)
            if there is not None:
                return *there, None
        if body.is_small and not keys.keys:
            here = self._examiner.examine(body.document, question)
        else:
            here = await self._threads.run(self._examiner.examine, body.document, question)
        return here[0], None, here[1]

    def _asked(self, job: Job) -> Asked:
        row = job.work.get(PACKUMENT)
        return Asked(job.change, _announced(job), row, self._revs.given)

    def _judge(self, job: Job, finding: Finding, known: Known | None, *, changed: bool) -> Outcome:
        if self._revs.absent and finding.rev is not None:
            finding = msgspec.structs.replace(finding, rev=None)  # an odd one proves nothing
        doubt = self._second_looks.judge(self._asked(job), finding, known, self._clock.now())
        return doubt or Mirrored(changed=changed)


def _for_a_process(job: Job, body: Body) -> bytes | None:
    """The document, where it is small enough and nobody asks for versions of it himself."""
    document = body.document
    if not isinstance(document, bytes) or len(document) > MOST_BYTES or job.want is not None:
        return None
    return document if job.change is not None or PACKUMENT in job.work else None


def _let_go(body: Body) -> None:
    if body.release is not None:
        body.release()


def _announced(job: Job) -> str | None:
    """The revision that the document must have at least."""
    return job.announced_rev


def _is_captured(job: Job, known: Known | None) -> bool:
    """Whether the very revision that was announced is captured, and nothing more is asked."""
    rev = _announced(job)
    if known is None or rev is None or job.force or job.want is not None:
        return False
    if known.state in {"", "removed"}:
        return False
    return known.rev == rev or (known.rev is None and names_document(rev, known.sha256))


def _condition(job: Job, known: Known | None) -> tuple[str | None, bool]:
    """The ETag to ask with, and whether to go around caches.

    A change was announced: then a 304 would prove nothing (a proxy was seen stuck on one), so
    the document is asked for whole. After an answer that was not believed caches are gone around.
    """
    row = job.work.get(PACKUMENT)
    bust = row is not None and row.reason in _BUSTING
    announced = job.change is not None or job.announced_rev is not None
    if announced or job.force or known is None or known.state == "removed":
        return None, bust
    return known.etag, bust
