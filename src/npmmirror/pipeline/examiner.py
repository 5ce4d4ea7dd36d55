"""Finding out what a document changes: all that costs CPU, without any await."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from npmmirror.archive import CaptureDamagedError, CaptureReader, ErasedError, PayloadEncoder
from npmmirror.archive.deltas import Documents
from npmmirror.capture import Location, Payload
from npmmirror.change import names_document
from npmmirror.diff import changed_versions, diff
from npmmirror.effects import Effects, Known
from npmmirror.packument import Packument
from npmmirror.pipeline.large import LargeDocument
from npmmirror.signatures import Keys, signed
from npmmirror.staleness import is_stale

_DIGEST_LENGTH: Final = 64

log = structlog.get_logger(__name__)


class Question(msgspec.Struct, frozen=True, array_like=True):
    """What a document is held against.

    `announced_rev` is the revision that it must have at least (None: any), `following_since` when
    following began (None: never), `believed` and `by_revision` as for `is_stale`, `keys` are those
    that signatures are held against.
    """

    name: str
    known: Known | None = None
    announced_rev: str | None = None
    following_since: str | None = None
    believed: bool = False
    by_revision: bool = True
    keys: Keys = Keys()


class Finding(msgspec.Struct, frozen=True, array_like=True):
    """What a document turned out to be.

    `payload` is None where its bytes are those of the capture before it; `effects` is None where
    it is stale. `is_living` says that it has versions, and is of no unpublished package. `named`
    says that the announced revision was made of this very document.
    """

    rev: str | None
    is_living: bool
    stale: bool
    payload: Payload | None
    effects: Effects | None
    named: bool = False


def log_damage(package: str, error: str) -> None:
    """Have the log say that a record cannot be read, which a package's document was to be."""
    log.warning("capture_damaged", package=package, error=error)


class Examiner:
    """Parses, compares and encodes a document. Many threads may use one at the same time.

    `tell_damage` is told of records of the capture log that cannot be read: package and error.
    """

    def __init__(
        self,
        archive: CaptureReader,
        encoder: PayloadEncoder,
        tell_damage: Callable[[str, str], None] = log_damage,
    ) -> None:
        self._archive = archive
        self._others: Documents = archive
        self._encoder = encoder
        self._tell_damage = tell_damage

    def examine(
        self, document: bytes | LargeDocument, question: Question
    ) -> tuple[Finding, Packument]:
        """Compare a document with what is known of its package.

        Raises:
            NotAPackumentError: the bytes are no packument of this package.
            DiskFaultError: they, or those of a document before, cannot be read back.
        """
        raw: bytes | memoryview
        if isinstance(document, LargeDocument):
            raw, others = document.content, _alternately(self._others, document)
        else:
            raw, others = document, self._others
        packument = Packument.parse(raw, name=question.name)
        living = packument.unpublished is None and bool(packument.versions)
        known = question.known
        chain = known.chain if known else None
        named = _is_named(question.announced_rev, raw)
        stale = is_stale(
            packument,
            known,
            question.announced_rev,
            believed=question.believed,
            by_revision=question.by_revision,
            named=named,
        )
        effects = None
        if not stale:
            effects = self._compare(packument, known, question.following_since, others)
            effects = signed(effects, packument, question.keys)
        payload: Payload | None = self._encoder.encode(raw, chain, others, aside=stale)
        if known is not None and payload is not None and _is_known(payload, known, effects):
            payload = None
        return Finding(packument.rev, living, stale, payload, effects, named), packument

    def compare(
        self, packument: Packument, known: Known | None, following_since: str | None, keys: Keys
    ) -> Effects:
        """The difference to what is known; loads the document before where bodies changed.

        `keys` are those that signatures are held against.
        """
        effects = self._compare(packument, known, following_since, self._others)
        return signed(effects, packument, keys)

    def _compare(
        self,
        packument: Packument,
        known: Known | None,
        following_since: str | None,
        others: Documents,
    ) -> Effects:
        previous = None
        if known is not None and changed_versions(packument, known):
            previous = self._captured(packument.name, known, others)
        return diff(packument, known, previous, following_since=following_since)

    def again(
        self, name: str, known: Known, following_since: str | None
    ) -> tuple[Packument | None, Effects | None]:
        """The newest document that is captured and not stale, compared with what is known.

        None where none can be read.
        """
        packument = self._captured(name, known, self._others)
        if packument is None:
            return None, None
        return packument, self._compare(packument, known, following_since, self._others)

    def captured_length(self, known: Known) -> int:
        """How many bytes that document has; 0 where none can be read."""
        if known.place is None:
            return 0
        try:
            return self._archive.record(known.place).length or 0
        except CaptureDamagedError:
            return 0

    def _captured(self, name: str, known: Known, others: Documents) -> Packument | None:
        if known.place is None:
            return None
        try:
            return Packument.parse(others.document(known.place), name=name)
        except ErasedError:
            return None
        except CaptureDamagedError as error:
            # One damaged record must not keep its package from being mirrored.
            self._tell_damage(name, str(error))
            return None


@dataclass(frozen=True, slots=True)
class _Alternating:
    """Other documents, read while the large one at hand makes room for them."""

    others: Documents
    large: LargeDocument

    def document(self, place: Location) -> bytes:
        """See `Documents.document`."""
        with self.large.absent():
            return self.others.document(place)


def _alternately(others: Documents, large: LargeDocument) -> Documents:
    return _Alternating(others, large)


def _is_known(payload: Payload, known: Known, effects: Effects | None) -> bool:
    """Whether the document was captured before, and says nothing new."""
    if effects is None:
        return payload.sha256 in {known.sha256, known.stale_sha256}
    return payload.sha256 == known.sha256 and not effects.events


def _is_named(rev: str | None, raw: bytes | memoryview) -> bool:
    """Whether it was announced by its digest; only a revision as long as one is held against it."""
    if len((rev or "").partition("-")[2]) != _DIGEST_LENGTH:
        return False
    return names_document(rev, hashlib.sha256(raw).hexdigest())
