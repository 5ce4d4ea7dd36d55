"""Putting records of the capture log into the index: rolling forward, and rebuilding.

The same comparison that made a change's effects makes them again from the record, so that a
replay gives the same rows and the same events, ids included.
"""

from dataclasses import dataclass, field

from npmmirror.archive import CaptureLog, CaptureReader, Damage, ErasedError
from npmmirror.capture import Kind, Location, Payload, Record
from npmmirror.effects import Effects, Known
from npmmirror.failpoints import reach
from npmmirror.index import (
    Group,
    IndexWriter,
    Mark,
    StoredDocument,
    StoredDrop,
    StoredFollowing,
    StoredGone,
    StoredTarball,
)
from npmmirror.outcome import LOST, WorkItem
from npmmirror.packument import Packument
from npmmirror.pipeline.job import WANTED
from npmmirror.pipeline.logbook import seal
from npmmirror.pipeline.packuments import Examiner
from npmmirror.pipeline.removal import removed_event
from npmmirror.policy import TarballPolicy, Want, wanted_tarballs


@dataclass(slots=True)
class _Pending:
    """Rows that are to be committed together; `names` are the packages among them."""

    documents: list[StoredDocument] = field(default_factory=list)
    gone: list[StoredGone] = field(default_factory=list)
    tarballs: list[StoredTarball] = field(default_factory=list)
    drops: list[StoredDrop] = field(default_factory=list)
    following: list[StoredFollowing] = field(default_factory=list)
    wanted: dict[tuple[str, str], None] = field(default_factory=dict)

    def group(self, mark: Mark, now: str) -> Group:
        """All of them, as one transaction takes them; what is wanted becomes due `now`."""
        held = tuple((row.name, row.version) for row in self.tarballs)
        left = (key for key in self.wanted if key not in set(held))
        work = tuple(WorkItem(name, version, WANTED, now, since=now) for name, version in left)
        return Group(
            documents=tuple(self.documents),
            gone=tuple(self.gone),
            tarballs=tuple(self.tarballs),
            drops=tuple(self.drops),
            following=tuple(self.following),
            work_done=held,
            work_put=work,
            mark=mark,
        )


class Replay:
    """Takes records in their order and commits what they did.

    Each commit takes in a whole group with its mark, so that a kill between two of them leaves
    off at a mark, where the next start goes on. A group holds one document of a package at most.

    The tarballs that the policy `mode` wanted of these documents, and that no later record
    holds, are put on the work list: what is left of jobs that were cut off before the index. So
    are those that `verify --repair` found damaged.
    """

    def __init__(
        self,
        index: IndexWriter,
        archive: CaptureReader,
        examiner: Examiner,
        mode: TarballPolicy | None,
        now: str,
    ) -> None:
        self._index = index
        self._archive = archive
        self._examiner = examiner
        self._mode = mode
        self._now = now
        self._pending = _Pending()
        self.records = 0

    async def take(self, record: Record) -> None:
        """The next record. Its effects are committed by the mark behind it at the latest."""
        self.records += 1
        reach("replay.record_taken")
        match record.kind:
            case Kind.PACKUMENT:
                await self._packument(record)
            case Kind.GONE:
                await self._gone(record)
            case Kind.TARBALL:
                self._pending.tarballs.append(_tarball(record))
            case Kind.DROPPED:
                self._dropped(_drop(record))
            case Kind.FOLLOWING:
                self._pending.following.append(_following(record))
            case Kind.MARK:
                await self.commit(_mark(record))
            case _:
                pass  # for people and third parties: the index holds nothing of it

    def _dropped(self, drop: StoredDrop) -> None:
        self._pending.drops.append(drop)
        if drop.reason in LOST:
            self._pending.wanted[drop.name, drop.version] = None

    async def _packument(self, record: Record) -> None:
        if record.erased:
            return
        stale = bool(record.facts.get("stale"))
        effects = None if stale else await self._effects(record)
        if stale or effects is not None:
            self._pending.documents.append(_document(record, effects))

    async def _effects(self, record: Record) -> Effects | None:
        """What the document changed; None where it, or one that it is a delta of, was erased."""
        name = record.name or ""
        known = await self._index.known(name)
        try:
            packument = Packument.parse(self._archive.document(record.place), name=name)
            effects = self._examiner.compare(packument, known, await self._since())
        except ErasedError:
            return None
        if self._mode is not None:
            chosen = wanted_tarballs(packument, effects, known, self._mode, Want())
            self._pending.wanted |= dict.fromkeys((name, version) for version in chosen)
        return effects

    async def _since(self) -> str | None:
        following = await self._index.following()
        return following.at if following is not None else None

    async def _gone(self, record: Record) -> None:
        known = await self._index.known(record.name or "")
        if known is not None:
            self._pending.gone.append(_gone(record, known))

    async def commit(self, mark: Mark) -> None:
        """Commit what was taken since the last mark."""
        await self._index.commit(self._pending.group(mark, self._now))
        self._pending = _Pending()
        reach("replay.group_committed")


def _document(record: Record, effects: Effects | None) -> StoredDocument:
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
    )


def _gone(record: Record, known: Known) -> StoredGone:
    return StoredGone(
        name=record.name or "",
        ordinal=record.ordinal,
        at=record.at,
        event=removed_event(known),
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
    )


def _drop(record: Record) -> StoredDrop:
    facts = record.facts
    return StoredDrop(
        record.name or "", facts["version"], record.ordinal, record.at, facts["reason"]
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
    mode: TarballPolicy,
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
    replay = Replay(index, reader, examiner, mode, now)
    for record in reader.scan(after):
        if isinstance(record, Damage):
            raise record.error()
        await replay.take(record)
    if replay.records:
        mark = seal(log, await index.cursor(), now)
        reach("replay.sealed")
        await replay.commit(mark)
    return replay.records
