"""Walking through the log in order, holding each record against the chain."""

from collections.abc import Iterator
from dataclasses import replace

from npmmirror.archive.damage import Damage, Link, Next, assess, next_at
from npmmirror.archive.framing import NO_HASH, SEGMENT_HEADER_BYTES
from npmmirror.archive.segments import Found, Segment, Segments

START = Link(0, NO_HASH)
"""What the first record of a log is held against."""


def scan_log(
    segments: Segments, number: int, offset: int, link: Link | None
) -> Iterator[Found | Damage]:
    """Everything from a place on, over all segments that follow.

    Ends at the end of the log as it is then; a later scan from the last record found goes on.
    """
    while True:
        # Looked for before the segment's size is: the writer begins the next segment only when
        # this one is finished.
        more = segments.exists(number + 1)
        following = next_segment(segments, number + 1) if more else None
        if offset == 0:
            checked, link = check_header(segments.open(number), link)
            yield from checked
            offset = SEGMENT_HEADER_BYTES
        for item, after in scan_segment(segments.open(number), offset, link, following):
            link = after
            yield replace(item, tail=False) if more and isinstance(item, Damage) else item
        number, offset = number + 1, 0
        if not more:
            later = [there for there in segments.numbers() if there >= number]
            if not later:
                return
            if later[0] > number:
                yield missing(number, link)
                number, link = later[0], None


def check_header(segment: Segment, link: Link | None) -> tuple[list[Damage], Link | None]:
    """Hold a segment's own header against the chain; what the first record is held against."""
    try:
        header = segment.header()
    except ValueError as error:
        return [header_damage(segment, str(error))], link
    said = Link(header.first - 1, header.prev)
    if link is None or (link.ordinal == said.ordinal and link.hash in {None, said.hash}):
        return [], said
    reason = f"the segment follows record {said.ordinal}, the one before ends with {link.ordinal}"
    return [header_damage(segment, reason)], link


def scan_segment(
    segment: Segment, offset: int, link: Link | None, following: Next | None
) -> Iterator[tuple[Found | Damage, Link | None]]:
    """The records of one segment, each with the link behind it.

    `following` is what the next segment says of this one's end; None for the last segment.
    """
    while offset < segment.size:
        try:
            found = segment.find(offset)
        except ValueError as error:
            damage, link = assess(segment, offset, str(error), link, following)
            yield damage, link
            offset = damage.end
            continue
        record = found.record
        broken = _break(found, link)
        link = Link(record.ordinal, record.hash, record.name, record.place)
        if broken is not None:
            yield broken, link
        yield found, link
        offset = found.end.offset


def _break(found: Found, link: Link | None) -> Damage | None:
    """Where a sound record does not follow the one before it."""
    record, place = found.record, found.record.place
    if link is None or (record.ordinal == link.ordinal + 1 and link.hash in {None, found.prev}):
        return None
    if record.ordinal == link.ordinal + 1:
        reason = f"record {record.ordinal} vouches for another header than the one that is there"
        at = link.place or place
        return Damage(at.segment, at.offset, at.offset, link.ordinal, 1, link.name, reason)
    lost = record.ordinal - link.ordinal - 1
    reason = f"record {record.ordinal} follows record {link.ordinal}"
    return Damage(
        place.segment, place.offset, place.offset, link.ordinal + 1, max(lost, 0), None, reason
    )


def next_segment(segments: Segments, number: int) -> Next | None:
    """What a segment says of the end of the one before it; None where it tells nothing."""
    if not segments.exists(number):
        return None
    segment = segments.open(number)
    try:
        header = segment.header()
    except ValueError:
        return next_at(segment, SEGMENT_HEADER_BYTES)
    return Next(header.first, header.prev)


def missing(number: int, link: Link | None) -> Damage:
    """A segment that is not there, though later ones are."""
    ordinal = link.ordinal + 1 if link else None
    return Damage(number, 0, 0, ordinal, 0, None, "the segment is missing")


def header_damage(segment: Segment, reason: str) -> Damage:
    """Something wrong with a segment's own header."""
    return Damage(segment.number, 0, SEGMENT_HEADER_BYTES, None, 0, None, reason)
