"""What passes from feed to fetch, and from fetch to record."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from npmmirror.capture import Payload
from npmmirror.change import Change
from npmmirror.effects import Effects, Event
from npmmirror.origin import FORCED, is_metadata_only
from npmmirror.outcome import Outcome, TarballOutcome, Work, WorkItem
from npmmirror.pipeline.removal import Evidence, Verdict
from npmmirror.policy import Want

PACKUMENT = ""
"""The item of a work list row that stands for the packument itself."""
WANTED = "wanted"
"""The reason of a row that nothing went wrong with: its turn has not come."""
ASKED = "asked"
"""The same of one that a person asked for whatever the policy says."""
REPAIR = "repair"
"""The reason of a row that asks for a file anew, which was held and is damaged."""
ATTESTATION = "attestation"
"""The reason of a row at a held version whose attestations were not asked for yet."""
RETENTION = "retention"
"""The reason of a row at a held version: there may be more of the package than are to be kept."""
THROTTLED = "throttled"
"""The reason of a failure in which nothing was sent, for upstream had asked for quiet."""


def is_forced(row: WorkItem) -> bool:
    """Whether a row is worked off whatever the policy says."""
    return row.reason in {ASKED, REPAIR} or row.origin == FORCED


@dataclass(slots=True)
class Job:
    """Everything to do for a package in one go. At most one a package is in work (the gate).

    `tickets` are the changes that it finishes (`Watermark`), `change` the newest of them, which the
    follower first saw at `announced_at`.
    `document` asks for the packument; `work` are the rows of the work list that it takes on.
    `want` and `force` come from a person's `sync`, `verdict` is what the operator decided about a
    removal that the breaker holds; `replies` are told of the end, after it is
    committed. A client of the server waits for an `express` one, and of a `light` one wants the
    document alone. `unseen` says that the index knows nothing of the package, `overtaken` that a later
    change of it was finished before. `sent` is set when the first request goes out: from then on
    nothing joins.
    """

    package: str
    document: bool = True
    change: Change | None = None
    announced_at: str | None = None
    tickets: list[int] = field(default_factory=list)
    work: dict[str, WorkItem] = field(default_factory=dict)
    want: Want | None = None
    force: bool = False
    verdict: Verdict | None = None
    replies: list[Callable[["Done"], None]] = field(default_factory=list)
    express: bool = False
    light: bool = False
    unseen: bool = False
    overtaken: bool = False
    sent: bool = False

    def join(self, other: "Job") -> None:
        """Take over what a later job of the same package is to do."""
        self.light = all(one.light for one in (self, other) if one.document)
        self.document = self.document or other.document
        self.express = self.express or other.express
        if other.change is not None:
            self.change, self.announced_at = other.change, other.announced_at
        self.tickets += other.tickets
        self.work |= other.work
        self.want = _both(self.want, other.want)
        self.force = self.force or other.force
        self.verdict = other.verdict or self.verdict
        self.replies += other.replies
        self.overtaken = self.overtaken or other.overtaken

    @property
    def announced_rev(self) -> str | None:
        """The revision that the feed, or else a listing of it, tells of; None where none does.

        The revision of a tombstone has no document.
        """
        if self.change is not None:
            return None if self.change.deleted else self.change.rev
        row = self.work.get(PACKUMENT)
        return row.rev if row is not None and not row.deleted else None

    @property
    def metadata_only(self) -> bool:
        """Whether no tarballs are wanted of what this brings: nobody asked, nothing changed."""
        row = self.work.get(PACKUMENT)
        asked = self.change is not None or self.want is not None
        light = self.light if row is None else is_metadata_only(row.origin)
        return light and not asked

    @property
    def tarball_rows(self) -> tuple[str, ...]:
        """Versions whose tarballs the work list asks for."""
        return tuple(item for item in self.work if item != PACKUMENT)


def _both(one: Want | None, other: Want | None) -> Want | None:
    """What two people asked for."""
    if one is None or other is None:
        return one or other
    specs = dict.fromkeys((*one.specs, *other.specs))
    return Want(tuple(specs), one.all_versions or other.all_versions)


@dataclass(frozen=True, slots=True)
class CapturedDocument:
    """A packument to record. `effects` is None where it is stale: kept, and nothing more."""

    payload: Payload
    rev: str | None
    etag: str | None
    effects: Effects | None


@dataclass(frozen=True, slots=True)
class CapturedGone:
    """The confirmed word that upstream has the package no longer, with its evidence."""

    reason: str
    evidence: Evidence
    event: Event


@dataclass(frozen=True, slots=True)
class Bundle:
    """Upstream's answer about a version's attestations; `payload` is None where it has none."""

    version: str
    payload: Payload | None


@dataclass(frozen=True, slots=True)
class Decided:
    """What the operator decided about a package, for the capture log."""

    what: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """A job's result, on its way to be recorded."""

    job: Job
    outcome: Outcome
    at: str
    document: CapturedDocument | None = None
    gone: CapturedGone | None = None
    tarballs: tuple[TarballOutcome, ...] = ()
    bundles: tuple[Bundle, ...] = ()
    work: Work = field(default_factory=Work)
    seconds: float = 0.0
    release: Callable[[], None] | None = None
    """Lets the next large packument pass, once this one is committed."""
    held: Evidence | None = None
    """What shows that it is gone, where the breaker holds that."""
    unheld: bool = False
    """Whether nothing of the package is to be held any more."""
    decided: Decided | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """Changes that need no work: design documents, and rows that were finished before."""

    tickets: tuple[int, ...]


Result = Done | Passed
