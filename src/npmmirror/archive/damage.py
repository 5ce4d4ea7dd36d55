"""Finding out what is wrong with a segment at a place, and which record it was."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from npmmirror.archive.errors import CaptureDamagedError
from npmmirror.archive.framing import (
    FRAME_BYTES,
    MAGIC,
    ChainedHeader,
    header_hash,
    unpack_frame,
    unpack_header,
)
from npmmirror.archive.segments import Segment
from npmmirror.capture import Location

_SEARCH_BYTES = 1 << 20
_READABLE_BYTES = 64 * 1024
_REPAIRABLE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Damage:
    """A part of a segment that is not what was written.

    From `offset` to `end` in the file lie `count` records, `ordinal` the first of them (None:
    unknown; a segment's own header has none). `name` is the package of the first, told only
    where the chain or the record's own header vouches for it. `tail` tells that nothing sound
    follows in the whole log: it may be the trace of a kill, or a record that is just being
    written.
    """

    segment: int
    offset: int
    end: int
    ordinal: int | None
    count: int
    name: str | None
    reason: str
    tail: bool = False

    def error(self) -> CaptureDamagedError:
        """The same, to raise."""
        return CaptureDamagedError(self.segment, self.offset, self.ordinal, self.name, self.reason)


@dataclass(frozen=True, slots=True)
class Link:
    """The end of the chain so far. `hash` is None behind a header that could not be read."""

    ordinal: int
    hash: str | None
    name: str | None = None
    place: Location | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """What the record behind a damage says: its ordinal, and the hash of the header before it."""

    ordinal: int
    prev: str


def assess(
    segment: Segment, offset: int, reason: str, before: Link | None, following: Next | None
) -> tuple[Damage, Link | None]:
    """Name the damage at an offset, and the link that the record behind it is held against.

    `before` is the record in front of it where it is known, `following` the first one of the next
    segment where there is one.
    """
    end = _claimed_end(segment, offset) or _search(segment, offset, before)
    following = next_at(segment, end) or (following if end == segment.size else None)
    known = before.ordinal + 1 if before else None
    ordinal, count = _ordinals(known, following)
    header = _header(segment, offset, end, before, following) if count == 1 else None
    if ordinal is None and header is not None:
        ordinal = header.ordinal
    name = header.name if header else None
    tail = following is None and end == segment.size
    damage = Damage(segment.number, offset, end, ordinal, count, name, reason, tail)
    if ordinal is None:
        return damage, None
    return damage, Link(ordinal + count - 1, following.prev if following else None)


def _ordinals(known: int | None, following: Next | None) -> tuple[int | None, int]:
    """The first ordinal that a damage holds, and how many."""
    if following is None:
        return known, 1
    if known is None:
        return following.ordinal - 1, 1
    return known, max(following.ordinal - known, 0)


def _claimed_end(segment: Segment, offset: int) -> int | None:
    """Where the damaged record ends by its own frame, if another begins there."""
    try:
        end = offset + unpack_frame(segment.read(offset, FRAME_BYTES)).length
        if end != segment.size:
            unpack_frame(segment.read(end, FRAME_BYTES))
    except ValueError:
        return None
    return end


def _search(segment: Segment, offset: int, before: Link | None) -> int:
    """Where the next sound record begins; the end of the file where there is none.

    A document may hold bytes that look like a record. They cannot vouch for the header of the
    record that they lie in, for that holds the document's hash: so where the header can be read,
    the record that vouches for it is the next one.
    """
    headers = _spellings(segment, offset, segment.size)
    vouched = {header_hash(text) for text in headers if _fits(text, before)}
    least = before.ordinal + 1 if before else 1
    fallback = segment.size
    for place, following in _candidates(segment, offset + 1):
        if not least <= following.ordinal <= least + (segment.size - offset) // FRAME_BYTES:
            continue
        if not vouched or following.prev in vouched:
            return place
        fallback = min(fallback, place)
    return fallback


def _candidates(segment: Segment, start: int) -> Iterator[tuple[int, Next]]:
    """Whatever looks like a sound record from an offset on."""
    while start < segment.size:
        window = segment.read(start, _SEARCH_BYTES + len(MAGIC) - 1)
        at = window.find(MAGIC)
        while at >= 0:
            following = next_at(segment, start + at)
            if following is not None:
                yield start + at, following
            at = window.find(MAGIC, at + 1)
        start += _SEARCH_BYTES


def next_at(segment: Segment, offset: int) -> Next | None:
    """What a sound record at this offset says; None where there is none."""
    try:
        found = segment.find(offset)
    except ValueError:
        return None
    return Next(found.record.ordinal, found.prev)


def _header(
    segment: Segment, offset: int, end: int, before: Link | None, following: Next | None
) -> ChainedHeader | None:
    """The header of the one damaged record, where something vouches for it."""
    spellings = _spellings(segment, offset, end)
    if following is None:
        return next((read for text in spellings if (read := _fits(text, before))), None)
    for text in spellings:
        mended = _mended(text, following.prev)
        if mended is not None:
            with suppress(ValueError):  # what the chain vouches for may be no header all the same
                return unpack_header(mended)
    return None


def _spellings(segment: Segment, offset: int, end: int) -> list[bytes]:
    """The header's bytes, by the frame's length and by where its JSON ends."""
    length = max(end - offset - FRAME_BYTES, 0)
    text = segment.read(offset + FRAME_BYTES, min(length, _READABLE_BYTES))
    lengths = []
    with suppress(ValueError):
        lengths.append(unpack_frame(segment.read(offset, FRAME_BYTES)).header_length)
    with suppress(ValueError):
        lengths.append(json.JSONDecoder().raw_decode(text.decode("latin-1"))[1])
    return [text[:length] for length in dict.fromkeys(lengths)]


def _fits(text: bytes, before: Link | None) -> ChainedHeader | None:
    try:
        read = unpack_header(text)
    except ValueError:
        return None
    if before is None:
        return read
    fits = read.ordinal == before.ordinal + 1 and before.hash in {None, read.prev}
    return read if fits else None


def _mended(text: bytes, wanted: str) -> bytes | None:
    """The header with this hash: the bytes as they are, or with one bit put right."""
    if header_hash(text) == wanted:
        return text
    digest = bytes.fromhex(wanted)
    trial = bytearray(text)
    for place in range(len(trial) if len(trial) <= _REPAIRABLE_BYTES else 0):
        for bit in range(8):
            trial[place] ^= 1 << bit
            if hashlib.sha256(trial).digest() == digest:
                return bytes(trial)
            trial[place] ^= 1 << bit
    return None
