"""While upstream is at fault everything waits, nobody's attempts are used, and nothing is lost."""

import gc
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver

from npmmirror.change import Change
from npmmirror.pipeline import pause
from npmmirror.pipeline.feed import READ_ROWS
from npmmirror.pipeline.pause import EVERYWHERE
from npmmirror.testing import ScriptedUpstream, faults
from npmmirror.testing.asked import Asked
from npmmirror.testing.faults import Fault
from tests.daemon.conftest import PATIENCE, FastClock, Open, RunningMirror

pytestmark = [pytest.mark.anyio, pytest.mark.long]

PACKAGES = 30


class Names:
    """What a resolver knows, and how long it takes; for all else the machine's own is asked."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.seconds = 0.0


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """The resolver's answers, put in where aiohttp asks for them."""
    names, resolve = Names(), ThreadedResolver.resolve

    async def answered(
        self: ThreadedResolver, host: str, port: int = 0, family: Any = socket.AF_INET
    ) -> list[ResolveResult]:
        await anyio.sleep(names.seconds)
        return await resolve(self, names.known.get(host, host), port, family)

    monkeypatch.setattr(ThreadedResolver, "resolve", answered)
    return names


def publish(mirror: RunningMirror, packages: int = PACKAGES) -> None:
    """One version of so many packages."""
    for number in range(packages):
        mirror.upstream.registry.publish(f"p{number}", "1.0.0")


def attempts(mirror: RunningMirror) -> int:
    """How many attempts the work list has counted."""
    [(count,)] = mirror.rows("SELECT coalesce(sum(attempts), 0) FROM work_list")
    return int(count)


async def retried(mirror: RunningMirror) -> None:
    """Have nothing wait for its time, until nothing is left to do or under way."""
    async with mirror.control() as daemon:
        with anyio.fail_after(PATIENCE):
            while not (status := await daemon.status())["mirror"]["at_head"]:
                assert status["daemon"]["state"] == "running"
                await daemon.retry([])
                await anyio.sleep(0.05)


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
    mirror: Open, fault: Fault, scope: Any, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the first few, which might have been their own: then all wait, and all come."""
    # By this clock a slow machine takes minutes to meet the witnesses, and nobody must be tried
    # again before they are met.
    monkeypatch.setattr(pause, "WITNESS_SECONDS", 86_400.0)
    patient = {"retry_seconds": 200, "retry_max_seconds": 200}
    async with mirror(fetch={"max_attempts": 3, **patient}) as here:
        publish(here)
        armed = here.upstream.fault(scope, fault, times=None)
        async with here.running(clock=FastClock(100)):
            await here.until(lambda status: status["fetch"]["paused"] is not None)
            paused = here.upstream.count(scope)
            await here.upstream.asked(scope, times=paused + 3)  # one try after the other goes on
            assert attempts(here) <= counted
            here.upstream.heal(armed)
            await retried(here)
            await whole(here)


async def test_a_name_that_does_not_resolve(mirror: Open, names: Names) -> None:
    """In plain words, with nobody's attempt used up; when it does, everything comes."""
    async with mirror(fetch={"max_attempts": 1}) as here:
        publish(here)
        here.registry = here.upstream.url.replace("127.0.0.1", "upstream.invalid")
        async with here.running(clock=FastClock(50)):
            status = await here.until(lambda status: status["fetch"]["paused"] is not None)
            assert status["fetch"]["paused"].startswith("dns: ")
            assert "its name cannot be resolved: " in status["fetch"]["paused"]
            assert attempts(here) == 0
            names.known["upstream.invalid"] = "127.0.0.1"
            await whole(here)


async def test_a_resolver_that_answers_too_late(mirror: Open, names: Names) -> None:
    """Its time is that of connecting."""
    names.known["upstream.invalid"] = "127.0.0.1"
    async with mirror(fetch={"max_attempts": 1}, upstream={"connect_seconds": 0.3}) as here:
        publish(here)
        here.registry = here.upstream.url.replace("127.0.0.1", "upstream.invalid")
        names.seconds = 2
        async with here.running(clock=FastClock(50)):
            status = await here.until(lambda status: status["fetch"]["paused"] is not None)
            assert status["fetch"]["paused"].startswith("connect_timeout: ")
            assert attempts(here) == 0
            names.seconds = 0
            await whole(here)


@pytest.mark.parametrize("said", [None, "600"])
async def test_an_hour_of_429_takes_few_requests_and_the_rate_climbs_by_degrees(
    mirror: Open, said: str | None
) -> None:
    """With and without Retry-After. Behind it nobody hurries: a place more each round."""
    clock = FastClock(1000)
    rates = Rates()
    async with (
        mirror(fetch={"max_attempts": 1}) as here,
        # a host of its own: what the feed's polls are given would count for the packuments, too
        ScriptedUpstream(here.upstream.registry) as packages,
    ):
        here.registry = packages.url
        publish(here)
        armed = packages.fault("packument", faults.Status(429, retry_after=said), times=None)
        began = clock.monotonic()
        async with here.running(clock=clock):
            await here.until(lambda _: clock.monotonic() - began > 3600)
            assert packages.count("packument") <= 40
            assert attempts(here) == 0
            packages.hooks.append(rates.note)
            packages.heal(armed)
            await whole(here)
    assert 1 < max(rates.seen) <= here.config.fetch.concurrency + 1
    for answered, rate in enumerate(rates.seen):
        assert rate <= 2 + (2 * answered) ** 0.5, rates.seen


class Rates:
    """How many requests are under way at each one's coming."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._open = 0

    async def note(self, _: Asked) -> None:
        """A request came, and takes a while."""
        self._open += 1
        self.seen.append(self._open)
        await anyio.sleep(0.005)
        self._open -= 1


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


def changes_in_memory() -> list[Change]:
    """All that are in use in this process; garbage is not."""
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, Change)]


async def test_days_of_outage_with_few_requests(mirror: Open) -> None:
    """The pauses grow to minutes; changes of days wait in the buffer, not in memory."""
    clock, packages = FastClock(60_000), 1200
    of_others = (
        changes_in_memory()
    )  # tests before this one may have left some; they stay until its end
    # a page of the trailing window would be in memory, too, now and then
    window = {"overlap_seqs": 0, "overlap_minutes": 0}
    async with mirror(policy={"tarballs": "none"}, follow=window) as here:
        armed = here.upstream.fault("packument", faults.Status(503), times=None)
        began = clock.monotonic()
        async with here.running(clock=clock):
            publish(here, packages)
            head = here.upstream.registry.changes(descending=True, limit=1)["last_seq"]
            await here.until(
                lambda status: (
                    clock.monotonic() - began > 2 * 86_400 and status["feed"]["cursor"] == head
                )
            )
            in_memory = len(changes_in_memory()) - len(of_others)
            assert 0 < in_memory <= READ_ROWS + 2 * here.config.fetch.concurrency
            assert here.upstream.count("packument") < packages
            assert attempts(here) == 0
            here.upstream.heal(armed)
            status = await here.at_head()
            assert status["totals"]["packages"] == {"live": packages}
            assert not status["dead_letters"]


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


async def test_who_was_to_wait_while_the_clock_was_ahead_does_not_wait_for_years(
    mirror: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clock is a year ahead, somebody fails, and the clock is put right."""
    clock = JumpingClock(50)
    async with mirror(fetch={"retry_seconds": 3600, "retry_max_seconds": 3600}) as here:
        publish(here, 1)
        armed = here.upstream.fault("packument", faults.Status(500), times=None)
        clock.offset = timedelta(days=366)
        async with here.running(clock=clock):
            await here.until(lambda status: status["work_list"] == {"http_500": 1})
            here.upstream.heal(armed)
            clock.offset = timedelta()
            await whole(here, 1)
    assert "clock_went_back" in capsys.readouterr().out


class JumpingClock(FastClock):
    """A wall clock that somebody sets."""

    def __init__(self, times: float = 1) -> None:
        super().__init__(times)
        self.offset = timedelta()
        self.jumps = 1

    def now(self) -> datetime:
        """See `Clock.now`."""
        return super().now() + self.offset
