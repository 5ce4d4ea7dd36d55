"""Times and durations as people read them."""

from datetime import UTC, datetime

import pytest

from npmmirror.cli.times import Times, duration

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "near", "exact"),
    [
        (None, "unknown", "unknown"),
        ("2026-11-20T09:59:58.026000Z", "2 s ago", "2026-11-20T09:59:58Z"),
        ("2026-11-20T09:57:00Z", "3 min ago", "2026-11-20T09:57:00Z"),
        ("2026-11-20T03:00:00Z", "7 h ago", "2026-11-20T03:00:00Z"),
        ("2026-11-08T03:00:00Z", "12 d ago", "2026-11-08T03:00:00Z"),
        ("2024-09-05T02:40:51.026000+02:00", "2024-09-05", "2024-09-05T00:40:51Z"),
        ("2014-03-25T22:09:46", "2014-03-25", "2014-03-25T22:09:46Z"),
        ("2026-11-20T10:00:25Z", "in 25 s", "2026-11-20T10:00:25Z"),
        ("2026-11-20T14:00:00Z", "in 4 h", "2026-11-20T14:00:00Z"),
        ("last \x1b[31mtuesday", "last \\x1b[31mtuesday", "last \\x1b[31mtuesday"),
    ],
)
def test_a_time_by_its_distance_or_by_the_clock(told: str | None, near: str, exact: str) -> None:
    """In UTC where it can be read, else as the document spells it."""
    assert Times(now=NOW).tell(told) == near
    assert Times(utc=True, now=NOW).tell(told) == exact


def test_what_is_due_is_due_now() -> None:
    """A next try that nobody made in time is no thing of the past."""
    times = Times(now=NOW)
    assert times.due("2026-11-20T09:00:00Z") == "now"
    assert times.due("2026-11-20T10:30:00Z") == "in 30 min"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (303, "5 min 03 s"),
        (7261, "2 h 01 min"),
        (356400, "4 d 3 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, told: str) -> None:
    """Rounded to whole seconds."""
    assert duration(seconds) == told
