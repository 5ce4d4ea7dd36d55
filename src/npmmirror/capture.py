"""What the capture log and the rest say to each other: kinds, places and headers of records."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """The kinds of records in the capture log."""

    GENESIS = "genesis"
    FOLLOWING = "following"
    PACKUMENT = "packument"
    GONE = "gone"
    TARBALL = "tarball"
    DROPPED = "dropped"
    DECISION = "decision"
    KEYS = "keys"
    ATTESTATION = "attestation"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a record starts: the segment's number and the byte offset in it."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Chain:
    """The deltas of a package since its last whole frame.

    `number` is the position of the newest revision (0 is the whole frame itself). `places` holds
    the locations of those positions that the next revision may be a delta of.
    """

    number: int
    places: dict[int, Location]


@dataclass(frozen=True, slots=True)
class Payload:
    """A document ready to be appended: stored bytes, and what says how to read them.

    `number` is the position in the package's chain of deltas, 0 for a whole frame; `base` is the
    record that a delta was made of. `length` and `sha256` (hex) are those of the raw document.
    """

    stored: bytes
    length: int
    sha256: str
    number: int = 0
    base: Location | None = None


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to append. `facts` are JSON values of the kind, held in the chained header."""

    kind: Kind
    at: str
    name: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    payload: Payload | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """What appending gave a record: its ordinal and its place.

    `at` is the time in its header, which for a mark never goes back.
    """

    ordinal: int
    place: Location
    at: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A record read back. `number` as in `Payload`; `length` is None where there is no payload.

    `erased` tells that the payload was blanked by `npmmirror erase`. `hash` (hex) is the SHA-256 of
    the header, which the next record's header holds.
    """

    ordinal: int
    kind: Kind
    at: str
    name: str | None
    facts: dict[str, Any]
    place: Location
    length: int | None = None
    sha256: str | None = None
    number: int = 0
    base: Location | None = None
    stored_length: int = 0
    erased: bool = False
    hash: str = ""
