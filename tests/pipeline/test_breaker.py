"""Many removals at once are a fault until a person says otherwise."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from npmmirror.index import IndexReader, IndexUnavailableError
from npmmirror.index.removals import Removals, Standing
from npmmirror.pipeline.breaker import FEWEST, HOUR, Limits, RemovalBreaker, Window
from tests.pipeline.conftest import ManualClock

START = datetime(2026, 11, 22, 8, 0, 30, tzinfo=UTC)


def test_more_than_the_number_are_too_many() -> None:
    """Whatever share of the mirror that is."""
    limits = Limits(packages=500, percent=0)
    assert not limits.are_passed(500, live=10**6)
    assert limits.are_passed(501, live=10**6)


def test_more_than_the_share_are_too_many() -> None:
    """Of the packages that are live."""
    limits = Limits(packages=0, percent=5)
    assert not limits.are_passed(50, live=1000)
    assert limits.are_passed(51, live=1000)


def test_a_few_are_no_share() -> None:
    """A mirror of ten packages may lose one."""
    limits = Limits(packages=0, percent=5)
    assert not limits.are_passed(FEWEST, live=0)
    assert limits.are_passed(FEWEST + 1, live=1)


def test_without_limits_nothing_is_too_much() -> None:
    """0 turns either off."""
    assert not Limits(packages=0, percent=0).are_passed(10**7, live=1)


@given(st.lists(st.floats(0, 600), max_size=60))
def test_the_window_counts_the_last_hour(pauses: list[float]) -> None:
    """All within the hour, none that is older than an hour and a minute."""
    window, now, noted = Window(), START, []
    for pause in pauses:
        now += timedelta(seconds=pause)
        window.note(now)
        noted.append(now)
        within = sum(now - at < HOUR for at in noted)
        nearly = sum(now - at < HOUR + timedelta(minutes=1) for at in noted)
        assert within <= window.count(now) <= nearly


def test_a_clock_that_goes_back_loses_no_count() -> None:
    """What happened before the jump still counts."""
    window = Window()
    window.note(START, 3)
    window.note(START - timedelta(hours=5))
    assert window.count(START) == 4


def test_the_window_begins_anew() -> None:
    """After a decision."""
    window = Window()
    window.note(START, 3)
    window.clear()
    assert window.count(START) == 0


class HeldRows(Removals):
    """So many removals are held, or nobody can tell."""

    def __init__(self) -> None:
        self.count: int | None = 0

    async def standing(self) -> Standing:
        """See `Removals.standing`."""
        held, _ = await self.tripped()
        return Standing(int(held), None, 100, None)

    async def tripped(self) -> tuple[bool, int]:
        """See `Removals.tripped`."""
        if self.count is None:
            raise IndexUnavailableError("the disk does not answer")
        return self.count > 0, 100


class Index(IndexReader):
    """An index with such rows alone."""

    def __init__(self) -> None:
        self.removals = self.rows = HeldRows()


@pytest.mark.anyio
async def test_what_was_committed_behind_the_last_look_is_seen_by_the_next(
    clock: ManualClock,
) -> None:
    """A decision may come between the judgement of one more removal and its commit."""
    index = Index()
    breaker = RemovalBreaker(Limits(5, 0), index, clock)
    assert await breaker.decided() == 0
    index.rows.count = 1
    await breaker.refresh()
    assert breaker.tripped


@pytest.mark.anyio
async def test_an_index_that_cannot_be_read_ends_nobody(clock: ManualClock) -> None:
    """The look that the daemon takes every so often is taken again."""
    index = Index()
    breaker = RemovalBreaker(Limits(5, 0), index, clock)
    index.rows.count = 1
    await breaker.refresh()
    index.rows.count = None
    await breaker.refresh()
    assert breaker.tripped
    index.rows.count = 0
    await breaker.refresh()
    assert not breaker.tripped
