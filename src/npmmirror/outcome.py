"""How the work on a package ended. Expected failures are values, never exceptions."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from npmmirror.confusion import Confusion

HELD: Final = frozenset({"held", "unverifiable"})
"""The states of a version whose file we have."""
LOST: Final = frozenset({"missing", "altered", "unreadable"})
"""Why a file was dropped that nobody wanted dropped: it is to be fetched again."""

NOT_HELD: Final = "not_held"
"""Why a tarball is skipped where upstream is a mirror itself, which does not hold it now. Nobody is
at fault, and asking again is of no use: its feed announces the package again when it has it."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The document is captured (or was already: `changed` is False)."""

    changed: bool = True


@dataclass(frozen=True, slots=True)
class Skipped:
    """Not wanted, by policy or by its nature. `reason` is a stable word such as `too_large`."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """Upstream no longer has it: `unpublished`, `security_hold` or `removed`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not work. Tried again at `retry_at`; None means never by itself (a dead letter).

    `counts` is False for faults of the host or of our disk, which use up no attempt.
    """

    reason: str
    retry_at: datetime | None
    detail: str = ""
    counts: bool = True


Outcome = Mirrored | Skipped | Gone | Failed


def describe(outcome: Outcome) -> str:
    """An outcome in a few words, for people."""
    match outcome:
        case Mirrored(changed=changed):
            return "mirrored" if changed else "unchanged"
        case Skipped(reason=reason, detail=detail) | Failed(reason=reason, detail=detail):
            return f"{reason} ({detail})" if detail else reason
        case Gone(reason=reason):
            return f"gone ({reason})"


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests computed over the bytes that arrived, lower-case hex."""

    sha512: str


@dataclass(frozen=True, slots=True)
class HeldTarball:
    """A tarball whose bytes are checked.

    `staged` is the temp file to move to `path` (relative to `storage.packages_dir`); None where
    the file already stands there. `unverifiable` where upstream gave no digest at all. `confusion`
    tells how its `package.json` differs from the packument.
    """

    version: str
    path: str
    size: int
    digests: Digests
    integrity: str
    staged: str | None
    unverifiable: bool = False
    confusion: Confusion | None = None


@dataclass(frozen=True, slots=True)
class MissedTarball:
    """A tarball that is not held, and why (`Skipped` or `Failed`)."""

    version: str
    outcome: Skipped | Failed


TarballOutcome = HeldTarball | MissedTarball


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A row of the work list. `item` is "" for the packument, else a version's tarball.

    `not_before` None marks a dead letter. `rev`, `seq` and `deleted` tell what was announced
    (packument), `announced_at` when that was first seen; `since` is when the row's trouble began.
    `origin` is who brought it, where that is more than a change or a wish (`npmmirror.origin`).
    """

    package: str
    item: str
    reason: str
    not_before: str | None
    attempts: int = 0
    rev: str | None = None
    seq: int | str | None = None
    since: str = ""
    detail: str = ""
    deleted: bool = False
    origin: str = ""
    announced_at: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What a finished job does to the work list: rows put (replacing) and items taken off."""

    put: tuple[WorkItem, ...] = ()
    done: tuple[str, ...] = field(default=())
