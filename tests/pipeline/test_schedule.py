"""Growing pauses."""

from datetime import timedelta

from hypothesis import given, strategies as st

from npmmirror.pipeline.schedule import QUICK_TRIES, Schedule
from tests.pipeline.conftest import ManualClock


def test_pauses_grow_and_end(clock: ManualClock) -> None:
    """Twice as long each time, up to the longest; after the last attempt none."""
    schedule = Schedule(clock, first_seconds=30, longest_seconds=100, max_attempts=5)
    pauses = [schedule.after(attempts) for attempts in range(1, 6)]
    seconds = [(at - clock.now()).total_seconds() if at else None for at in pauses]
    assert seconds == [30, 60, 100, 100, None]


def test_a_huge_number_of_attempts_is_no_overflow(clock: ManualClock) -> None:
    """Doubling ends somewhere."""
    schedule = Schedule(clock, first_seconds=30, longest_seconds=100, max_attempts=10**9)
    assert schedule.after(10**8) == clock.now() + timedelta(seconds=100)


def test_stale_documents_are_looked_at_again_soon(clock: ManualClock) -> None:
    """Within seconds at first, then at the usual pauses, and not for ever."""
    schedule = Schedule(clock, first_seconds=30, longest_seconds=100, max_attempts=3)
    now = clock.now()
    assert schedule.after_stale(1, now) == now + timedelta(seconds=8)
    assert schedule.after_stale(QUICK_TRIES, now) == now + timedelta(seconds=8)
    assert schedule.after_stale(QUICK_TRIES + 1, now) == now + timedelta(seconds=30)
    assert schedule.after_stale(QUICK_TRIES + 3, now) is None


@given(st.lists(st.floats(0, 1), min_size=QUICK_TRIES, max_size=QUICK_TRIES), st.booleans())
def test_quick_looks_take_half_a_minute_at_least(dice: list[float], few: bool) -> None:
    """Each 1 to 8 s after the one before, whatever chance says."""
    clock = DicedClock(dice)
    schedule = Schedule(clock, first_seconds=30, longest_seconds=100, max_attempts=3)
    began, tries = clock.now(), 4 if few else QUICK_TRIES
    for attempt in range(1, tries + 1):
        at = schedule.soon(tries - attempt, began)
        pause = (at - clock.now()).total_seconds()
        assert 1 <= pause <= 8
        clock.move(pause)
    assert (clock.now() - began).total_seconds() >= 29.99


class DicedClock(ManualClock):
    """Chance as it was told."""

    def __init__(self, dice: list[float]) -> None:
        super().__init__()
        self._dice = dice

    def jitter(self, low: float, high: float) -> float:
        """See `Clock.jitter`."""
        return low + (high - low) * self._dice.pop(0)


def test_what_was_nobodys_attempt_is_never_the_last(clock: ManualClock) -> None:
    """With a single attempt allowed, too, a fault of the host makes no dead letter."""
    schedule = Schedule(clock, first_seconds=30, longest_seconds=100, max_attempts=1)
    assert schedule.after(1) is None
    assert schedule.in_a_while(0) == clock.now() + timedelta(seconds=30)
