"""The window that is read again: where it begins, and when it gets shorter."""

from datetime import UTC, datetime, timedelta

from npmmirror.clock import timestamp
from npmmirror.index import SeenCursor
from npmmirror.pipeline.trail import EVERY_ROWS, MOST_ROWS, SETTLED_ROWS, Trail

START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
MINUTES = 180.0


def at(minutes: float) -> datetime:
    """So many minutes after the start."""
    return START + timedelta(minutes=minutes)


def seen(number: int, minutes: float, rows: int = 0) -> SeenCursor:
    """A place; its cursor is opaque, and says when it was seen."""
    return SeenCursor(number, timestamp(at(minutes)), f"{number}-g", rows)


def test_a_place_a_minute_is_remembered() -> None:
    """Or one where many rows were passed; the rows between two are counted."""
    trail = Trail((), MINUTES)
    first = trail.pass_on(1, 0, at(0))
    assert first == SeenCursor(1, timestamp(at(0)), 1, 0)
    trail.remember(first)
    assert trail.pass_on(2, 5, at(0.5)) is None
    assert trail.pass_on(3, 5, at(1)) == SeenCursor(2, timestamp(at(1)), 3, 10)
    assert trail.pass_on(4, EVERY_ROWS, at(0.6)) is not None


def test_a_clock_that_went_back_stops_nothing() -> None:
    """A place of the future would keep all others away until then."""
    assert Trail([seen(1, 600)], MINUTES).pass_on(2, 1, at(0)) is not None


def test_a_stretch_stays_until_it_was_read_when_it_was_old_enough() -> None:
    """The window begins at the newest place that is old enough, never behind it."""
    trail = Trail([seen(1, 0), seen(2, 10), seen(3, 20)], MINUTES)
    assert trail.settle(at(189)) is None
    assert trail.start == "1-g"
    assert trail.settle(at(195)) == 2
    assert trail.start == "2-g"


def test_an_outage_does_not_shorten_the_window() -> None:
    """What was read just before it is read again behind it, however long it was."""
    trail = Trail([seen(1, 0), seen(2, 170)], MINUTES)
    assert trail.start == "1-g"
    trail.remember(seen(3, 5000))
    assert trail.start == "1-g"
    assert trail.settle(at(5001)) == 2
    assert trail.start == "2-g"


def test_the_window_is_bounded_in_rows() -> None:
    """A first pass may be long, behind an outage of days; later ones are not."""
    many = SETTLED_ROWS // 2 + 1
    trail = Trail([seen(1, 0), seen(2, 1, many), seen(3, 2, many)], MINUTES)
    assert trail.start == "1-g"
    assert trail.settle(at(3)) == 2
    trail.remember(seen(4, 4, MOST_ROWS))
    assert trail.start == "3-g"
    trail.remember(seen(5, 5, MOST_ROWS + 1))
    assert trail.start == "5-g"
