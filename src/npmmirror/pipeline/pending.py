"""What a replay has taken from the log and not yet committed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from npmmirror.capture import Kind, Record
from npmmirror.index import (
    Group,
    Mark,
    StoredBundle,
    StoredDocument,
    StoredDrop,
    StoredErasure,
    StoredFollowing,
    StoredGone,
    StoredKeys,
    StoredTarball,
)
from npmmirror.outcome import WorkItem
from npmmirror.pipeline.job import RETENTION, WANTED
from npmmirror.pipeline.removal import DECISIONS

ROW_BYTES = 1000
"""What a record weighs at least, with the rows that are made of it."""


@dataclass(slots=True)
class Pending:
    """Rows that are to be committed together.

    `wanted` are tarballs to fetch, `retained` held ones whose packages may have too many. `names` are the packages among the rows, `whole` those of which
    something is compared, `files` the versions whose files are told of; `weight` is in bytes.
    """

    documents: list[StoredDocument] = field(default_factory=list)
    gone: list[StoredGone] = field(default_factory=list)
    tarballs: list[StoredTarball] = field(default_factory=list)
    drops: list[StoredDrop] = field(default_factory=list)
    erasures: list[StoredErasure] = field(default_factory=list)
    following: list[StoredFollowing] = field(default_factory=list)
    keys: list[StoredKeys] = field(default_factory=list)
    bundles: list[StoredBundle] = field(default_factory=list)
    wanted: dict[tuple[str, str], None] = field(default_factory=dict)
    retained: dict[tuple[str, str], None] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    files: set[tuple[str, str]] = field(default_factory=set)
    weight: int = 0

    def note(self, record: Record) -> None:
        """Count a record in."""
        self.weight += ROW_BYTES + (record.length or 0)
        if record.name is None:
            return
        self.names.add(record.name)
        if record.kind in {Kind.TARBALL, Kind.DROPPED}:
            self.files.add((record.name, record.facts["version"]))
        elif record.kind is not Kind.ATTESTATION and not _is_word_alone(record):
            self.whole.add(record.name)

    def bars(self, record: Record) -> bool:
        """Whether a record of the same group can only be taken after this was committed.

        Within a group that the mirror wrote none ever is: a mark was lost in between.
        """
        if record.name is None or _is_word_alone(record):
            return False
        if record.kind in {Kind.TARBALL, Kind.DROPPED, Kind.ATTESTATION}:
            erased = any(erasure.name == record.name for erasure in self.erasures)
            again = (record.name, record.facts["version"]) in self.files
            return erased or (again and record.kind is not Kind.ATTESTATION)
        return record.name in self.whole

    def absorb(self, later: "Pending") -> None:
        """Take in what came behind."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(later, each.name)
            if isinstance(mine, list):
                mine.extend(theirs)
            elif isinstance(mine, int):
                setattr(self, each.name, mine + theirs)
            else:
                mine.update(theirs)

    def group(self, marks: Sequence[Mark], now: str) -> Group:
        """All of them, as one transaction takes them; what is wanted becomes due `now`."""
        held = tuple((row.name, row.version) for row in self.tarballs)
        left = self.wanted.keys() - set(held)
        work = [
            WorkItem(name, version, WANTED, now, since=now)
            for name, version in self.wanted
            if (name, version) in left
        ]
        work += [
            WorkItem(name, version, RETENTION, now, since=now) for name, version in self.retained
        ]
        return Group(
            documents=tuple(self.documents),
            gone=tuple(self.gone),
            tarballs=tuple(self.tarballs),
            drops=tuple(self.drops),
            erasures=tuple(self.erasures),
            following=tuple(self.following),
            keys=tuple(self.keys),
            bundles=tuple(self.bundles),
            work_done=held,
            work_put=tuple(work),
            earlier_marks=tuple(marks[:-1]),
            mark=marks[-1] if marks else None,
        )


def _is_word_alone(record: Record) -> bool:
    """Whether the record is a decision of which the index holds nothing."""
    return record.kind is Kind.DECISION and record.facts.get("what") in DECISIONS.values()
