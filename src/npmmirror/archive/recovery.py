"""Opening a log that was left by a kill: where it ends, and what has to be put aside.

A group of records is synced before the next one is written. So what is broken in the last
group may be the trace of a kill or of lost power, and was promised to nobody. Broken bytes with
a finished group behind them were written and synced: those are damage, and stay where they are.
"""

import itertools
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from npmmirror.archive.damage import Damage, Link
from npmmirror.archive.disk import sync_directory, sync_file
from npmmirror.archive.errors import disk_faults
from npmmirror.archive.framing import NO_HASH, SEGMENT_HEADER_BYTES
from npmmirror.archive.scan import header_damage, scan_segment
from npmmirror.archive.segments import Found, Segment, Segments, segment_path
from npmmirror.capture import Kind, Location
from npmmirror.failpoints import reach

DAMAGED = "damaged"
"""The directory beside the segments that invalid tails are moved to."""


NOWHERE = Location(0, 0)
"""The end of a log without any segment."""


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of the log: its last record, and where the next one goes.

    `hash` is that of the last record's header. `mark` and `mark_at` are ordinal and time of the
    last mark (0 and "" where there is none).
    """

    ordinal: int = 0
    hash: str = NO_HASH
    end: Location = NOWHERE
    mark: int = 0
    mark_at: str = ""

    def advanced(self, kind: Kind, at: str, header_hash: str, end: Location) -> "Tip":
        """The tip behind one more record."""
        ordinal = self.ordinal + 1
        if kind is Kind.MARK:
            return Tip(ordinal, header_hash, end, ordinal, at)
        return Tip(ordinal, header_hash, end, self.mark, self.mark_at)


@dataclass(frozen=True, slots=True)
class SetAside:
    """Bytes that were moved out of a segment, for they are no complete records."""

    segment: int
    offset: int
    length: int
    path: Path


@dataclass(frozen=True, slots=True)
class Recovered:
    """What opening found. `damages` are in the last segment, amid records that are sound."""

    tip: Tip
    set_aside: tuple[SetAside, ...]
    damages: tuple[Damage, ...]


def recover(directory: Path, committed: Location | None) -> Recovered:
    """Find the end of the log, and move an invalid tail of its last segment aside.

    `committed` is the last mark that the index knows: the search begins there, and nothing up to
    there is moved. What is kept is durable on return.

    Raises:
        DiskFaultError: the log cannot be read, or the tail not be moved.
    """
    with disk_faults(directory):
        segments = Segments(directory)
        aside: list[SetAside] = []
        for number in reversed(segments.numbers()):
            here = committed if committed and committed.segment == number else None
            walk = _Walk(segments.open(number), here)
            cut = walk.tip.end.offset if walk.tip else 0
            if cut < segments.open(number).size:
                aside.append(_move_tail(directory, number, cut))
            if walk.tip:
                sync_file(segment_path(directory, number))
                sync_directory(directory)
                return Recovered(walk.tip, tuple(aside), tuple(walk.damages))
        return Recovered(Tip(), tuple(aside), ())


@dataclass(slots=True)
class _Doubt:
    """Damage that may be a torn group: cut off at `tip` unless a finished group follows."""

    damage: Damage
    tip: Tip | None
    marked: bool = False


class _Walk:
    """The last segment from its last committed mark on; `tip` is None if nothing is sound."""

    def __init__(self, segment: Segment, committed: Location | None) -> None:
        self.tip: Tip | None = None
        self.damages: list[Damage] = []
        self._doubts: list[_Doubt] = []
        self._go_through(segment, self._start(segment, committed))

    def _go_through(self, segment: Segment, start: int) -> None:
        link = Link(self.tip.ordinal, self.tip.hash) if self.tip else None
        for item, _ in scan_segment(segment, start, link, None):
            if isinstance(item, Damage):
                self._doubt(item)
            else:
                self._follow(item)
        if self._doubts:
            self.tip = self._doubts[0].tip

    def _start(self, segment: Segment, committed: Location | None) -> int:
        """Begin behind the committed mark, else behind the segment's own header."""
        mark = _mark_at(segment, committed)
        if mark is not None:
            self._go_behind(mark)
            return mark.end.offset
        try:
            said = segment.header()
        except ValueError as error:
            self._doubt(header_damage(segment, str(error)))
        else:
            end = Location(segment.number, SEGMENT_HEADER_BYTES)
            self.tip = Tip(said.first - 1, said.prev, end, said.mark, said.mark_at)
        return SEGMENT_HEADER_BYTES

    def _doubt(self, damage: Damage) -> None:
        self._doubts.append(_Doubt(damage, self.tip))

    def _follow(self, found: Found) -> None:
        """Go past a sound record; one behind a mark proves that what is before it was synced."""
        self.damages += [doubt.damage for doubt in self._doubts if doubt.marked]
        self._doubts = [doubt for doubt in self._doubts if not doubt.marked]
        if found.record.kind is Kind.MARK:
            for doubt in self._doubts:
                doubt.marked = True
        self._go_behind(found)

    def _go_behind(self, found: Found) -> None:
        record = found.record
        before = replace(self.tip or Tip(), ordinal=record.ordinal - 1)
        self.tip = before.advanced(record.kind, record.at, record.hash, found.end)


def _mark_at(segment: Segment, place: Location | None) -> Found | None:
    if place is None:
        return None
    try:
        found = segment.find(place.offset)
    except ValueError:
        return None
    return found if found.record.kind is Kind.MARK else None


def _move_tail(directory: Path, number: int, offset: int) -> SetAside:
    """Copy what lies behind an offset to a file of its own, then cut it off."""
    path = segment_path(directory, number)
    kept = directory / DAMAGED
    kept.mkdir(exist_ok=True)
    target = _free_name(kept, f"{number:06}-{offset}")
    part = target.with_suffix(".part")
    with path.open("rb") as source, part.open("wb") as copy:
        source.seek(offset)
        shutil.copyfileobj(source, copy)
        copy.flush()
        os.fsync(copy.fileno())
        length = copy.tell()
    reach("recovery.tail_copied")
    part.rename(target)
    sync_directory(kept)
    sync_directory(directory)
    reach("recovery.tail_named")
    os.truncate(path, offset)
    sync_file(path)
    reach("recovery.tail_cut")
    return SetAside(number, offset, length, target)


def _free_name(directory: Path, stem: str) -> Path:
    names = (f"{stem}.bin" if turn == 1 else f"{stem}-{turn}.bin" for turn in itertools.count(1))
    return next(path for name in names if not (path := directory / name).exists())
