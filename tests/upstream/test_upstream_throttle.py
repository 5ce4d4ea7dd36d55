"""The throttle of a host: its decisions as a transcript, then the turnstile in front of it."""

import asyncio

import anyio
import pytest

from npmmirror.upstream.errors import HostFault
from npmmirror.upstream.throttle import LONGEST_PAUSE, LONGEST_RETRY_AFTER, Throttle, Turnstile
from tests.upstream.loopback import MovedClock


def test_a_healthy_host_gets_as_many_requests_as_the_ceiling() -> None:
    """Nothing is held back before the first refusal."""
    throttle = Throttle(8)
    assert (throttle.room, throttle.wait(0.0)) == (8, 0.0)


def test_a_refusal_halves_the_places_and_holds_everybody_back() -> None:
    """One refusal slows all requests to the host."""
    throttle = Throttle(8)
    throttle.refused(now=10.0, sent_at=9.0)
    assert throttle.allowed == 4
    assert throttle.wait(10.0) == 1.0
    assert throttle.wait(11.0) == 0.0


def test_refusals_of_the_same_round_cut_once() -> None:
    """Requests that were under way at the cut bring no news."""
    throttle = Throttle(8)
    for _ in range(5):
        throttle.refused(now=10.0, sent_at=9.0)
    assert throttle.allowed == 4
    assert throttle.wait(10.0) == 1.0


def test_pauses_double_with_each_round_up_to_a_limit() -> None:
    """A host that goes on refusing without Retry-After is asked less and less often."""
    throttle = Throttle(64)
    now, waits = 0.0, []
    for _ in range(9):
        throttle.refused(now=now, sent_at=now)
        waits.append(throttle.wait(now))
        now += waits[-1]
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == LONGEST_PAUSE
    assert throttle.allowed == 1


def test_retry_after_is_a_common_not_before() -> None:
    """What the host asked of one request holds for all."""
    throttle = Throttle(8)
    throttle.refused(now=10.0, sent_at=9.0, retry_after=30.0)
    assert throttle.wait(15.0) == 25.0


def test_an_earlier_end_does_not_shorten_a_pause() -> None:
    """Of several answers to Retry-After the latest end counts."""
    throttle = Throttle(8)
    throttle.refused(now=10.0, sent_at=9.0, retry_after=30.0)
    throttle.refused(now=11.0, sent_at=9.0, retry_after=2.0)
    assert throttle.wait(11.0) == 29.0


def test_retry_after_zero_still_pauses() -> None:
    """The search of npm says `retry-after: 0` while it refuses."""
    throttle = Throttle(8)
    throttle.refused(now=10.0, sent_at=9.0, retry_after=0.0)
    assert throttle.wait(10.0) == 1.0


def test_an_absurd_retry_after_is_capped() -> None:
    """No host stops the mirror for longer than an hour with one answer."""
    throttle = Throttle(8)
    throttle.refused(now=0.0, sent_at=0.0, retry_after=1e12)
    assert throttle.wait(0.0) == LONGEST_RETRY_AFTER


def test_successes_give_places_back_by_degrees() -> None:
    """About one place for each round of successes, up to the ceiling, and no further."""
    throttle = Throttle(8)
    throttle.refused(now=0.0, sent_at=0.0)
    counts = []
    for _ in range(40):
        throttle.succeeded(sent_at=1.0)
        counts.append(throttle.room)
    assert counts[3] == 4
    assert counts[4] == 5
    assert counts[-1] == 8
    assert counts == sorted(counts)


def test_late_successes_of_before_the_cut_prove_nothing() -> None:
    """An answer to a request that was sent before the refusal does not speed up."""
    throttle = Throttle(8)
    throttle.refused(now=10.0, sent_at=9.0)
    throttle.succeeded(sent_at=9.5)
    assert throttle.allowed == 4


def test_a_success_starts_the_pauses_anew() -> None:
    """After the host answered, the next refusal pauses shortly again."""
    throttle = Throttle(64)
    throttle.refused(now=0.0, sent_at=0.0)
    throttle.refused(now=2.0, sent_at=2.0)
    throttle.succeeded(sent_at=5.0)
    throttle.refused(now=6.0, sent_at=6.0)
    assert throttle.wait(6.0) == 1.0


@pytest.mark.anyio
async def test_the_turnstile_waits_out_a_short_pause() -> None:
    """A request waits for the not-before of its host, a little spread."""
    clock, throttle = MovedClock(), Throttle(4)
    throttle.refused(now=clock.monotonic(), sent_at=clock.monotonic(), retry_after=3.0)
    await Turnstile(throttle, clock, patience=10.0).enter()
    assert clock.slept == [pytest.approx(3.1)]
    assert throttle.in_use == 1


@pytest.mark.anyio
async def test_the_turnstile_sends_away_for_a_long_pause() -> None:
    """A pause beyond the patience is told to the caller, who pauses as a whole."""
    clock, throttle = MovedClock(), Throttle(4)
    throttle.refused(now=clock.monotonic(), sent_at=clock.monotonic(), retry_after=600.0)
    with pytest.raises(HostFault) as told:
        await Turnstile(throttle, clock, patience=10.0).enter()
    assert (told.value.reason, told.value.retry_after) == ("throttled", 600.0)
    assert (clock.slept, throttle.in_use) == ([], 0)


@pytest.mark.anyio
async def test_no_more_than_the_allowed_requests_are_under_way() -> None:
    """Those beyond wait for their turn, and all get one."""
    throttle, most = Throttle(3), 0
    turnstile = Turnstile(throttle, MovedClock(), patience=10.0)

    async def request() -> None:
        nonlocal most
        await turnstile.enter()
        most = max(most, throttle.in_use)
        await anyio.lowlevel.checkpoint()
        turnstile.leave()

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(request)
    assert (most, throttle.in_use) == (3, 0)


@pytest.mark.anyio
async def test_a_turn_is_not_lost_with_a_cancelled_waiter() -> None:
    """A waiter that is cancelled in the moment it is woken hands its turn to the next."""
    throttle = Throttle(1)
    turnstile = Turnstile(throttle, MovedClock(), patience=10.0)
    await turnstile.enter()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        second = tasks.create_task(turnstile.enter())
        await anyio.wait_all_tasks_blocked()
        tasks.create_task(turnstile.enter())
        await anyio.wait_all_tasks_blocked()
        turnstile.leave()
        second.cancel()
    assert (second.cancelled(), throttle.in_use) == (True, 1)


@pytest.mark.anyio
async def test_waiters_are_told_of_a_long_pause_too() -> None:
    """Those in the queue are not left there when the host asks for quiet."""
    clock, throttle = MovedClock(), Throttle(1)
    turnstile = Turnstile(throttle, clock, patience=10.0)
    reasons = []

    async def request() -> None:
        try:
            await turnstile.enter()
        except HostFault as fault:
            reasons.append(fault.reason)

    await turnstile.enter()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(request)
        await anyio.wait_all_tasks_blocked()
        throttle.refused(now=clock.monotonic(), sent_at=clock.monotonic(), retry_after=600.0)
        turnstile.leave()
    assert reasons == ["throttled"] * 3
