"""Which moment of the past is meant: read from the words of an address or a command line. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from npmmirror.clock import timestamp

SEQ: Final = "seq:"
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)
_ORDINAL: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_SHOWN: Final = 60
_FORMS: Final = "write it as 2026-11-20T10:00:00Z, or seq: and the number of a record"


@dataclass(frozen=True, slots=True)
class AtTime:
    """A time, as `npmmirror.clock.timestamp` writes it."""

    at: str


@dataclass(frozen=True, slots=True)
class AtOrdinal:
    """The moment at which the capture log had this record, and none behind it."""

    ordinal: int


When = AtTime | AtOrdinal


def parse_when(text: str) -> When:
    """What `2026-11-20T10:00:00Z` or `seq:1234` means.

    A time has a zone: `Z` or an offset. What is finer than a microsecond is cut off. A date alone
    is its first moment in UTC.

    Raises:
        ValueError: in a sentence for whoever wrote it.
    """
    text = text.strip()
    if text[: len(SEQ)].lower() == SEQ:
        return _ordinal(text)
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:_SHOWN]!r} is no time: {_FORMS}")
    date, clock, zone = match.groups()
    if clock is not None and zone is None:
        raise ValueError(f"{text!r} has no zone: write Z behind it for UTC, or an offset as +01:00")
    return AtTime(_utc(text, date, clock or "00:00", zone or "Z"))


def _ordinal(text: str) -> AtOrdinal:
    digits = text[len(SEQ) :]
    if not _ORDINAL.fullmatch(digits) or int(digits) < 1:
        raise ValueError(
            f"{text[:_SHOWN]!r} names no record: write seq: and its number, from 1 on, as seq:1234"
        )
    return AtOrdinal(int(digits))


def _utc(text: str, date: str, clock: str, zone: str) -> str:
    try:
        read = datetime.fromisoformat(f"{date}T{clock}{zone.upper()}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"there is no such time as {text!r}: {_FORMS}") from error
    return f"{read.year:04}{timestamp(read)[-23:]}"  # strftime leaves out zeros of early years


@dataclass(frozen=True, slots=True)
class Bound:
    """A moment that is past: what records up to this one told. What it tells never changes.

    `committed_at` is the time of the first mark that is not before that record.
    """

    ordinal: int
    committed_at: str


@dataclass(frozen=True, slots=True)
class Outside:
    """A moment of which nothing can be told: before the first capture, or not past yet.

    `captured_at` is the time of the mark behind the first captured document, None where there is
    none. `last` is the newest mark, None where there is none.
    """

    asked: When
    captured_at: str | None
    last: Bound | None

    @property
    def sentence(self) -> str:
        """Why, for whoever asked."""
        if self.captured_at is None or self.last is None:
            return "the mirror has captured nothing yet"
        if isinstance(self.asked, AtTime):
            return self._of_time(self.asked.at, self.last)
        if self.asked.ordinal > self.last.ordinal:
            return f"the mirror has no record {self.asked.ordinal} yet: its last is {self.last.ordinal}"
        return f"record {self.asked.ordinal} is before the mirror's first capture"

    def _of_time(self, at: str, last: Bound) -> str:
        if at < last.committed_at:
            return f"{at} is before the mirror's first capture, which was at {self.captured_at}"
        return (
            f"the mirror cannot tell of {at} yet: its last commit was at {last.committed_at}, and the "
            f"next may be of that time; take a time before that, or {SEQ}{last.ordinal} for what it "
            f"knows now"
        )
