"""What one transaction of the index takes in: records that are durable in the log, and the rest.

Pure types. Made when a change is recorded and when the log is replayed, alike.
"""

from dataclasses import dataclass
from typing import Any, Literal

from npmmirror.capture import Location, Payload
from npmmirror.change import Seq
from npmmirror.confusion import Confusion
from npmmirror.effects import Effects, Event
from npmmirror.outcome import WorkItem
from npmmirror.receipt import Position, Receipt

TarballState = Literal["held", "unverifiable"]


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A packument that the log holds. `effects` is None where it is stale, or `erased`.

    `rev` is the document's own, `announced_rev` the feed's. Of `payload` the stored bytes are not
    looked at. `at` is when it was observed, `announced_at` when the feed's word of it first was.
    """

    name: str
    ordinal: int
    place: Location
    at: str
    payload: Payload
    effects: Effects | None
    rev: str | None = None
    announced_rev: str | None = None
    seq: Seq | None = None
    etag: str | None = None
    erased: bool = False
    announced_at: str | None = None


@dataclass(frozen=True, slots=True)
class StoredErasure:
    """The operator's decision to erase a package, as the log holds it.

    Whatever was made of its documents goes; what remains is its name, where its revisions lie, and
    which of its files were held once.
    """

    name: str
    ordinal: int
    at: str


@dataclass(frozen=True, slots=True)
class StoredGone:
    """A confirmed loss that the log holds; `reason` becomes the package's state."""

    name: str
    ordinal: int
    at: str
    event: Event
    reason: str = "removed"
    seq: Seq | None = None


@dataclass(frozen=True, slots=True)
class HeldRemoval:
    """A confirmed loss that the breaker held `at` some time: no record tells of it, no event yet.

    `evidence` is what its record will hold.
    """

    name: str
    at: str
    evidence: dict[str, Any]
    seq: Seq | None = None


@dataclass(frozen=True, slots=True)
class StoredTarball:
    """A file whose bytes are checked. `path` is relative to the packages' directory.

    `sha512` is hex, `at` when the bytes were checked. `confusion` tells how its `package.json`
    differs from the packument.
    """

    name: str
    version: str
    ordinal: int
    at: str
    path: str
    size: int
    sha512: str
    unverifiable: bool = False
    confusion: Confusion | None = None


@dataclass(frozen=True, slots=True)
class StoredDrop:
    """A file that is held no longer: pruned, erased, or found missing or altered."""

    name: str
    version: str
    ordinal: int
    at: str
    reason: str


@dataclass(frozen=True, slots=True)
class StoredFollowing:
    """The start of following an upstream, as the log holds it."""

    ordinal: int
    at: str
    upstream: str
    since: Seq | None = None


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """The registry's keys, as a record of the log holds them; `document` None: it served none."""

    ordinal: int
    at: str
    document: bytes | None


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """Upstream's answer to a request for a version's attestations, as the log holds it.

    `sha256` (hex) and `length` are of the answer; None where there were no attestations.
    """

    name: str
    version: str
    ordinal: int
    at: str
    place: Location
    sha256: str | None
    length: int | None


@dataclass(frozen=True, slots=True)
class Finished:
    """A change that is finished, of a package that may be unknown otherwise."""

    name: str
    seq: Seq
    rev: str | None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Skip:
    """What is not wanted, and why. `version` is "" for the package as a whole."""

    name: str
    version: str
    reason: str
    detail: str
    at: str


@dataclass(frozen=True, slots=True)
class Wake:
    """The dead letters of a package become due `at`, with all their attempts before them."""

    name: str
    at: str


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of a group in the log. `header_sha256` (hex) is that of the mark's own header."""

    ordinal: int
    committed_at: str
    header_sha256: str
    place: Location
    cursor: Seq | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """What is committed together, or not at all.

    A package has at most one document with effects, or one `gone`, in a group: each is compared
    with what was committed before it. `erasures` take effect behind all that the group brings of
    their packages. `work_done` are (package, item) taken off the work list, before `wake` and
    `work_put` take effect. `earlier_marks` are of groups of the log that are committed together
    with the last one, whose is `mark`. `finished_receipt` is the number of the newest page receipt
    whose end the checkpoint has passed. `held` are removals that the breaker holds; `unheld` are
    packages whose removal is held no longer, beside those with a document or `gone` here.
    `decided_at` is when the operator decided about some: where none is left then, it is kept.
    """

    documents: tuple[StoredDocument, ...] = ()
    gone: tuple[StoredGone, ...] = ()
    tarballs: tuple[StoredTarball, ...] = ()
    drops: tuple[StoredDrop, ...] = ()
    erasures: tuple[StoredErasure, ...] = ()
    following: tuple[StoredFollowing, ...] = ()
    keys: tuple[StoredKeys, ...] = ()
    bundles: tuple[StoredBundle, ...] = ()
    finished: tuple[Finished, ...] = ()
    skips: tuple[Skip, ...] = ()
    held: tuple[HeldRemoval, ...] = ()
    unheld: tuple[str, ...] = ()
    decided_at: str | None = None
    work_done: tuple[tuple[str, str], ...] = ()
    wake: tuple[Wake, ...] = ()
    work_put: tuple[WorkItem, ...] = ()
    earlier_marks: tuple[Mark, ...] = ()
    mark: Mark | None = None
    checkpoint: Position | None = None
    finished_receipt: int | None = None


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A page receipt and its number. `finished`: the checkpoint has passed its end."""

    number: int
    receipt: Receipt
    received_at: str
    finished: bool


@dataclass(frozen=True, slots=True)
class Check:
    """The result of hashing a held file again: `ok`, or what is wrong with it."""

    name: str
    version: str
    at: str
    result: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Resumption:
    """How far a long command came, for its next start. `place` is the command's own word."""

    command: str
    started_at: str
    place: str
