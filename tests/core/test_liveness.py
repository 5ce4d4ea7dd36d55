"""Who gets on, and who is stuck."""

import anyio
import pytest

from npmmirror.clock import SystemClock
from npmmirror.liveness import Liveness, at_rest

pytestmark = pytest.mark.anyio


class StandingClock(SystemClock):
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self.seconds


@pytest.fixture
def clock() -> StandingClock:
    """The time in these tests."""
    return StandingClock()


@pytest.fixture
def liveness(clock: StandingClock) -> Liveness:
    """Nobody is watched yet; work may take ten seconds."""
    return Liveness(clock, 10.0)


def names(liveness: Liveness) -> list[str]:
    """Who is stuck."""
    return [task.name for task in liveness.stuck()]


async def test_who_works_for_longer_than_allowed_is_stuck(
    clock: StandingClock, liveness: Liveness
) -> None:
    """Not before; and no more once it is done."""
    with liveness.watch("a task"):
        clock.seconds = 10.0
        assert names(liveness) == []
        clock.seconds = 11.0
        assert names(liveness) == ["a task"]
    assert names(liveness) == []


async def test_who_waits_is_not_stuck(clock: StandingClock, liveness: Liveness) -> None:
    """However long; its work counts from the end of the wait."""
    with liveness.watch("a task"):
        with at_rest():
            clock.seconds = 1e6
            assert names(liveness) == []
        clock.seconds += 10.0
        assert names(liveness) == []
        clock.seconds += 1.0
        assert names(liveness) == ["a task"]


async def test_what_a_task_starts_is_part_of_it(clock: StandingClock, liveness: Liveness) -> None:
    """It waits as long as one of its parts waits."""
    let_go = anyio.Event()

    async def part() -> None:
        with at_rest():
            await let_go.wait()

    with liveness.watch("a task"):
        async with anyio.create_task_group() as parts:
            parts.start_soon(part)
            await anyio.wait_all_tasks_blocked()
            clock.seconds = 11.0
            assert names(liveness) == []
            let_go.set()
        clock.seconds = 22.0
        assert names(liveness) == ["a task"]


async def test_a_step_of_its_own_counts_apart(clock: StandingClock, liveness: Liveness) -> None:
    """It is found also where whoever takes it may wait; it has a limit of its own."""
    with liveness.watch("a task"), at_rest(), liveness.watch("a step", 5.0):
        clock.seconds = 6.0
        assert names(liveness) == ["a step"]


async def test_who_is_excused_begins_anew(clock: StandingClock, liveness: Liveness) -> None:
    """Where nobody could get on, nobody is stuck afterwards."""
    with liveness.watch("a task"):
        clock.seconds = 11.0
        liveness.excuse()
        assert names(liveness) == []
        clock.seconds = 22.0
        assert names(liveness) == ["a task"]


async def test_it_tells_where_a_task_is_stuck(clock: StandingClock, liveness: Liveness) -> None:
    """Down to the innermost line that waits."""

    async def innermost() -> None:
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(liveness.run, "a task", innermost)
        await anyio.wait_all_tasks_blocked()
        clock.seconds = 11.0
        [stuck] = liveness.stuck()
        tasks.cancel_scope.cancel()
    assert stuck.name == "a task"
    assert stuck.seconds == 11.0
    assert any(line.endswith(" innermost") for line in stuck.where)


async def test_a_wait_of_nobody_who_is_watched() -> None:
    """Commands without a daemon pass the same places."""
    with at_rest():
        await anyio.lowlevel.checkpoint()
