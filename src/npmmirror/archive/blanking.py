"""Blanking documents in closed segments: the one exception to "closed segments never change".

Only `npmmirror erase` asks for it. A record keeps its length, its header and with it its place in
the chain; its payload becomes zeros, its frame says so. What is to be blanked is first written to
a file beside the segments: a kill in between is made good whenever the log is opened for writing,
so that no record is ever found half blanked.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from npmmirror.archive.disk import sync_directory, write_at
from npmmirror.archive.errors import CaptureDamagedError, disk_faults
from npmmirror.archive.framing import FRAME_BYTES, Encoding, pack_frame, unpack_frame
from npmmirror.archive.segments import Segment, Segments, segment_path
from npmmirror.capture import Location

BLANKING = "blanking.json"
"""What is being blanked just now; there only while it is, or after a kill."""


@dataclass(frozen=True, slots=True)
class _Blank:
    """A record's frame as it will be, and the hash of its header, which stays as it is."""

    segment: int
    offset: int
    frame: bytes
    header: str


def blank(directory: Path, places: Iterable[Location]) -> None:
    """Blank the documents of these records; durable on return.

    Those that are blank already stay as they are. A failed call may be repeated.

    Raises:
        CaptureDamagedError: a record is not what was written; nothing was blanked.
        DiskFaultError: the disk refuses; what was not blanked will be when the log is opened.
    """
    with disk_faults(directory):
        segments = Segments(directory)
        blanks = [
            found for place in sorted(places, key=_order) if (found := _plan(segments, place))
        ]
        if blanks:
            _write_plan(directory, blanks)
            _carry_out(directory, blanks)


def finish(directory: Path) -> int:
    """Blank what a kill left to be blanked; how many records that were.

    Raises:
        DiskFaultError: the disk refuses.
    """
    with disk_faults(directory):
        # Without its final name a plan was not begun with, and may be half written.
        directory.joinpath(f"{BLANKING}.part").unlink(missing_ok=True)
        blanks = _read_plan(directory)
        if blanks:
            _carry_out(directory, blanks)
        return len(blanks)


def _order(place: Location) -> tuple[int, int]:
    return place.segment, place.offset


def _plan(segments: Segments, place: Location) -> _Blank | None:
    """How a record is to be blanked; None where it is, or has no document."""
    try:
        found = segments.open(place.segment).find(place.offset)
    except (ValueError, FileNotFoundError) as error:
        raise CaptureDamagedError(place.segment, place.offset, None, None, str(error)) from error
    if found.frame.encoding in {Encoding.NONE, Encoding.ERASED}:
        return None
    header = _header(segments.open(place.segment), place.offset, found.frame.header_length)
    zeros = bytes(found.frame.stored_length)
    frame = pack_frame(header, zeros, Encoding.ERASED, found.frame.number, found.frame.base)
    return _Blank(place.segment, place.offset, frame, hashlib.sha256(header).hexdigest())


def _header(segment: Segment, offset: int, length: int) -> bytes:
    return segment.read(offset + FRAME_BYTES, length)


def _write_plan(directory: Path, blanks: Sequence[_Blank]) -> None:
    said = [[one.segment, one.offset, one.frame.hex(), one.header] for one in blanks]
    part = directory / f"{BLANKING}.part"
    with part.open("w", encoding="ascii") as file:
        json.dump(said, file)
        file.flush()
        os.fsync(file.fileno())
    part.rename(directory / BLANKING)
    sync_directory(directory)


def _read_plan(directory: Path) -> list[_Blank]:
    try:
        said: list[list[Any]] = json.loads((directory / BLANKING).read_text("ascii"))
    except FileNotFoundError:
        return []
    return [
        _Blank(segment, offset, bytes.fromhex(frame), header)
        for segment, offset, frame, header in said
    ]


def _carry_out(directory: Path, blanks: Sequence[_Blank]) -> None:
    for number, those in groupby(blanks, key=lambda one: one.segment):
        _blank_segment(segment_path(directory, number), list(those))
    (directory / BLANKING).unlink()
    sync_directory(directory)


def _blank_segment(path: Path, blanks: Sequence[_Blank]) -> None:
    """Blank records of one segment. One that the plan does not fit is another log's: left alone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        for one in blanks:
            frame = unpack_frame(one.frame)
            start = one.offset + FRAME_BYTES
            header = os.pread(fd, frame.header_length, start)
            if hashlib.sha256(header).hexdigest() != one.header:
                continue
            room = os.fstat(fd).st_size - start - frame.header_length
            zeros = bytes(min(frame.stored_length, room))  # a copy of the log may be cut off there
            write_at(fd, [zeros], start + frame.header_length)
            write_at(fd, [one.frame], one.offset)
        os.fdatasync(fd)
    finally:
        os.close(fd)
