"""What a rebuilding of the index found."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from npmmirror.archive import Damage, SetAside
from npmmirror.capture import Location
from npmmirror.daemon.held_files import HeldFiles
from npmmirror.index import IndexStatus
from npmmirror.pipeline.replay import Unusable
from npmmirror.sqlite import storable

LISTED = 1000
"""Damaged records that are listed one by one."""

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """Records that are lost to the index: where, which, of which package, and why.

    `ordinal` is that of the first of `count`; it and `package` are None where they cannot be known.
    """

    segment: int
    offset: int
    ordinal: int | None
    count: int
    package: str | None
    reason: str

    @classmethod
    def of(cls, found: Damage | Unusable) -> "Finding":
        """From what the log, or the replay, tells."""
        if isinstance(found, Damage):
            place = Location(found.segment, found.offset)
            ordinal, name, count = found.ordinal, found.name, found.count
        else:
            record = found.record
            place, ordinal, name, count = record.place, record.ordinal, record.name, 1
        package = storable(name) if name is not None else None
        return cls(place.segment, place.offset, ordinal, count, package, found.reason)


@dataclass(slots=True)
class Rebuilt:
    """What came of it.

    `resumed_at` is the ordinal that an earlier start had come to. `carried` tells whether the index
    before gave its operational tables: `all` of them, `some` (without what it called finished, for
    the log lacks things that it was made of), or `none`. `kept` is where it lies now.
    """

    records: int = 0
    bytes: int = 0
    seconds: float = 0.0
    resumed_at: int | None = None
    damaged: list[Finding] = field(default_factory=list)
    damaged_count: int = 0
    set_aside: tuple[SetAside, ...] = ()
    files: HeldFiles = field(default_factory=HeldFiles)
    carried: str = "none"
    kept: Path | None = None
    status: IndexStatus | None = None

    @property
    def whole(self) -> bool:
        """Whether everything that was ever mirrored is there."""
        files = self.files
        wrong = self.damaged_count or files.missing_count or files.altered_count
        return not wrong and files.unreachable is None

    def add(self, finding: Finding) -> None:
        """Count a finding, unless it was met before."""
        if finding in self.damaged:
            return
        self.damaged_count += finding.count or 1
        if len(self.damaged) < LISTED:
            self.damaged.append(finding)

    def to_json(self) -> Report:
        """The report for scripts."""
        return {
            "whole": self.whole,
            "records": self.records,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "resumed_at": self.resumed_at,
            "damaged": self.damaged_count,
            "damages": [asdict(finding) for finding in self.damaged],
            "set_aside": [asdict(aside) for aside in self.set_aside],
            "files": asdict(self.files) | {"too_many": self.files.too_many},
            "carried": self.carried,
            "kept": self.kept,
            "totals": _totals(self.status) if self.status is not None else None,
        }


def _totals(status: IndexStatus) -> Report:
    return {
        "packages": dict(status.packages),
        "versions": status.versions,
        "tarballs": status.tarballs,
        "tarball_bytes": status.tarball_bytes,
        "revisions": status.revisions,
        "events": status.events,
    }
