"""Reading the capture log, from any process and at any time."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from npmmirror.archive.damage import Damage, Link, assess
from npmmirror.archive.deltas import MAX_FRAMES, decode, prefix_of
from npmmirror.archive.errors import CaptureDamagedError, ErasedError, disk_faults
from npmmirror.archive.framing import NO_HASH, SEGMENT_HEADER_BYTES, Encoding
from npmmirror.archive.scan import missing, next_segment, scan_log
from npmmirror.archive.segments import Found, Segments
from npmmirror.capture import Location, Record


class CaptureReader:
    """Records and documents by their place, and the whole log in order.

    Many threads may use one reader. `frames_read` counts the frames that documents were read
    from.
    """

    def __init__(self, directory: Path) -> None:
        self._segments = Segments(directory)
        self.frames_read = 0

    def record(self, place: Location) -> Record:
        """The record at a place, its checksum compared.

        Raises:
            CaptureDamagedError: it is not there, or not what was written.
        """
        return self._find(place).record

    def document(self, place: Location) -> bytes:
        """The raw document of a record, its SHA-256 compared; reads eight frames at most.

        Raises:
            CaptureDamagedError: it, or a revision that it is a delta of, is damaged.
            ErasedError: it, or a revision that it is a delta of, was blanked.
            LookupError: the record has no document.
        """
        frames = self._frames(place)
        target = frames[0].record
        document = b""
        for found in reversed(frames):
            prefix = None if found.frame.base is None else prefix_of(document)
            document = b""  # let go of: large ones must not pile up
            try:
                document = decode(found.stored, _length(found), prefix)
            except ValueError as error:
                raise _wrong(found.record, str(error)) from error
        if hashlib.sha256(document).hexdigest() != target.sha256:
            raise _wrong(target, "its document has another SHA-256 than its header tells")
        return document

    def scan(self, after: Location | None = None) -> Iterator[Record | Damage]:
        """All records behind a place (None: all there are), in order, the chain held against them.

        Where something is wrong a `Damage` tells what, and the records behind it follow. Documents
        are not decoded. Ends where the log ends just then.

        Raises:
            CaptureDamagedError: `after` is no sound record's place.
            DiskFaultError: a segment cannot be read.
        """
        with disk_faults(self._segments.directory):
            for item in self._scan(after):
                yield item if isinstance(item, Damage) else item.record

    def close(self) -> None:
        """Let go of all files."""
        self._segments.close()

    def __enter__(self) -> Self:
        """The reader itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()

    def _scan(self, after: Location | None) -> Iterator[Found | Damage]:
        if after is not None:
            found = self._find(after)
            link = Link(found.record.ordinal, found.record.hash, found.record.name, after)
            yield from scan_log(self._segments, after.segment, found.end.offset, link)
            return
        numbers = self._segments.numbers()
        if not numbers:
            return
        if numbers[0] != 1:
            yield missing(1, Link(0, NO_HASH))
            yield from scan_log(self._segments, numbers[0], 0, None)
        else:
            yield from scan_log(self._segments, 1, 0, Link(0, NO_HASH))

    def _frames(self, place: Location) -> list[Found]:
        """The frames of a document, its own first and the whole one last."""
        frames: list[Found] = []
        step: Location | None = place
        while step is not None:
            found = self._find(step)
            _check_readable(found, wanted=not frames)
            if len(frames) == MAX_FRAMES:
                raise _wrong(frames[0].record, f"it takes more than {MAX_FRAMES} frames to read")
            frames.append(found)
            step = found.frame.base
        self.frames_read += len(frames)
        return frames

    def _find(self, place: Location) -> Found:
        try:
            with disk_faults(self._segments.directory):
                return self._segments.open(place.segment).find(place.offset)
        except FileNotFoundError as error:
            raise _lost(place, "the segment is missing") from error
        except ValueError as error:
            raise self._diagnosed(place, str(error)) from error

    def _diagnosed(self, place: Location, reason: str) -> CaptureDamagedError:
        segment = self._segments.open(place.segment)
        if not SEGMENT_HEADER_BYTES <= place.offset < segment.size:
            return _lost(place, "no record is there")
        following = next_segment(self._segments, place.segment + 1)
        damage, _ = assess(segment, place.offset, reason, None, following)
        return damage.error()


def _check_readable(found: Found, *, wanted: bool) -> None:
    record = found.record
    if found.frame.encoding is Encoding.ERASED:
        which = "" if wanted else ", which another revision is a delta of,"
        raise ErasedError(f"Record {record.ordinal} ({record.name}){which} was erased.")
    if found.frame.encoding is Encoding.NONE:
        raise LookupError(f"record {record.ordinal} ({record.kind}) has no document")


def _length(found: Found) -> int:
    if found.record.length is None:
        raise _wrong(found.record, "its header tells no length of a document")
    return found.record.length


def _wrong(record: Record, reason: str) -> CaptureDamagedError:
    place = record.place
    return CaptureDamagedError(place.segment, place.offset, record.ordinal, record.name, reason)


def _lost(place: Location, reason: str) -> CaptureDamagedError:
    return CaptureDamagedError(place.segment, place.offset, None, None, reason)
