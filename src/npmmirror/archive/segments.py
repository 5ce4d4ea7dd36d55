"""The segment files of the capture log, and records read from them by their place."""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from npmmirror.archive.errors import disk_faults
from npmmirror.archive.framing import (
    FRAME_BYTES,
    SEGMENT_HEADER_BYTES,
    Frame,
    SegmentHeader,
    header_hash,
    record_crc,
    unpack_frame,
    unpack_header,
)
from npmmirror.capture import Location, Record

_NAME = re.compile(r"([0-9]{6,})\.log")
_OPEN_AT_ONCE = 32


def segment_path(directory: Path, number: int) -> Path:
    """Where a segment lies."""
    return directory / f"{number:06}.log"


@dataclass(frozen=True, slots=True)
class Found:
    """A record whose checksum is right, with what the chain needs of it."""

    record: Record
    prev: str
    frame: Frame
    stored: memoryview

    @property
    def end(self) -> Location:
        """Where the next record of the segment starts."""
        place = self.record.place
        return Location(place.segment, place.offset + self.frame.length)


class Segment:
    """A segment open for reading, by many threads at once. It may grow meanwhile."""

    def __init__(self, number: int, fd: int) -> None:
        self.number = number
        self._fd = fd

    def __del__(self) -> None:
        # Closed with the last reader's reference: a descriptor closed under a reader could
        # already be another file's.
        os.close(self._fd)

    @property
    def size(self) -> int:
        """The bytes that are there now."""
        return os.fstat(self._fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        """These bytes; fewer only where the file ends."""
        data = os.pread(self._fd, length, offset)
        if len(data) in {0, length}:
            return data
        return data + self.read(offset + len(data), length - len(data))

    def header(self) -> SegmentHeader:
        """What the segment says of itself.

        Raises:
            ValueError: its first bytes are damaged, or another segment's.
        """
        header = SegmentHeader.unpack(self.read(0, SEGMENT_HEADER_BYTES))
        if header.segment != self.number:
            raise ValueError(f"the file is segment {header.segment}")
        return header

    def find(self, offset: int) -> Found:
        """The record at an offset, its checksum compared.

        Raises:
            ValueError: no whole and undamaged record is there; the message tells why.
        """
        start = self.read(offset, FRAME_BYTES)
        frame = unpack_frame(start)
        if offset + frame.length > self.size:
            raise ValueError("the record is cut off")
        rest = memoryview(self.read(offset + FRAME_BYTES, frame.length - FRAME_BYTES))
        header, stored = rest[: frame.header_length], rest[frame.header_length :]
        if record_crc(start, header, stored) != frame.crc:
            raise ValueError("its checksum is wrong")
        head = bytes(header)
        chained = unpack_header(head)
        place = Location(self.number, offset)
        record = chained.record(frame, place, header_hash(head))
        return Found(record, chained.prev, frame, stored)


class Segments:
    """All segments of a log; a few stay open."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._cached = lru_cache(_OPEN_AT_ONCE)(self._open)

    def numbers(self) -> list[int]:
        """The segments that are there, ascending, those that are still empty left out."""
        with disk_faults(self.directory):
            try:
                entries = list(os.scandir(self.directory))
            except FileNotFoundError:
                return []
            matches = ((_NAME.fullmatch(entry.name), entry) for entry in entries)
            return sorted(int(m[1]) for m, entry in matches if m and entry.stat().st_size)

    def exists(self, number: int) -> bool:
        """Whether a segment was begun."""
        try:
            return segment_path(self.directory, number).stat().st_size > 0
        except FileNotFoundError:
            return False

    def open(self, number: int) -> Segment:
        """A segment to read.

        Raises:
            FileNotFoundError: there is none of this number.
        """
        return self._cached(number)

    def close(self) -> None:
        """Let go of the files that no thread reads just now."""
        self._cached.cache_clear()

    def _open(self, number: int) -> Segment:
        flags = os.O_RDONLY | os.O_CLOEXEC
        return Segment(number, os.open(segment_path(self.directory, number), flags))
