"""Documents that cannot be believed at once, and how often each is asked for again. Pure.

A cache that lags gives them, or a feed that does. What is only odd is taken at its own word after a
few looks; what takes something back without a revision to prove that it is new, after as long as a
removal takes; what is proven to be old, never.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from npmmirror.change import Change, generation
from npmmirror.clock import moment
from npmmirror.effects import Known
from npmmirror.outcome import Failed, WorkItem
from npmmirror.pipeline.examiner import Finding
from npmmirror.pipeline.schedule import QUICK_TRIES, Schedule
from npmmirror.staleness import is_conflict

STALE: Final = "stale"
"""Older than what was announced or captured."""
UNPROVEN: Final = "rev_missing"
"""The document has no revision, on a registry whose documents have one."""
CONFLICT: Final = "rev_conflict"
"""Another revision of the very generation that was announced."""
NOT_YET: Final = "not_yet_changed"
"""A change was announced, no revision tells which, and the document is the one that is held."""
STILL_THERE: Final = "deleted_but_answered"
"""The feed calls the package deleted, and its document is there."""
BELIEVED_SOON: Final = frozenset({CONFLICT, NOT_YET, STILL_THERE, UNPROVEN})
"""What is only odd."""
LOOKS: Final = BELIEVED_SOON | {STALE}
TRIES: Final = 4
"""A document that is only odd is taken at its own word when it comes so often and once more."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a document was asked for: the newest change, its revision, and the row of the list.

    `revs_given` says that documents of this registry have a revision.
    """

    change: Change | None
    announced: str | None
    row: WorkItem | None
    revs_given: bool = False

    def tries(self, reason: str) -> int:
        """How often it was met with this in the way."""
        return self.row.attempts if self.row is not None and self.row.reason == reason else 0

    def since(self, reason: str, now: datetime) -> datetime:
        """When it was first met so; `now` where it was not."""
        if self.row is None or self.row.reason != reason or not self.row.since:
            return now
        return min(moment(self.row.since), now)


@dataclass(frozen=True, slots=True)
class SecondLooks:
    """What to make of a document. `answers` and `hours` are those that confirm a removal."""

    answers: int
    hours: float

    def believes(self, asked: Asked, now: datetime) -> bool:
        """Whether a document that seems old by its date and versions alone is believed now."""
        patience = timedelta(hours=self.hours)
        asked_enough = asked.tries(STALE) >= QUICK_TRIES
        return asked_enough and now - asked.since(STALE, now) >= patience

    def judge(
        self, asked: Asked, finding: Finding, known: Known | None, now: datetime
    ) -> Failed | None:
        """Why it is to be looked at again; None where it is taken for what it is."""
        if finding.stale:
            detail = f"found {finding.rev}, announced {asked.announced}"
            return Failed(STALE, self._next(asked, finding, known, now), detail)
        if is_conflict(finding.rev, asked.announced) and asked.tries(CONFLICT) < TRIES:
            return Failed(CONFLICT, None, f"found {finding.rev}, announced {asked.announced}")
        if finding.named:
            return self.of_life(asked) if finding.is_living else None
        # One of the two, for each would count the other's looks anew.
        reason = UNPROVEN if _is_unproven(asked, finding) else NOT_YET
        is_odd = reason == UNPROVEN or self._is_the_same(asked, finding, known)
        if is_odd and asked.tries(reason) < TRIES:
            return Failed(reason, None, f"announced {asked.announced}")
        return self.of_life(asked) if finding.is_living else None

    @staticmethod
    def of_life(asked: Asked) -> Failed | None:
        """Why a package that has a document is to be looked at again: the feed calls it deleted."""
        deleted = asked.change is not None and asked.change.deleted
        return Failed(STILL_THERE, None) if deleted and asked.tries(STILL_THERE) < TRIES else None

    def _next(
        self, asked: Asked, finding: Finding, known: Known | None, now: datetime
    ) -> datetime | None:
        """When to look again where no schedule may end it: it may be the truth."""
        if asked.tries(STALE) < QUICK_TRIES or _is_told(asked, finding, known):
            return None
        pause = timedelta(hours=self.hours) / max(self.answers - 1, 1)
        proven = asked.since(STALE, now) + timedelta(hours=self.hours)
        return min(now + pause, max(proven, now))

    @staticmethod
    def _is_the_same(asked: Asked, finding: Finding, known: Known | None) -> bool:
        held = known is not None and known.state not in {"", "removed", "erased"}
        announced = asked.change is not None and not asked.change.deleted
        return held and announced and finding.rev is None and finding.payload is None


def _is_unproven(asked: Asked, finding: Finding) -> bool:
    """Whether nothing shows that the document is the announced one, where something should."""
    missing = finding.rev is None and finding.is_living
    return asked.revs_given and missing and asked.announced is not None


def _is_told(asked: Asked, finding: Finding, known: Known | None) -> bool:
    """Whether revisions tell that it is old, and not dates or versions alone."""
    ours, announced = generation(finding.rev), generation(asked.announced)
    if ours is None:
        return False
    captured = generation(known.rev) if known is not None else None
    return captured is not None or (announced is not None and ours < announced)


def next_look(schedule: Schedule, reason: str, attempts: int, since: datetime) -> datetime | None:
    """When a document is asked for again, where nothing else was said."""
    if reason == STALE:
        return schedule.after_stale(attempts, since)
    if reason in {CONFLICT, NOT_YET, UNPROVEN}:
        return schedule.soon(TRIES - attempts, since)
    return schedule.after(attempts)
