"""A fixed number of workers that turn jobs into results."""

import itertools
import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import anyio
import structlog
from structlog.contextvars import bind_contextvars, reset_contextvars

from npmmirror.change import Change, is_later
from npmmirror.clock import Clock, timestamp
from npmmirror.failpoints import reach
from npmmirror.index import IndexReader, IndexUnavailableError
from npmmirror.liveness import Liveness, at_rest
from npmmirror.outcome import (
    HELD,
    Failed,
    Gone,
    Mirrored,
    MissedTarball,
    Outcome,
    Skipped,
    TarballOutcome,
    WorkItem,
)
from npmmirror.pipeline.attestations import AttestationFetcher, MissedBundle
from npmmirror.pipeline.channel import Receiver, Sender
from npmmirror.pipeline.in_work import InWork
from npmmirror.pipeline.intake import Claim
from npmmirror.pipeline.job import PACKUMENT, Bundle, Done, Job, Result
from npmmirror.pipeline.leftovers import (
    Leftovers,
    dead_letters,
    is_for_the_row,
    is_met,
    is_there,
    packument_row,
)
from npmmirror.pipeline.look import Look, Looker
from npmmirror.pipeline.manifests import CapturedManifests
from npmmirror.pipeline.pause import Pause
from npmmirror.pipeline.retiring import Retirer
from npmmirror.pipeline.schedule import Schedule
from npmmirror.pipeline.selecting import Selector
from npmmirror.pipeline.tarballs import TarballFetcher
from npmmirror.policy import POLICY, Drop, Settings, Want, resolve, wanted_tarballs

BUG = "bug"
SUDDEN_DEATHS = "sudden_deaths"

log = structlog.get_logger(__name__)


class Fetcher:
    """Does jobs: the packument, what it changes, and the tarballs that are wanted of it."""

    def __init__(
        self,
        looker: Looker,
        tarballs: TarballFetcher,
        index: IndexReader,
        schedule: Schedule,
        clock: Clock,
        *,
        attestations: AttestationFetcher,
        host: Pause,
        disk: Pause,
        selector: Selector,
        retirer: Retirer,
        manifests: CapturedManifests,
        tarballs_per_job: int,
        patient: bool,
        deaths: InWork,
        liveness: Liveness,
        raise_bugs: bool = False,
    ) -> None:
        self._looker = looker
        self._deaths = deaths
        self._liveness = liveness
        self._tarballs = tarballs
        self._attestations = attestations
        self._index = index
        self._leftovers = Leftovers(schedule)
        self._clock = clock
        self._host = host
        self._disk = disk
        self._selector = selector
        self._retirer = retirer
        self._manifests = manifests
        self._per_job = tarballs_per_job
        self._patient = patient
        self._raise_bugs = raise_bugs
        self._tokens = itertools.count()
        self._pausing: set[anyio.CancelScope] = set()
        self._draining = False
        self.in_work: dict[str, float] = {}

    async def run(
        self,
        jobs: Receiver[Job],
        results: Sender[Result],
        *,
        workers: int,
        express: Receiver[Job],
        express_workers: int = 0,
    ) -> None:
        """Work until `jobs` and `express` are closed and empty; then close `results`."""
        with results, jobs, express:
            async with anyio.create_task_group() as tasks:
                for number in range(1, workers + 1):
                    work = partial(self._work, jobs.clone(), results.clone())
                    tasks.start_soon(self._liveness.run, f"fetch {number}", work)
                for number in range(1, express_workers + 1):
                    work = partial(self._work, express.clone(), results.clone())
                    tasks.start_soon(self._liveness.run, f"fetch express {number}", work)

    async def _work(self, jobs: Receiver[Job], results: Sender[Result]) -> None:
        with jobs, results:
            while await self._ready():
                try:
                    with at_rest():
                        job = await jobs.receive()
                except anyio.EndOfStream:
                    return
                if job.sent:
                    continue  # another worker has it, who had more time
                job.sent = True
                if self._disk.held and not await self._ready():
                    return  # the next start does it
                done = await self.finish(job)
                with at_rest():
                    await results.send(done)

    async def _ready(self) -> bool:
        """Wait while fetching is paused; False where the drain begins meanwhile.

        No job is taken before: it would hold up the drain for as long as the pause lasts.
        """
        if not self._patient or not (self._host.paused or self._disk.paused):
            return True
        with at_rest(), anyio.CancelScope() as waiting:
            self._pausing.add(waiting)
            try:
                if self._draining:
                    return False
                await self._host.ready()
                await self._disk.ready()
                while self._disk.paused and not await self._tarballs.try_disk():
                    await self._disk.ready()
                return True
            finally:
                self._pausing.remove(waiting)
        return False

    def drain(self) -> None:
        """Have those who wait for the end of a pause leave; jobs under way go on."""
        self._draining = True
        for waiting in self._pausing:
            waiting.cancel()

    async def finish(self, job: Job) -> Done:
        """The result of a job. Every line that the log gets of it has its package and seq."""
        job.sent = True
        seq = job.change.seq if job.change is not None else None
        bound = bind_contextvars(package=job.package, seq=seq)
        try:
            return await self._finish(job)
        finally:
            reset_contextvars(**bound)

    async def _finish(self, job: Job) -> Done:
        """A bug in the way is a result too, with its traceback in the log."""
        if self._is_deadly(job):
            return self._set_aside(job)
        self._deaths.begin(job.package)
        self.in_work[job.package] = self._clock.monotonic()
        try:
            done = await self._mirror(job)
        except IndexUnavailableError as fault:
            self._disk.fault("disk", str(fault))
            done = self._not_done(job, Failed("disk", None, str(fault), counts=False))
        except Exception as bug:
            if self._raise_bugs:
                raise
            log.exception("bug", reason=_place(bug))
            done = self._not_done(job, Failed(BUG, None, f"{type(bug).__name__}: {bug}"))
        finally:
            del self.in_work[job.package]
        reach("fetch.done")
        return done

    def _is_deadly(self, job: Job) -> bool:
        """Whether the process died too often with this package in work.

        One that was set aside is tried again only for a new change, or because a person says so.
        """
        record = self._deaths.record(job.package)
        if record is None or not record.aside:
            return record is not None and record.is_guilty
        woken = any(row.reason == SUDDEN_DEATHS for row in job.work.values())
        return record.is_guilty or not (job.tickets or job.want or woken)

    def _set_aside(self, job: Job) -> Done:
        """All that the job is to do, as dead letters; nothing of it is begun."""
        log.error("set_aside", reason=SUDDEN_DEATHS)
        detail = "the process died again and again while this package was in work"
        done = self._not_done(job, Failed(SUDDEN_DEATHS, None, detail))
        return replace(done, work=dead_letters(done.work))

    def _not_done(self, job: Job, failed: Failed) -> Done:
        """Nothing came of a job: all that it took on is to be tried again."""
        missed: list[TarballOutcome] = [MissedTarball(v, failed) for v in job.tarball_rows]
        return self._done(job, Look(failed, None), [], missed, settled=is_for_the_row(job))

    async def _catch_up(self, job: Job) -> None:
        """Take on the packument's row of a later change, where that is what is left of it.

        After a kill the buffer is read again from the checkpoint. The change that comes again was
        followed by one that is finished, and may stand on the work list: this one is no reason to
        take it off.
        """
        row = packument_row(await self._index.work_of(job.package))
        change = job.change
        if row is None or change is None or not is_later(row.rev, change.rev):
            return
        seq = change.seq if row.seq is None else row.seq
        job.change = Change(seq, job.package, row.rev, row.deleted)
        job.announced_at = row.announced_at
        job.work[PACKUMENT] = row

    async def _mirror(self, job: Job) -> Done:
        settings = self._selector.settings(job)
        if isinstance(settings, Drop):
            look = await self._unwanted(job, settings)
            return self._done(job, look, [], [], settled=is_for_the_row(job))
        if job.overtaken:
            await self._catch_up(job)
        known = None if job.unseen else await self._index.known(job.package)
        if job.document:
            look = await self._looker.look(job, known, f"{next(self._tokens)}", settings)
        elif job.verdict is not None:
            look = await self._looker.decide(job, known)
        else:
            look = Look(Mirrored(changed=False), known)
        try:
            refused = await self._selector.refused(job, look, settings)
            wanted = await self._wanted(job, look, settings)
            claims = await self._claims(job, look, self._now(job, wanted))
            outcomes = await self._tarballs.fetch(job.package, claims) if claims else []
            self._selector.learn(outcomes)
            bundles = await self._attestations.fetch(job, look, outcomes)
            outcomes += refused
            settled = await self._settles(job, look)
            rows = await self._retirer.rows(job, look.known, outcomes, settings)
            if not settled and is_there(look):
                # A person was given a document: that is a contrary word.
                standing = await self._index.work_of(job.package)
                rows = [*rows, *self._leftovers.contradicted(standing)]
            return self._done(job, look, wanted, outcomes, rows, settled=settled, bundles=bundles)
        except BaseException:
            if look.release is not None:
                look.release()
            raise

    def _now(self, job: Job, wanted: list[str]) -> list[str]:
        """Those to fetch in this job. A client waits for its end: then what it asked for alone."""
        if job.express:
            wanted = [version for version in wanted if version in job.work]
        return wanted[: self._per_job]

    async def _unwanted(self, job: Job, drop: Drop) -> Look:
        """Nothing is looked at; what the operator decided about a held removal is done all the same."""
        if job.verdict is not None:
            look = await self._looker.decide(job, await self._index.known(job.package))
            if look.unheld:
                return look
        return Look(Skipped(POLICY, drop.detail), None)

    async def _wanted(self, job: Job, look: Look, settings: Settings) -> list[str]:
        """Versions to fetch: by the policy, by a person's wish, and by the work list."""
        wanted = dict.fromkeys(await self._chosen(job, look, settings))
        held = look.known.versions if look.known is not None else {}
        rows = [v for v in job.tarball_rows if v not in held or held[v].state not in HELD]
        rows += await self._announced_again(job, look)
        wanted |= dict.fromkeys(await self._selector.still_wanted(job, rows, settings))
        return list(wanted)

    async def _announced_again(self, job: Job, look: Look) -> list[str]:
        """Versions whose tarballs upstream, a mirror, did not hold, and may hold by now."""
        if job.change is None or job.change.deleted or look.known is None:
            return []
        known = look.known.versions
        lacking = await self._selector.not_held(job.package)
        return [v for v in lacking if v in known and known[v].present]

    async def _chosen(self, job: Job, look: Look, settings: Settings) -> Sequence[str]:
        """What the document at hand has us fetch.

        The policy may want, with each change, what waits on the work list already: that is left
        alone with its pauses and attempts, unless a person asks; so is what was too large.
        """
        effects = look.effects
        if effects is None or job.metadata_only:
            return ()
        if look.choice is not None:
            chosen = look.choice.versions
        elif look.packument is not None:
            want = job.want or Want()
            chosen = wanted_tarballs(
                look.packument, effects, look.known, settings, want, force=job.force
            )
        else:
            return ()
        if look.known is None or job.want is not None or set(chosen) <= set(effects.fresh):
            return chosen
        waiting = {row.item for row in await self._index.work_of(job.package)}
        waiting |= await self._selector.too_large(job.package)
        return [version for version in chosen if version not in waiting]

    async def _claims(self, job: Job, look: Look, versions: list[str]) -> list[Claim]:
        """What upstream says of these versions: by the document at hand, else by the index."""
        claims: list[Claim] = []
        stored: list[str] = []
        for version in versions:
            if (dist := look.dist(version)) is not None:
                row, told = job.work.get(version), look.manifest(version)
                claims.append(Claim(version, dist.tarball, dist.integrity, dist.shasum, row, told))
            else:
                stored.append(version)
        if stored:
            rows = await self._index.claims(job.package, stored)
            # A large document at hand has the turn that reading another one would wait for.
            known = look.known if look.release is None else None
            found = await self._manifests.of(job.package, known, stored)
            claims += [Claim(*row, job.work.get(row[0]), found.get(row[0])) for row in rows]
        return claims

    async def _settles(self, job: Job, look: Look) -> bool:
        """Whether the packument's row of the work list is done with, or put anew.

        A row stands for an announced change. A person who asks meanwhile may fail, or be given the
        document of before: neither is what was announced.
        """
        if is_for_the_row(job):
            return True
        if not job.document or isinstance(look.outcome, Failed):
            return False
        row = packument_row(await self._index.work_of(job.package))
        return row is None or is_met(row, look)

    def _done(
        self,
        job: Job,
        look: Look,
        wanted: list[str],
        outcomes: list[TarballOutcome],
        rows: Sequence[WorkItem] = (),
        *,
        settled: bool,
        bundles: Sequence[Bundle | MissedBundle] = (),
    ) -> Done:
        work = self._leftovers.work(
            job, look, wanted, outcomes, settled=settled, bundles=bundles, rows=rows
        )
        return Done(
            job=job,
            outcome=self._outcome(job, look),
            at=timestamp(self._clock.now()),
            document=look.document,
            gone=look.gone,
            held=look.held,
            unheld=look.unheld,
            decided=look.decided,
            tarballs=tuple(outcomes),
            bundles=tuple(one for one in bundles if isinstance(one, Bundle)),
            work=work,
            seconds=self._seconds(job),
            release=look.release,
        )

    def _seconds(self, job: Job) -> float:
        """How long the job is in work."""
        now = self._clock.monotonic()
        return now - self.in_work.get(job.package, now)

    @staticmethod
    def _outcome(job: Job, look: Look) -> Outcome:
        """The look's outcome, unless a person asked for versions that are not there."""
        if job.want is None or look.packument is None or not isinstance(look.outcome, Mirrored):
            return look.outcome
        unmet = [spec for spec in job.want.specs if not resolve(spec, look.packument)]
        if not unmet:
            return look.outcome
        if look.packument.unpublished is not None:
            return Gone("unpublished")
        return Failed("no_such_version", None, ", ".join(unmet))


def _place(bug: Exception) -> str:
    """What tells bugs apart: the kind of exception, and where it was raised."""
    frame = traceback.extract_tb(bug.__traceback__)[-1]
    return f"{type(bug).__name__} in {frame.name}:{frame.lineno}"
