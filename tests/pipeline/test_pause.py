"""Faults of the host stop everything, and are nobody's attempt."""

import anyio
import pytest

from npmmirror.pipeline.pause import EVERYWHERE, Pause
from tests.pipeline.conftest import ManualClock

pytestmark = pytest.mark.anyio


async def test_nobody_waits_while_all_is_well(clock: ManualClock) -> None:
    """No fault, no sleep."""
    await Pause(clock).ready()
    assert clock.slept == []


async def test_a_fault_makes_everybody_wait_and_one_try(clock: ManualClock) -> None:
    """When the pause is over one goes ahead; the others wait for what comes of it."""
    pause = Pause(clock)
    pause.fault("unreachable", "refused")
    assert pause.paused
    went: list[int] = []

    async def worker(number: int) -> None:
        await pause.ready()
        went.append(number)
        if len(went) == 1:
            await anyio.lowlevel.checkpoint()
            assert went == [number]
            pause.success("document")

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(worker, number)
    assert sorted(went) == [0, 1, 2, 3, 4]
    assert not pause.paused


async def test_the_pause_grows_with_each_try_that_fails(clock: ManualClock) -> None:
    """1, 2, 4 ... seconds, up to the longest."""
    pause = Pause(clock, longest_seconds=5)
    pause.fault("unreachable", "refused")
    waited = []
    for _ in range(4):
        before = clock.monotonic()
        await pause.ready()
        waited.append(clock.monotonic() - before)
        pause.fault("unreachable", "refused")
    assert waited == [1, 2, 4, 5]


async def test_those_under_way_do_not_lengthen_the_pause(clock: ManualClock) -> None:
    """Thirty workers that fail at the same moment are one fault."""
    pause = Pause(clock)
    for _ in range(30):
        pause.fault("unreachable", "refused")
    before = clock.monotonic()
    await pause.ready()
    assert clock.monotonic() - before == 1


async def test_retry_after_is_the_least(clock: ManualClock) -> None:
    """Upstream said when to come back."""
    pause = Pause(clock)
    pause.fault("http_429", "", retry_after=120)
    before = clock.monotonic()
    await pause.ready()
    assert clock.monotonic() - before == 120


async def test_a_fault_met_everywhere_is_the_hosts(clock: ManualClock) -> None:
    """The first packages may be to blame themselves; a row of different ones is not."""
    pause = Pause(clock)
    blamed = [pause.suspect("document", f"p{n}", "http_500", "") for n in range(EVERYWHERE)]
    assert blamed == [False] * (EVERYWHERE - 1) + [True]
    assert pause.paused


async def test_one_bad_package_never_stops_all(clock: ManualClock) -> None:
    """The same package, again and again, is the package's fault."""
    pause = Pause(clock)
    assert not any(pause.suspect("document", "bad", "http_500", "") for _ in range(100))
    assert not pause.paused


async def test_failures_far_apart_are_no_outage(clock: ManualClock) -> None:
    """An idle mirror tries a few broken packages, an hour apart."""
    pause = Pause(clock)
    for number in range(100):
        clock.move(61)
        assert not pause.suspect("document", f"p{number}", "http_500", "")


async def test_packages_that_failed_before_are_no_witnesses(clock: ManualClock) -> None:
    """A work list of packages that are broken for good says nothing about the host."""
    pause = Pause(clock)
    assert not any(
        pause.suspect("document", f"p{n}", "http_500", "", again=True) for n in range(100)
    )


async def test_a_success_in_between_clears_the_host(clock: ManualClock) -> None:
    """Only failures in a row count."""
    pause = Pause(clock)
    for number in range(100):
        assert not pause.suspect("document", f"p{number}", "http_500", "")
        if number % (EVERYWHERE - 2) == 0:
            pause.success("document")
    assert not pause.paused


async def test_who_waits_longest_tries_first(clock: ManualClock) -> None:
    """What fails again and again lines up behind the others each time."""
    pause = Pause(clock)
    pause.fault("http_503", "")
    tried: list[str] = []

    async def bad() -> None:
        while "good" not in tried:
            await pause.ready()
            tried.append("bad")
            pause.fault("http_503", "")

    async def good() -> None:
        await pause.ready()
        tried.append("good")
        pause.success("document")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bad)
        tasks.start_soon(good)
    assert tried[:2] == ["bad", "good"]


async def test_a_refusal_met_before_is_the_packages_own(clock: ManualClock) -> None:
    """As long as others are served: one document that is always 503 does not stop the mirror."""
    pause = Pause(clock)
    assert pause.refused("http_503", "", again=False)
    pause.success()
    assert not pause.refused("http_503", "", again=True)
    assert not pause.paused


async def test_in_an_outage_a_refusal_is_the_hosts(clock: ManualClock) -> None:
    """Whoever tries meets the same as before; that uses up no attempts."""
    pause = Pause(clock)
    pause.fault("http_503", "")
    await pause.ready()
    assert pause.refused("http_503", "", again=True)


async def test_documents_prove_nothing_for_tarballs(clock: ManualClock) -> None:
    """They come from different machines: a broken store of tarballs is an outage, too."""
    pause = Pause(clock)
    for number in range(EVERYWHERE):
        pause.success("document")
        pause.suspect("tarball", f"p{number}", "http_500", "")
    pause.success("document")
    assert pause.paused
    pause.success("tarball")
    assert not pause.paused


async def test_what_one_holds_another_does_not_release(clock: ManualClock) -> None:
    """Room on the disk, and a group that cannot be recorded, are two things."""
    pause = Pause(clock)
    pause.hold("room", "disk_low")
    pause.hold("recording", "disk: full")
    pause.release("room")
    pause.success()
    assert pause.reason == "disk: full"
    pause.release("recording")
    assert not pause.paused
