"""The records of a capture log and where each one ends."""

from collections.abc import Sequence
from pathlib import Path

from npmmirror.archive import CaptureReader, Damage
from npmmirror.capture import Record


def records(data_dir: Path) -> list[Record]:
    """All sound records."""
    with CaptureReader(data_dir / "captures") as captures:
        return [record for record in captures.scan() if not isinstance(record, Damage)]


def ends(records: Sequence[Record], data_dir: Path) -> dict[int, int]:
    """By ordinal, the offset in its segment at which each record ends."""
    found = {}
    for record, following in zip(records, [*records[1:], None], strict=True):
        if following is not None and following.place.segment == record.place.segment:
            found[record.ordinal] = following.place.offset
        else:
            segment = data_dir / "captures" / f"{record.place.segment:06}.log"
            found[record.ordinal] = segment.stat().st_size
    return found
