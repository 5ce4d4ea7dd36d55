"""Whether an answer of "not there" proves a removal. One 404 proves nothing. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from npmmirror.change import Change
from npmmirror.clock import moment, timestamp
from npmmirror.effects import Event, EventKind, Known
from npmmirror.outcome import Failed, Gone, Mirrored, Outcome, Skipped, WorkItem

NOT_FOUND: Final = "not_found"
HELD: Final = "removal_held"
"""Confirmed, and held by the breaker: asked again now and then, until the operator decides."""
DISCARDED: Final = "removal_discarded"
"""The operator did not believe it: to be looked at anew."""
ANSWERS: Final = frozenset({NOT_FOUND, HELD})
"""The reasons of work list rows whose attempts are answers of "not there"."""

Verdict = Literal["confirm", "discard"]
"""What the operator decides about a removal that is held."""
DECISIONS: Final[Mapping[Verdict, str]] = {
    "confirm": "confirm_removal",
    "discard": "discard_removal",
}
"""The words of these decisions in the capture log."""

_TOLD: Final[tuple[str, ...]] = ("status", "answers", "feed", "confirmed_by")
"""The part of the evidence that is in the event; times of day are in the capture log alone."""
_MEANINGS: Final = {404: "not_found", 410: "gone", 451: "legal_reasons"}

Evidence = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RemovalRule:
    """`answers` of "not there" are needed, over `hours` at least, and no contrary word.

    A contrary word is any other answer in between, and a later change of the feed that does not
    call the package deleted: then counting starts over. The feed's own word that a package is
    deleted is kept as evidence; it shortens nothing, for packages come back within minutes of it.
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
            return self._still_gone(known, change, row)
        count, first = 1 + answers_before(row, change), first_answer(row, change, now)
        proven = first + timedelta(hours=self.hours)
        if count >= self.answers and now >= proven:
            return Gone("removed")
        pause = timedelta(hours=self.hours) / max(self.answers - 1, 1)
        retry_at = proven if count >= self.answers else now + pause
        return Failed(NOT_FOUND, retry_at, detail=f"answer {count} of {self.answers}")

    def later(self, now: datetime) -> datetime:
        """When to look again at a package whose removal is held, or was discarded."""
        return now + timedelta(hours=self.hours or 1.0)

    def _still_gone(self, known: Known, change: Change | None, row: WorkItem | None) -> Outcome:
        """It was published again, and a cache does not know it yet; or else it is as it was."""
        if change is not None:
            announced, deleted = change.rev, change.deleted
        elif row is not None and row.reason in ANSWERS:
            announced, deleted = row.rev, row.deleted
        else:
            return Mirrored(changed=False)
        news = not deleted and announced is not None and announced != known.rev
        if not news or answers_before(row, change) >= self.answers:
            return Mirrored(changed=False)
        return Failed(NOT_FOUND, None, detail="announced by the feed")

    @staticmethod
    def _never_held(change: Change | None) -> Outcome:
        if change is None:
            return Failed(NOT_FOUND, None)
        if change.deleted:
            return Skipped("gone_before_capture")
        # Announced, and yet not there: a cache that lags, most likely. The schedule decides.
        return Failed(NOT_FOUND, None, detail="announced by the feed")


def answers_before(row: WorkItem | None, change: Change | None) -> int:
    """How many answers of "not there" came in a row, without a contrary word since."""
    if row is None or row.reason not in ANSWERS or is_contradicted(row, change):
        return 0
    return row.attempts


def first_answer(row: WorkItem | None, change: Change | None, now: datetime) -> datetime:
    """When the first of them came; `now` where there was none."""
    if row is None or not row.since or not answers_before(row, change):
        return now
    return min(moment(row.since), now)  # a clock that was ahead would never have it proven


def is_contradicted(row: WorkItem, change: Change | None) -> bool:
    """Whether a later change says that the package is there."""
    if change is None or change.deleted:
        return False
    return (change.seq, change.rev) != (row.seq, row.rev)


def evidence_of(
    status: int, change: Change | None, row: WorkItem | None, now: datetime
) -> Evidence:
    """What shows that a package is gone, once it is confirmed."""
    found: Evidence = {
        "status": status,
        "answers": 1 + answers_before(row, change),
        "first_at": timestamp(first_answer(row, change, now)),
    }
    if change is not None and change.deleted:
        found["feed"] = "deleted"
    return found


def reason_of(evidence: Evidence) -> str:
    """What the answers meant, in a word: `not_found`, `gone` (410) or `legal_reasons` (451)."""
    return _MEANINGS.get(evidence.get("status", 404), NOT_FOUND)


def removed_event(known: Known, evidence: Evidence) -> Event:
    """The event of a confirmed removal, with how much the package last was, and what shows it."""
    present = sum(version.present for version in known.versions.values())
    told = {key: evidence[key] for key in _TOLD if key in evidence}
    return Event(EventKind.PACKAGE_REMOVED, detail={"versions": present, **told})
