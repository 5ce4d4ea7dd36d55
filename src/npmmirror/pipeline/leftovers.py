"""What is left to do of a package after a job, as rows of the work list. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from npmmirror.clock import moment, timestamp
from npmmirror.origin import FORCED
from npmmirror.outcome import Failed, MissedTarball, TarballOutcome, Work, WorkItem
from npmmirror.pipeline.attestations import MissedBundle
from npmmirror.pipeline.job import (
    ASKED,
    ATTESTATION,
    PACKUMENT,
    THROTTLED,
    WANTED,
    Bundle,
    Job,
    is_forced,
)
from npmmirror.pipeline.look import Look
from npmmirror.pipeline.removal import ANSWERS, answers_before, first_answer
from npmmirror.pipeline.schedule import Schedule
from npmmirror.pipeline.second_looks import (
    BELIEVED_SOON,
    LOOKS,
    STALE,
    STILL_THERE,
    next_look,
)
from npmmirror.staleness import is_stale


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Turns what came of a job into what it does to the work list; the schedule has the time."""

    schedule: Schedule

    def work(
        self,
        job: Job,
        look: Look,
        wanted: Sequence[str],
        outcomes: Sequence[TarballOutcome],
        *,
        settled: bool,
        bundles: Sequence[Bundle | MissedBundle] = (),
        rows: Sequence[WorkItem] = (),
    ) -> Work:
        """The rows that a job puts, and the items that it takes off.

        `wanted` are versions whose tarballs it was to fetch, `outcomes` and `bundles` what came of
        those that it tried, `rows` more to put. `settled` says that the packument's row is done
        with.
        """
        tried = {outcome.version for outcome in outcomes}
        put = [
            *self._packument_row(job, look),
            *(self._tarball_row(job, version, failed) for version, failed in _failures(outcomes)),
            *(self._untried_row(job, version) for version in wanted if version not in tried),
            *(self._bundle_row(job, one) for one in bundles if isinstance(one, MissedBundle)),
            *rows,
        ]
        kept = {row.item for row in put}
        taken = {*job.work, *tried, *([PACKUMENT] if settled or look.gone else [])}
        return Work(put=tuple(put), done=tuple(taken - kept))

    def contradicted(self, rows: Iterable[WorkItem]) -> list[WorkItem]:
        """Of a package's rows, the one that counts answers of "not there", after a contrary word.

        Counting starts over; what the feed says, that the package is deleted or has a newer
        document, is looked after.
        """
        now = self.schedule.now()
        return [
            replace(row, reason=_doubt(row), attempts=1, since=now, detail="")
            for row in rows
            if row.item == PACKUMENT and row.reason in ANSWERS
        ]

    def _packument_row(self, job: Job, look: Look) -> list[WorkItem]:
        """The row that has the packument tried again, where that failed."""
        failed, row = look.outcome, job.work.get(PACKUMENT)
        if look.again is not None:
            return [look.again]
        # What only a person asked for is that person's to ask for again.
        if not isinstance(failed, Failed) or (job.change is None and row is None):
            return []
        attempts = _document_attempts(job, failed)
        since = self._since(job, failed)
        retry_at = self._look_again_at(attempts, since, failed)
        change, said = job.change, _said_last(row, failed)
        return [
            WorkItem(
                job.package,
                PACKUMENT,
                said.reason,
                timestamp(retry_at) if retry_at is not None else None,
                attempts,
                rev=change.rev if change is not None else job.announced_rev,
                seq=change.seq if change is not None else None,
                since=timestamp(since),
                detail=said.detail,
                deleted=change.deleted if change is not None else False,
                origin=row.origin if row is not None else "",
                announced_at=job.announced_at,
            )
        ]

    def _since(self, job: Job, failed: Failed) -> datetime:
        """When the trouble with the document began: for some kinds, this very kind of it."""
        row, now = job.work.get(PACKUMENT), self.schedule.clock.now()
        if failed.reason in ANSWERS:
            return first_answer(row, job.change, now)
        if row is None or not row.since or (failed.reason in LOOKS and row.reason != failed.reason):
            return now
        return moment(row.since)

    def _look_again_at(self, attempts: int, since: datetime, failed: Failed) -> datetime | None:
        if failed.retry_at is not None:
            return failed.retry_at
        if failed.counts:
            return next_look(self.schedule, failed.reason, attempts, since)
        return self.schedule.in_a_while(attempts)

    def _tarball_row(self, job: Job, version: str, failed: Failed) -> WorkItem:
        row = job.work.get(version)
        attempts = _attempts(row, failed)
        schedule, said = self.schedule, _said_last(row, failed)
        retry_at = schedule.after(attempts) if failed.counts else schedule.in_a_while(attempts)
        return WorkItem(
            job.package,
            version,
            said.reason,
            timestamp(retry_at) if retry_at is not None else None,
            attempts,
            since=row.since if row is not None and row.since else schedule.now(),
            detail=said.detail,
            origin=_origin(job, row),
        )

    def _bundle_row(self, job: Job, missed: MissedBundle) -> WorkItem:
        """The row of a held version whose attestations are still to be had."""
        if missed.failed is not None:
            row = self._tarball_row(job, missed.version, missed.failed)
            # The tarball is held: who gives up what brought it does not give up these.
            return row if row.origin == FORCED else replace(row, origin="")
        now = self.schedule.now()
        return WorkItem(job.package, missed.version, ATTESTATION, now, since=now)

    def _untried_row(self, job: Job, version: str) -> WorkItem:
        """A tarball that this job had no time for: due at once."""
        row = job.work.get(version)
        now = self.schedule.now()
        if row is not None:
            return replace(row, not_before=now, origin=_origin(job, row))
        if job.force and job.want is not None:
            return WorkItem(job.package, version, ASKED, now, since=now)
        return WorkItem(job.package, version, WANTED, now, since=now, origin=_origin(job, None))


def dead_letters(work: Work) -> Work:
    """The same, with nothing of it tried again by itself."""
    return replace(work, put=tuple(replace(row, not_before=None) for row in work.put))


def packument_row(rows: Iterable[WorkItem]) -> WorkItem | None:
    """Of a package's rows, the one that stands for the packument; None where there is none."""
    return next((row for row in rows if row.item == PACKUMENT), None)


def is_for_the_row(job: Job) -> bool:
    """Whether the job takes the place of the packument's row, or has taken it on."""
    return PACKUMENT in job.work or (job.document and job.change is not None)


def is_met(row: WorkItem, look: Look) -> bool:
    """Whether the document found is the one that the row waits for."""
    found = look.packument
    return found is not None and not row.deleted and not is_stale(found, None, row.rev)


def is_there(look: Look) -> bool:
    """Whether a document was given, be it one that is not believed."""
    stale = isinstance(look.outcome, Failed) and look.outcome.reason == STALE
    return stale or look.packument is not None


def _doubt(row: WorkItem) -> str:
    return STILL_THERE if row.deleted else STALE


def _attempts(row: WorkItem | None, failed: Failed) -> int:
    before = row.attempts if row is not None else 0
    return before + (1 if failed.counts else 0)


def _document_attempts(job: Job, failed: Failed) -> int:
    row = job.work.get(PACKUMENT)
    if failed.reason in ANSWERS:  # counted by themselves
        return 1 + answers_before(row, job.change)
    if failed.reason in BELIEVED_SOON and (row is None or row.reason != failed.reason):
        return 1  # the same: after so many the document is believed
    return _attempts(row, failed)


def _said_last(row: WorkItem | None, failed: Failed) -> WorkItem | Failed:
    """What failed last: where nothing was sent, that is what failed before.

    Else a package's own 503 would be forgotten over our throttle's word, and the host blamed anew.
    """
    return row if failed.reason == THROTTLED and row is not None and row.detail else failed


def _origin(job: Job, row: WorkItem | None) -> str:
    """Who brought a tarball: who brought its row, or else the document that it came to light by."""
    if _is_forced(job, row):
        return FORCED
    asked = job.change is not None or job.want is not None
    by = row if row is not None or asked else job.work.get(PACKUMENT)
    return by.origin if by is not None else ""


def _is_forced(job: Job, row: WorkItem | None) -> bool:
    """Whether somebody wants it whatever the policy says; clients of the server do not last so."""
    if job.force and job.want is not None:
        return True
    of_client = job.express and row is not None and row.reason == ASKED and row.origin != FORCED
    return row is not None and is_forced(row) and not of_client


def _failures(outcomes: Iterable[TarballOutcome]) -> Iterator[tuple[str, Failed]]:
    """The tarballs that are to be tried again."""
    for outcome in outcomes:
        if isinstance(outcome, MissedTarball) and isinstance(outcome.outcome, Failed):
            yield outcome.version, outcome.outcome
