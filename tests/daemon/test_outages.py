"""While upstream is at fault everything waits, nobody's attempts are used, and nothing is lost."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from npmmirror.pipeline.pause import EVERYWHERE
from npmmirror.testing import ScriptedUpstream, faults
from npmmirror.testing.faults import Fault
from tests.daemon.conftest import FastClock, Open, RunningMirror

pytestmark = pytest.mark.anyio

PACKAGES = 30


def publish(mirror: RunningMirror, packages: int = PACKAGES) -> None:
    """One version of so many packages."""
    for number in range(packages):
        mirror.upstream.registry.publish(f"p{number}", "1.0.0")


def attempts(mirror: RunningMirror) -> int:
    """How many attempts the work list has counted."""
    [(count,)] = mirror.rows("SELECT coalesce(sum(attempts), 0) FROM work_list")
    return int(count)


async def whole(mirror: RunningMirror, packages: int = PACKAGES) -> dict[str, Any]:
    """The status at the head, where everything must be there and nothing be left."""
    status = await mirror.at_head()
    assert status["totals"]["packages"] == {"live": packages}
    assert status["totals"]["tarballs"] == packages
    assert not status["dead_letters"]
    assert status["fetch"]["paused"] is None
    return status


@pytest.mark.parametrize(
    ("fault", "scope", "counted"),
    [
        (faults.Status(500), "packument", EVERYWHERE - 1),
        (faults.Status(502), "tarball", EVERYWHERE - 1),
        (faults.HtmlPage(), "packument", EVERYWHERE - 1),
        (faults.HtmlPage('{"error": "maintenance"}'), "packument", EVERYWHERE - 1),
        (faults.HtmlPage(), "tarball", EVERYWHERE - 1),
        (faults.Redirect("http://login.example/"), "packument", EVERYWHERE - 1),
        (faults.Reset(after=None), "packument", EVERYWHERE - 1),
        (faults.Status(503), "packument", 0),
        (faults.Status(429), "tarball", 0),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else str(value),
)
async def test_a_fault_met_everywhere_pauses_and_uses_up_no_attempts(
    mirror: Open, fault: Fault, scope: Any, counted: int
) -> None:
    """Beyond the first few, which might have been their own: then all wait, and all come."""
    async with mirror(fetch={"max_attempts": 3}) as here:
        publish(here)
        armed = here.upstream.fault(scope, fault, times=None)
        async with here.running(clock=FastClock(100)):
            await here.until(lambda status: status["fetch"]["paused"] is not None)
            paused = here.upstream.count(scope)
            await here.upstream.asked(scope, times=paused + 3)  # one try after the other goes on
            assert attempts(here) <= counted
            here.upstream.heal(armed)
            await whole(here)


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("dated", [False, True])
async def test_retry_after_is_waited_out(mirror: Open, code: int, dated: bool) -> None:
    """In seconds or as a date: as long as it holds only one request has been answered."""
    clock = FastClock(1000)
    async with mirror(fetch={"concurrency": 1}) as here:
        publish(here, 3)
        until = datetime.now(UTC) + timedelta(seconds=900)
        said = format_datetime(until, usegmt=True) if dated else "900"
        here.upstream.fault("packument", faults.Status(code, retry_after=said), times=1)
        before = clock.monotonic()
        async with here.running(clock=clock):
            await whole(here, 3)
        assert clock.monotonic() - before >= 850


async def test_a_refused_connection_is_waited_out(mirror: Open) -> None:
    """Upstream's process is gone, and comes back under the same address."""
    async with mirror(fetch={"max_attempts": 2}) as here:
        publish(here, 3)
        async with here.running(clock=FastClock(50)):
            await whole(here, 3)
            registry, port = here.upstream.registry, int(here.upstream.url.rpartition(":")[2])
            await here.upstream.__aexit__(None, None, None)
            registry.publish("p3", "1.0.0")
            await here.until(lambda status: status["feed"]["error"] is not None)
            async with ScriptedUpstream(registry, port=port) as again:
                here.upstream = again
                await whole(here, 4)


async def test_a_registry_that_is_down_while_its_feed_is_not(mirror: Open) -> None:
    """Changes come in and wait in the buffer, durable; attempts are not counted."""
    async with mirror(fetch={"max_attempts": 2}) as here:
        registry = here.upstream.registry
        publish(here)
        async with ScriptedUpstream(registry) as packages:
            port = int(packages.url.rpartition(":")[2])
        here.registry = packages.url
        async with here.running(clock=FastClock(50)):
            status = await here.until(
                lambda status: (
                    status["fetch"]["paused"] is not None
                    and status["feed"]["cursor"] == status["feed"]["head"]
                )
            )
            assert status["fetch"]["paused"].startswith("refused: ")
            assert attempts(here) == 0
            async with ScriptedUpstream(registry, port=port):
                await whole(here)


async def test_days_of_outage_with_few_requests(mirror: Open) -> None:
    """The pauses grow to minutes; a change a day later is mirrored like any other."""
    clock = FastClock(60_000)
    async with mirror() as here:
        publish(here)
        armed = here.upstream.fault("packument", faults.Status(503), times=None)
        began = clock.monotonic()
        async with here.running(clock=clock):
            await here.until(lambda _: clock.monotonic() - began > 2 * 86_400)
            here.upstream.heal(armed)
            await whole(here)
        assert attempts(here) == 0


async def test_the_feed_alone_may_fail(mirror: Open) -> None:
    """The follower backs off and says so; what is in the buffer is worked off meanwhile."""
    async with mirror() as here:
        publish(here, 3)
        async with here.running(clock=FastClock(50)):
            await whole(here, 3)
            for fault in (
                *(faults.Status(500), faults.HtmlPage(), faults.Truncated(), faults.Empty()),
                *(faults.Altered(), faults.Status(429, retry_after="7"), faults.EndlessGzip()),
            ):
                armed = here.upstream.fault("feed", fault, times=None)
                status = await here.until(lambda status: status["feed"]["error"] is not None)
                assert status["daemon"]["state"] == "running"
                here.upstream.heal(armed)
                await here.until(lambda status: status["feed"]["error"] is None)
            here.upstream.registry.publish("p3", "1.0.0")
            await whole(here, 4)


async def test_an_outage_that_is_over_is_told_once(
    mirror: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    """The follower's failures are one line, its recovery is another."""
    async with mirror() as here:
        publish(here, 1)
        here.upstream.fault("feed", faults.Status(500), times=5)
        async with here.running(clock=FastClock(100)):
            await whole(here, 1)
    lines = capsys.readouterr().out.splitlines()
    told = "".join(line for line in lines if "[debug" not in line)
    assert told.count("follow_failed") == 1
    assert told.count("follow_recovered") == 1


async def test_a_clock_that_jumps(mirror: Open) -> None:
    """A day back, a year on: pauses are measured otherwise, and nothing is lost."""
    clock = JumpingClock()
    async with mirror() as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running(clock=clock):
            await here.at_head()
            for days in (-1, 366, -366):
                clock.offset += timedelta(days=days)
                registry.publish("left-pad", f"1.{clock.jumps}.0")
                clock.jumps += 1
                await here.at_head()
        times = [at for (at,) in here.rows("SELECT committed_at FROM marks ORDER BY ordinal")]
        assert times == sorted(times)


class JumpingClock(FastClock):
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        super().__init__(1)
        self.offset = timedelta()
        self.jumps = 1

    def now(self) -> datetime:
        """See `Clock.now`."""
        return super().now() + self.offset
