"""The words by which a moment of the past is named."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from npmmirror.clock import timestamp
from npmmirror.past import AtOrdinal, AtTime, Bound, Outside, When, parse_when


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-20T10:00:00Z", AtTime("2026-11-20T10:00:00.000000Z")),
        ("2026-11-20t10:00z", AtTime("2026-11-20T10:00:00.000000Z")),
        (" 2026-11-20T10:00:00.5Z ", AtTime("2026-11-20T10:00:00.500000Z")),
        ("2026-11-20T10:00:00.1234567Z", AtTime("2026-11-20T10:00:00.123456Z")),
        ("2026-11-20T10:00:00,25+01:00", AtTime("2026-11-20T09:00:00.250000Z")),
        ("2026-11-20T10:00:00-0130", AtTime("2026-11-20T11:30:00.000000Z")),
        ("2026-11-20T23:30+05", AtTime("2026-11-20T18:30:00.000000Z")),
        ("2026-11-20", AtTime("2026-11-20T00:00:00.000000Z")),
        ("0999-01-01", AtTime("0999-01-01T00:00:00.000000Z")),
        ("seq:1234", AtOrdinal(1234)),
        ("SEQ:007", AtOrdinal(7)),
    ],
)
def test_a_moment_is_read(text: str, meant: When) -> None:
    """ISO 8601 with a zone, a date, or the number of a record; finer than microseconds is cut."""
    assert parse_when(text) == meant


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("2026-11-20T10:00:00", "has no zone"),
        ("2026-02-30", "no such time"),
        ("2026-11-20T25:00Z", "no such time"),
        ("0001-01-01T00:00+14:00", "no such time"),
        ("9999-12-31T23:59-14:00", "no such time"),
        ("yesterday", "is no time"),
        ("", "is no time"),
        ("2026-11-20T10:00:00Z/..", "is no time"),
        ("\uff12\uff10\uff12\uff16-11-20", "is no time"),
        ("seq:", "names no record"),
        ("seq:0", "names no record"),
        ("seq:-1", "names no record"),
        ("seq:\uff11", "names no record"),
        ("seq:" + "9" * 19, "names no record"),
    ],
)
def test_what_is_no_moment_is_one_sentence(text: str, word: str) -> None:
    """Each with what is wrong with it."""
    with pytest.raises(ValueError, match=word):
        parse_when(text)


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+\d\d:\d\d)"))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    """A moment that was read is written so that it reads as itself; nothing else is raised."""
    try:
        meant = parse_when(text)
    except ValueError:
        return
    again = meant.at if isinstance(meant, AtTime) else f"seq:{meant.ordinal}"
    assert parse_when(again) == meant


@given(st.datetimes(min_value=datetime(1000, 1, 2), timezones=st.just(UTC)))  # noqa: DTZ001  hypothesis adds the zone
def test_our_own_timestamps_are_moments(moment: datetime) -> None:
    """What the mirror writes can be asked for."""
    assert parse_when(timestamp(moment)) == AtTime(timestamp(moment))


LAST = Bound(9, "2026-11-20T10:00:00.000000Z")


@pytest.mark.parametrize(
    ("outside", "word"),
    [
        (Outside(AtOrdinal(3), None, None), "has captured nothing yet"),
        (Outside(AtOrdinal(3), None, LAST), "has captured nothing yet"),
        (Outside(AtOrdinal(10), "x", LAST), "has no record 10 yet: its last is 9"),
        (Outside(AtOrdinal(1), "x", LAST), "record 1 is before the mirror's first capture"),
        (Outside(AtTime("2026-11-20T09"), "2026-11-20T09:30", LAST), "at 2026-11-20T09:30"),
        (Outside(AtTime(LAST.committed_at), "x", LAST), "or seq:9 for what it knows now"),
    ],
)
def test_a_moment_that_cannot_be_told_of_says_why(outside: Outside, word: str) -> None:
    """Before the first capture, not past yet, or nothing there at all."""
    assert word in outside.sentence
