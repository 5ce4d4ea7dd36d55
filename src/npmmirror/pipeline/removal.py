"""Whether an answer of "not there" proves a removal. One 404 proves nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from npmmirror.change import Change
from npmmirror.clock import moment
from npmmirror.effects import Event, EventKind, Known
from npmmirror.outcome import Failed, Gone, Mirrored, Outcome, Skipped, WorkItem

NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class RemovalRule:
    """`answers` of "not there" are needed, over `hours` at least.

    Where the feed itself calls the package deleted, the answers suffice.
    """

    answers: int
    hours: float

    def judge(
        self, known: Known | None, change: Change | None, row: WorkItem | None, now: datetime
    ) -> Outcome:
        """What to make of one more such answer. `row` is the work list's, from the ones before."""
        if known is None or known.state in {"", "erased"}:
            return self._never_held(change)
        if known.state == "removed":
            return Mirrored(changed=False)
        earlier = row is not None and row.reason == NOT_FOUND
        count = 1 + (row.attempts if row is not None and earlier else 0)
        first = moment(row.since) if row is not None and earlier and row.since else now
        deleted = change is not None and change.deleted
        if count >= self.answers and (deleted or now - first >= timedelta(hours=self.hours)):
            return Gone("removed")
        # The feed's own word is looked after at the usual pauses; else the answers are spread.
        pause = timedelta(hours=self.hours) / max(self.answers - 1, 1)
        retry_at = None if deleted else now + pause
        return Failed(NOT_FOUND, retry_at, detail=f"answer {count} of {self.answers}")

    @staticmethod
    def _never_held(change: Change | None) -> Outcome:
        if change is None:
            return Failed(NOT_FOUND, None)
        if change.deleted:
            return Skipped("gone_before_capture")
        # Announced, and yet not there: a cache that lags, most likely. The schedule decides.
        return Failed(NOT_FOUND, None, detail="announced by the feed")


def removed_event(known: Known) -> Event:
    """The event of a confirmed removal, with how much the package last was."""
    present = sum(version.present for version in known.versions.values())
    return Event(EventKind.PACKAGE_REMOVED, detail={"versions": present})
