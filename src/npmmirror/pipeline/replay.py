"""Putting records of the capture log into the index: rolling forward, and rebuilding.

The same comparison that made a change's effects makes them again from the record, so that a
replay gives the same rows and the same events, ids included.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from npmmirror.archive import (
    CaptureDamagedError,
    CaptureLog,
    CaptureReader,
    Damage,
    ErasedError,
)
from npmmirror.capture import Kind, Location, Payload, Record
from npmmirror.confusion import Confusion
from npmmirror.effects import Effects, Known
from npmmirror.failpoints import reach
from npmmirror.index import (
    IndexWriter,
    Mark,
    StoredBundle,
    StoredDocument,
    StoredDrop,
    StoredErasure,
    StoredFollowing,
    StoredGone,
    StoredKeys,
    StoredTarball,
    signing,
)
from npmmirror.outcome import LOST
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.pipeline.examiner import Examiner
from npmmirror.pipeline.job import ATTESTATION
from npmmirror.pipeline.logbook import seal
from npmmirror.pipeline.pending import Pending
from npmmirror.pipeline.removal import removed_event
from npmmirror.policy import Keep, Policy, Want, wanted_tarballs
from npmmirror.signatures import Keys, NotKeysError

ERASE = "erase"
"""The word of the operator's decision to erase a package."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A record that is sound, and of which nothing can be made: which, and why."""

    record: Record
    reason: str


class Replay:
    """Takes records in their order and commits what they did.

    Each commit takes in whole groups with their marks, so that a kill between two of them leaves
    off at a mark, where the next start goes on. Groups are gathered up to `batch_bytes`, as long as
    no package comes twice: each record is compared with what was committed before it. Where a
    damaged mark makes two groups look like one, a commit has none.

    The tarballs that the `policy` wants of these documents, and that no later record
    holds, are put on the work list: what is left of jobs that were cut off before the index. So
    are those that `verify --repair` found damaged.

    With `retains` each file that was stored has its package looked at for files too many.

    `tell` is told of documents that cannot be read, which are passed over; without it they are
    errors.
    """

    def __init__(
        self,
        index: IndexWriter,
        archive: CaptureReader,
        examiner: Examiner,
        policy: Policy | None,
        now: str,
        *,
        batch_bytes: int = 0,
        retains: bool = False,
        tell: Callable[[Unusable], None] | None = None,
    ) -> None:
        self._index = index
        self._archive = archive
        self._examiner = examiner
        self._policy = policy
        self._now = now
        self._batch_bytes = batch_bytes
        self._retains = retains
        self._tell = tell
        self._marks: list[Mark] = []
        self._closed = Pending()
        self._open = Pending()
        self._following: str | None = None
        self._keys: dict[int, Keys] | None = None
        self.records = 0

    @property
    def unsealed(self) -> bool:
        """Whether records were taken that no mark follows."""
        return self._open.weight > 0

    async def take(self, record: Record) -> None:
        """The next record. Its effects are committed by `commit` at the latest."""
        self.records += 1
        reach("replay.record_taken")
        if record.kind is Kind.MARK:
            await self._close(_mark(record))
            return
        if self._open.bars(record):
            await self._commit()
        elif record.name in self._closed.names:
            await self.flush()
        await self._apply(record)
        self._open.note(record)

    async def _apply(self, record: Record) -> None:
        match record.kind:
            case Kind.PACKUMENT:
                await self._packument(record)
            case Kind.GONE:
                await self._gone(record)
            case Kind.TARBALL:
                self._stored(_tarball(record))
            case Kind.DROPPED:
                self._dropped(_drop(record))
            case Kind.DECISION if record.facts.get("what") == ERASE:
                erasure = StoredErasure(record.name or "", record.ordinal, record.at)
                self._open.erasures.append(erasure)
            case Kind.KEYS:
                await self._take_keys(record)
            case Kind.ATTESTATION:
                self._open.bundles.append(_bundle(record))
            case Kind.FOLLOWING:
                self._open.following.append(_following(record))
                self._following = await self._since() or record.at
            case _:
                pass  # for people and third parties: the index holds nothing of it

    def _stored(self, tarball: StoredTarball) -> None:
        self._open.tarballs.append(tarball)
        policy = self._policy if self._retains else None
        if policy is not None and policy.settings(tarball.name).keep_versions:
            self._open.retained[tarball.name, tarball.version] = None

    def _dropped(self, drop: StoredDrop) -> None:
        self._open.drops.append(drop)
        if drop.reason in LOST:
            self._open.wanted[drop.name, drop.version] = None

    async def _take_keys(self, record: Record) -> None:
        try:
            document = None if record.length is None else self._archive.document(record.place)
            found = Keys.parse(record.ordinal, document)
        except (CaptureDamagedError, NotKeysError) as error:
            self._pass_over(record, error, str(error))
            return
        (await self._known_keys())[record.ordinal] = found
        self._open.keys.append(StoredKeys(record.ordinal, record.at, document))

    async def _known_keys(self) -> dict[int, Keys]:
        """All records of keys so far, oldest first."""
        if self._keys is None:
            stored = await self._index.do(signing.keys)
            self._keys = {0: Keys()}
            self._keys |= {one.ordinal: Keys.parse(one.ordinal, one.document) for one in stored}
        return self._keys

    async def _keys_of(self, record: Record) -> Keys:
        """The keys that a document's signatures were held against: the newest, if not told."""
        known = await self._known_keys()
        return known.get(record.facts.get("keys", max(known)), Keys())

    async def _packument(self, record: Record) -> None:
        try:
            document = await self._document(record)
        except ErasedError:
            document = _document(record, None, erased=True)
        except CaptureDamagedError as error:
            self._pass_over(record, error, _why(record, error))
            return
        except NotAPackumentError as error:
            self._pass_over(record, error, str(error))
            return
        self._open.documents.append(document)

    def _pass_over(self, record: Record, error: Exception, reason: str) -> None:
        if self._tell is None:
            raise error
        self._tell(Unusable(record, reason))

    async def _document(self, record: Record) -> StoredDocument:
        """The row of a document that can be read, with what it changed."""
        name = record.name or ""
        raw = self._archive.document(record.place)
        if record.facts.get("stale"):
            return _document(record, None)
        packument = Packument.parse(raw, name=name)
        known = await self._index.known(name)
        keys = await self._keys_of(record)
        effects = self._examiner.compare(packument, known, await self._since(), keys)
        if self._policy is not None and not record.facts.get("metadata_only"):
            chosen = _chosen(self._policy, packument, effects, known)
            self._open.wanted |= dict.fromkeys((name, version) for version in chosen)
        return _document(record, effects)

    async def _since(self) -> str | None:
        """When following began, as far as the log was read."""
        if self._following is None:
            following = await self._index.following()
            self._following = following.at if following is not None else None
        return self._following

    async def _gone(self, record: Record) -> None:
        known = await self._index.known(record.name or "")
        if known is not None:
            self._open.gone.append(_gone(record, known))

    async def commit(self, mark: Mark) -> None:
        """Commit everything that was taken, with this mark behind it."""
        self._closed.absorb(self._open)
        self._open = Pending()
        self._marks.append(mark)
        await self.flush()

    async def _close(self, mark: Mark) -> None:
        """The end of a group."""
        self._closed.absorb(self._open)
        self._open = Pending()
        self._marks.append(mark)
        if self._closed.weight >= self._batch_bytes:
            await self.flush()

    async def flush(self) -> None:
        """Commit the groups that are whole."""
        if self._marks:
            await self._index.commit(self._closed.group(self._marks, self._now))
            self._closed, self._marks = Pending(), []
            reach("replay.group_committed")

    async def _commit(self) -> None:
        """Commit everything, the group whose mark was lost included."""
        await self.flush()
        await self._index.commit(self._open.group([], self._now))
        self._open = Pending()


def _chosen(
    policy: Policy, document: Packument, effects: Effects, known: Known | None
) -> Sequence[str]:
    """The tarballs that the policy wants of a document."""
    if not isinstance(policy.package(document.name), Keep):
        return ()
    return wanted_tarballs(document, effects, known, policy.settings(document.name), Want())


def _why(record: Record, error: CaptureDamagedError) -> str:
    """Why a document cannot be read, by the record that is damaged."""
    if error.ordinal == record.ordinal:
        return error.reason
    base = f"record {error.ordinal}" if error.ordinal is not None else "a record"
    place = f"captures/{error.segment:06}.log, byte {error.offset}"
    return f"it is a delta of {base} ({place}), which is damaged"


def _document(record: Record, effects: Effects | None, *, erased: bool = False) -> StoredDocument:
    facts = record.facts
    return StoredDocument(
        name=record.name or "",
        ordinal=record.ordinal,
        place=record.place,
        at=record.at,
        payload=Payload(
            b"", record.length or 0, record.sha256 or "", number=record.number, base=record.base
        ),
        effects=effects,
        rev=facts.get("rev"),
        # Left out of the record where it is the document's own.
        announced_rev=facts.get("announced", facts.get("rev") if "seq" in facts else None),
        seq=facts.get("seq"),
        etag=facts.get("etag"),
        erased=erased,
        announced_at=facts.get("announced_at"),
    )


def _gone(record: Record, known: Known) -> StoredGone:
    return StoredGone(
        name=record.name or "",
        ordinal=record.ordinal,
        at=record.at,
        event=removed_event(known, record.facts["evidence"]),
        reason=record.facts["reason"],
        seq=record.facts.get("seq"),
    )


def _tarball(record: Record) -> StoredTarball:
    facts = record.facts
    return StoredTarball(
        name=record.name or "",
        version=facts["version"],
        ordinal=record.ordinal,
        at=record.at,
        path=facts["path"],
        size=facts["size"],
        sha512=facts["sha512"],
        unverifiable=bool(facts.get("unverifiable")),
        confusion=Confusion.read(facts.get("manifest")),
    )


def _drop(record: Record) -> StoredDrop:
    facts = record.facts
    return StoredDrop(
        record.name or "", facts["version"], record.ordinal, record.at, facts["reason"]
    )


def _bundle(record: Record) -> StoredBundle:
    return StoredBundle(
        name=record.name or "",
        version=record.facts["version"],
        ordinal=record.ordinal,
        at=record.at,
        place=record.place,
        sha256=record.sha256,
        length=record.length,
    )


def _following(record: Record) -> StoredFollowing:
    facts = record.facts
    return StoredFollowing(record.ordinal, record.at, facts["feed"], facts.get("since"))


def _mark(record: Record) -> Mark:
    return Mark(record.ordinal, record.at, record.hash, record.place, record.facts.get("cursor"))


async def roll_forward(
    log: CaptureLog,
    reader: CaptureReader,
    index: IndexWriter,
    examiner: Examiner,
    policy: Policy,
    *,
    after: Location | None,
    now: str,
) -> int:
    """Index the records behind the index's last mark; how many there were.

    They were durable when the process died between the log and the index. A mark is put behind
    them.

    Raises:
        CaptureDamagedError: a record among them is damaged.
    """
    replay = Replay(index, reader, examiner, policy, now, retains=True)
    stored: dict[str, None] = {}
    for record in reader.scan(after):
        if isinstance(record, Damage):
            raise record.error()
        await replay.take(record)
        if record.kind is Kind.TARBALL and record.name is not None:
            stored[record.name] = None
    if replay.records:
        mark = seal(log, await index.cursor(), now)
        reach("replay.sealed")
        await replay.commit(mark)
        await index.do(partial(signing.put_missing, reason=ATTESTATION, at=now, names=[*stored]))
    return replay.records
