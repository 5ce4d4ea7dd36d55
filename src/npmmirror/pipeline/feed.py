"""Hands out jobs: live changes from the buffer first, with a share left for the work list."""

from collections import deque
from collections.abc import Mapping, Sequence, Set as AbstractSet

import anyio
import structlog

from npmmirror.buffer.base import Buffer, BufferUnavailableError, Entry, Gap, Item
from npmmirror.change import Change, Seq, is_later
from npmmirror.clock import Clock, timestamp
from npmmirror.failpoints import reach
from npmmirror.index import IndexReader, IndexUnavailableError
from npmmirror.liveness import at_rest
from npmmirror.outcome import WorkItem
from npmmirror.pipeline.channel import Sender
from npmmirror.pipeline.gate import Gate
from npmmirror.pipeline.handout import Handout
from npmmirror.pipeline.job import PACKUMENT, Done, Job, Passed, Result
from npmmirror.pipeline.watermark import Watermark

READ_ROWS = 500
WINDOW = 100_000
"""Changes that may lie behind the finished prefix; reading stops there. A change is some 200
bytes, and a job is bounded in time, so that this is a guard of memory and no brake."""
OFFERED = 20_000
"""Packages whose last change offered is remembered: two pages of the feed."""
IDLE_SECONDS = 30.0
"""The longest sleep of the work list's task, whatever it believes to know."""
SHORTEST_SECONDS = 0.05
"""Rows that are due while their packages are busy would have it spin."""
UNAVAILABLE_SECONDS = 5.0
BUFFER_SECONDS = 2.0
"""Between two looks at a broker that is away."""
DESIGN_DOCUMENT = "design_document"
FINISHED_BEFORE = "finished_before"

log = structlog.get_logger(__name__)


class Feed:
    """Owns the gate's front side: every job of whatever origin passes here."""

    def __init__(
        self,
        jobs: Handout,
        passed: Sender[Result],
        gate: Gate,
        index: IndexReader,
        clock: Clock,
        *,
        workers: int,
        work_share: float,
        tarballs_per_job: int,
    ) -> None:
        self._jobs = jobs
        self._passed = passed
        self._gate = gate
        self._index = index
        self._clock = clock
        self._workers = workers
        self._shared = max(1, int(workers * work_share))
        self._per_job = tarballs_per_job
        self._from_work_list: set[str] = set()
        self._promoted = _Promoted()
        self._promoted_express = _Promoted()
        self._wake_work = anyio.Event()
        self._room = anyio.Event()
        self._live_waiting = False
        self._offered: dict[str, tuple[Seq, str, bool]] = {}
        self._unseen: set[str] = set()
        self.held: frozenset[str] = frozenset()
        """Origins of rows of the work list that are not handed out now (`npmmirror.origin`)."""
        self.buffer_error: str | None = None
        """Why the buffer cannot be read now; None where it can."""

    async def submit(self, job: Job) -> None:
        """Bring in a job from outside (a person's `sync`); returns once it is handed on."""
        if self._gate.admit(job):
            await self._jobs.send(job)
        elif job.express and (first := self._gate.unsent(job.package)) is not None:
            await self._jobs.hurry(first)

    async def read_buffer(self, buffer: Buffer, watermark: Watermark) -> None:
        """Follow the buffer from the watermark's position on, for ever.

        Raises:
            BufferChangedError: the buffer is not what it was.
        """
        position = watermark.position
        # What was offered for another watermark has no ticket here, finished or not.
        self._offered.clear()
        while True:
            while len(watermark) >= WINDOW:
                self._room = anyio.Event()
                with at_rest():
                    await self._room.wait()
            try:
                items = await buffer.read(position, READ_ROWS)
                if not items:
                    with at_rest():
                        await buffer.wait(position)
                    self._buffer_answers()
                    continue
                finished = await self._finished(items)
            except BufferUnavailableError as error:
                await self.buffer_is_away(error, BUFFER_SECONDS)
                continue
            except IndexUnavailableError as error:
                await self._unavailable(error)
                continue
            self._buffer_answers()
            await self._offer(items, watermark, finished)
            position = buffer.advance(position, items)

    async def _finished(
        self, items: Sequence[Item]
    ) -> Mapping[str, tuple[str | None, bool] | None]:
        # What is committed from now on is taken out of `_unseen`, also while the index answers.
        self._unseen = {item.change.id for item in items if isinstance(item, Entry)}
        found = await self._index.finished(sorted(self._unseen))
        self._unseen.difference_update(found)
        changes = [item.change for item in items if isinstance(item, Entry)]
        seen = [one.id for one in changes if found.get(one.id) == (one.rev, one.deleted)]
        # A mirror announces a package again when it has a tarball that it did not have.
        for name in await self._index.lacking(seen) if seen else ():
            found[name] = None
        return found

    async def buffer_is_away(self, error: Exception, seconds: float) -> None:
        """Say so, and wait for so long."""
        # Hours of outage are one line, and one more for each new kind of trouble.
        tell = log.debug if str(error) == self.buffer_error else log.warning
        tell("waiting_for_buffer", error=str(error))
        self.buffer_error = str(error)
        with at_rest():
            await self._clock.sleep(seconds)

    def _buffer_answers(self) -> None:
        if self.buffer_error is not None:
            log.info("buffer_answers_again")
        self.buffer_error = None

    async def _unavailable(self, error: Exception) -> None:
        log.warning("waiting_for_disk", error=str(error))
        with at_rest():
            await self._clock.sleep(UNAVAILABLE_SECONDS)

    async def _offer(
        self,
        items: Sequence[Item],
        watermark: Watermark,
        finished: Mapping[str, tuple[str | None, bool] | None],
    ) -> None:
        passed: list[int] = []
        for item in items:
            ticket = watermark.open(item)
            reach("feed.entry_opened")
            if isinstance(item, Gap):
                passed.append(ticket)
                continue
            change = item.change
            last = finished.get(change.id)
            seen = change.rev is not None and last == (change.rev, change.deleted)
            again = self._is_offered_again(change)
            if change.id.startswith("_") or again or (seen and not self._gate.busy(change.id)):
                passed.append(ticket)
                reason = DESIGN_DOCUMENT if change.id.startswith("_") else FINISHED_BEFORE
                log.debug("skipped_change", package=change.id, seq=change.seq, reason=reason)
            else:
                unseen = change.id in self._unseen
                await self._send_live(
                    Job(
                        change.id,
                        change=change,
                        announced_at=item.observed_at,
                        tickets=[ticket],
                        unseen=unseen,
                        overtaken=last is not None and is_later(last[0], change.rev),
                    )
                )
        if passed:
            with at_rest():
                await self._passed.send(Passed(tuple(passed)))

    def _is_offered_again(self, change: Change) -> bool:
        """Whether this is the very change that was offered last for its package.

        A kill between buffer and cursor leaves a page twice, and what is finished is asked of the
        index before the first of the two is. The checkpoint stays behind the first in any case.
        """
        if change.rev is None:
            return False
        this = (change.seq, change.rev, change.deleted)
        last = self._offered.pop(change.id, None)
        self._offered[change.id] = this
        if len(self._offered) > OFFERED:
            del self._offered[next(iter(self._offered))]
        return last == this

    async def _send_live(self, job: Job) -> None:
        if not self._gate.admit(job):
            return
        self._live_waiting = True
        try:
            await self._jobs.send(job)
        finally:
            self._live_waiting = False
        reach("feed.job_handed_out")

    async def serve_work_list(self, only: AbstractSet[str] | None = None) -> None:
        """Hand out rows of the work list as they fall due, for ever; `only` of these packages."""
        while True:
            try:
                await self._serve_due(only)
            except IndexUnavailableError as error:
                await self._unavailable(error)

    async def _serve_due(self, only: AbstractSet[str] | None) -> None:
        self._wake_work = anyio.Event()
        free = (self._shared if self._live_waiting else self._workers) - len(self._from_work_list)
        now = timestamp(self._clock.now())
        sent = await self._send_due(now, free, only) if free > 0 else 0
        if not sent:
            await self._until_due(now, free)

    async def _send_due(self, now: str, free: int, only: AbstractSet[str] | None) -> int:
        rows = await self._index.due(
            now,
            packages=free,
            rows_each=self._per_job,
            busy=self._gate.packages(),
            only=only,
            held=self.held,
        )
        jobs = [_work_job(package, items) for package, items in rows.items()]
        for job in jobs:
            # The gate is asked again: while one job waited to be handed on, another may have
            # entered. Rows that are passed over stay due.
            if self._gate.busy(job.package):
                continue
            self._gate.admit(job)
            self._from_work_list.add(job.package)
            await self._jobs.send(job)
            reach("feed.work_handed_out")
        return len(jobs)

    async def _until_due(self, now: str, free: int) -> None:
        """Wait for the next row to fall due, or for a place, or for a word that rows came."""
        seconds = IDLE_SECONDS
        if free > 0:
            due = await self._index.seconds_to_due(now)
            seconds = IDLE_SECONDS if due is None else due
        with at_rest(), anyio.move_on_after(min(max(seconds, SHORTEST_SECONDS), IDLE_SECONDS)):
            await self._wake_work.wait()

    async def send_promoted(self) -> None:
        """Hand on jobs that waited behind one of their package, for ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._promoted_express.send_on, self._jobs)
            await self._promoted.send_on(self._jobs)

    def committed(self, dones: Sequence[Done]) -> None:
        """Open the gate behind jobs whose results are in the index."""
        self._jobs.committed(done.job.package for done in dones)
        self._unseen.difference_update(done.job.package for done in dones)
        for done in dones:
            package = done.job.package
            self._from_work_list.discard(package)
            if done.release is not None:
                done.release()
            self._promote(self._gate.release(package))
        self._room.set()
        self._wake_work.set()

    def let_go(self, package: str) -> None:
        """Open the gate behind somebody who held it without a job."""
        self._promote(self._gate.release(package))
        self._wake_work.set()

    def _promote(self, job: Job | None) -> None:
        if job is not None:
            (self._promoted_express if job.express else self._promoted).add(job)

    def wake(self) -> None:
        """The work list has new rows."""
        self._wake_work.set()


class _Promoted:
    """Jobs that waited behind one of their package."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._wake = anyio.Event()

    def add(self, job: Job) -> None:
        """The one before it is committed."""
        self._jobs.append(job)
        self._wake.set()

    async def send_on(self, handout: Handout) -> None:
        """Hand them on, for ever."""
        while True:
            while self._jobs:
                await handout.send(self._jobs.popleft())
            self._wake = anyio.Event()
            await self._wake.wait()


def _work_job(package: str, items: Sequence[WorkItem]) -> Job:
    """A job of the rows that are due for a package."""
    rows = {item.item: item for item in items}
    packument = rows.get(PACKUMENT)
    change = announced_at = None
    if packument is not None and packument.seq is not None:
        change = Change(packument.seq, package, packument.rev, packument.deleted)
        announced_at = packument.announced_at
    return Job(
        package,
        document=packument is not None,
        change=change,
        announced_at=announced_at,
        work=rows,
    )
