"""Why a version's tarball is here, or is not: one word, and what is known beside it."""

from dataclasses import dataclass
from typing import Literal

from npmmirror.index import VersionRow
from npmmirror.outcome import HELD, WorkItem
from npmmirror.pipeline.job import WANTED

Word = Literal[
    "held", "waiting", "failed", "set_aside", "skipped", "dropped", "unpublished", "not_wanted"
]
"""`waiting` has its turn before it, `failed` is tried again, `set_aside` is not tried again by
itself, `skipped` was refused when it was looked at, `dropped` was held once, `unpublished` was
gone upstream before it was wanted, `not_wanted` is left out by the policy."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tarball stands. `next_try` is a time, where it will be tried (again) by itself."""

    word: Word
    reason: str = ""
    detail: str = ""
    attempts: int = 0
    next_try: str | None = None


def standing(row: VersionRow, work: WorkItem | None) -> Standing:
    """Judge a version by its row and by its row of the work list, where it has one."""
    if row.state in HELD:
        return Standing("held")
    if work is not None:
        return _to_do(work)
    reason, detail = row.missing or "", row.missing_detail or ""
    if row.state == "dropped":
        return Standing("dropped", reason, detail)
    if reason:
        return Standing("skipped", reason, detail)
    return Standing("not_wanted" if row.present else "unpublished")


def _to_do(work: WorkItem) -> Standing:
    word: Word = "failed"
    if work.not_before is None:
        word = "set_aside"
    elif not work.attempts and work.reason in {WANTED, "repair"}:
        word = "waiting"
    return Standing(word, work.reason, work.detail, work.attempts, work.not_before)
