"""What `removals` prints."""

from typing import Any

from npmmirror.cli.shapes.shape import Seq, Shape


class Breaker(Shape):
    """Whether removals are held, since when, and beyond which limits that begins."""

    tripped: bool
    held: int
    since: str | None
    decided_at: str | None
    packages: int
    percent: float


class HeldRemoval(Shape):
    """A removal that the breaker holds, and what we hold of the package."""

    package: str
    held_at: str
    seq: Seq | None
    reason: str
    evidence: dict[str, Any]
    versions: int
    tarballs: int
    tarball_bytes: int
    revisions: int


class Confirming(Shape):
    """A package that was not there, and is asked for again."""

    package: str
    answers: int
    needed: int
    since: str
    next_at: str | None
    deleted_by_feed: bool


class GonePackage(Shape):
    """A package that upstream has no longer, and what we hold of it."""

    package: str
    state: str
    reason: str
    at: str
    happened_at: str | None
    seq: Seq | None
    evidence: dict[str, Any]
    ordinal: int
    versions: int
    tarballs: int
    tarball_bytes: int
    revisions: int


class RemovalList(Shape):
    """What `removals list` prints; a part that was not asked for is empty."""

    breaker: Breaker
    held: list[HeldRemoval]
    confirming: list[Confirming]
    gone: list[GonePackage]


class RemovalsDecided(Shape):
    """What `removals confirm` and `removals discard` print."""

    decision: str
    packages: int
    unknown: list[str]
    left: int
