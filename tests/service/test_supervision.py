"""What systemd hears of a running daemon."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror.control.client import daemon_of
from npmmirror.daemon import mirror as daemon_mirror, supervision
from npmmirror.daemon.notify import Notifier
from npmmirror.daemon.run import run as run_daemon
from npmmirror.pipeline.look import Look, Looker
from npmmirror.testing import faults
from npmmirror.testing.remote import RemoteUpstream
from tests.daemon.conftest import HastyClock, Open, RunningMirror
from tests.kill.daemon_process import MirrorDaemon
from tests.service.played_systemd import PlayedSystemd, Told

pytestmark = [pytest.mark.anyio, pytest.mark.long]

LIMIT_SECONDS = 1.0


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[PlayedSystemd]:
    """The socket that the service tells."""
    with PlayedSystemd(tmp_path / "notify") as played:
        yield played


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who works for a second is stuck; the line is told at each tick."""
    monkeypatch.setattr(daemon_mirror, "BESIDE_REQUESTS_SECONDS", LIMIT_SECONDS - 600)
    monkeypatch.setattr(supervision, "LINE_SECONDS", 0.0)


async def until(systemd: PlayedSystemd, name: str, text: str = "") -> list[Told]:
    """See `PlayedSystemd.until`, beside a daemon in this process."""
    return await anyio.to_thread.run_sync(systemd.until, name, text)


@asynccontextmanager
async def supervised(here: RunningMirror, systemd: PlayedSystemd) -> AsyncIterator[anyio.Event]:
    """The daemon at work, telling systemd, which wants to hear of it ten times a second."""
    stop = anyio.Event()
    notifier = Notifier(systemd.address, watchdog_seconds=0.3)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            partial(
                run_daemon,
                here.config,
                here.source,
                stop=stop,
                clock=HastyClock(),
                notifier=notifier,
            )
        )
        try:
            yield stop
        finally:
            stop.set()


@pytest.mark.usefixtures("strict")
async def test_from_the_start_to_the_end(mirror: Open, systemd: PlayedSystemd) -> None:
    """Starting, ready when the control socket answers, the state, draining, closing."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        async with supervised(here, systemd) as stop:
            started = await until(systemd, "READY", "1")
            assert started[0] == {"WATCHDOG": "1"}
            assert started[1]["STATUS"].startswith("starting: ")
            assert int(started[1]["EXTEND_TIMEOUT_USEC"]) > 0
            async with daemon_of(here.config.storage.data_dir) as daemon:
                assert daemon is not None
            await until(systemd, "STATUS", "at the head, 0 in work")
            here.upstream.registry.publish("slow", "1.0.0")
            here.upstream.fault("packument", faults.Stall(), name="slow", times=1)
            await until(systemd, "STATUS", "1 changes not finished, 1 in work")
            stop.set()
            [*_, stopping] = await until(systemd, "STOPPING", "1")
            assert int(stopping["EXTEND_TIMEOUT_USEC"]) >= 5e6  # fetch.drain_seconds
            await until(systemd, "STATUS", "draining: 1 in work")
            here.upstream.release()
        assert not any("READY" in told for told in systemd.told())


async def test_a_first_start_without_upstream(mirror: Open, systemd: PlayedSystemd) -> None:
    """Nobody says where the feed ends: the daemon is up, waits, and can be asked for what."""
    async with mirror(follow={"since": "now"}) as here:
        here.upstream.fault("root", faults.Status(500), times=None)
        here.upstream.fault("feed", faults.Status(500), times=None)
        async with supervised(here, systemd):
            await until(systemd, "READY", "1")
            await until(systemd, "STATUS", "waiting to follow: 0 in work; the feed: http_500")
            assert "http_500" in (await here.status())["feed"]["error"]
            here.upstream.heal()
            await until(systemd, "STATUS", "following: ")


async def keeps_pinging(systemd: PlayedSystemd) -> None:
    """Heard of for twice as long as work may take, and nothing is stuck."""
    began = anyio.current_time()
    while anyio.current_time() - began < 2 * LIMIT_SECONDS:
        told = await until(systemd, "WATCHDOG")
        assert not any("stuck" in fields.get("STATUS", "") for fields in told)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("trouble", ["idle", "disk full", "upstream down", "feed down"])
async def test_who_waits_is_alive(mirror: Open, systemd: PlayedSystemd, trouble: str) -> None:
    """Nothing to do, no room on the disk, nobody who answers: the daemon is well."""
    least = 2**62 if trouble == "disk full" else 0
    async with mirror(storage={"min_free_bytes": least}) as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        expected = {"disk full": "disk_low", "upstream down": "http_503", "feed down": "the feed: "}
        if trouble == "upstream down":
            here.upstream.fault("packument", faults.Status(503, retry_after="3600"), times=None)
        elif trouble == "feed down":
            here.upstream.fault("feed", faults.Status(500), times=None)
        async with supervised(here, systemd):
            await until(systemd, "STATUS", expected.get(trouble, "at the head"))
            await keeps_pinging(systemd)


@pytest.mark.usefixtures("strict")
async def test_a_stuck_task_is_not(
    mirror: Open, systemd: PlayedSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker waits for what never comes: no ping any more, until it gets on."""
    let_go = anyio.Event()
    look = Looker.look

    async def stuck(self: Looker, *args: Any) -> Look:
        await let_go.wait()
        return await look(self, *args)

    monkeypatch.setattr(Looker, "look", stuck)
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        async with supervised(here, systemd):
            await until(systemd, "STATUS", "stuck (fetch ")
            for _ in range(5):
                told = await until(systemd, "STATUS", "stuck (fetch ")
                assert not any("WATCHDOG" in fields for fields in told)
            let_go.set()
            await until(systemd, "WATCHDOG")
            await until(systemd, "STATUS", "at the head, 0 in work")


def test_a_process_tells_whom_the_environment_names(
    systemd: PlayedSystemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`npmmirror run`, as systemd starts it and as systemd ends it."""
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    with RemoteUpstream() as upstream, MirrorDaemon(tmp_path, upstream) as daemon:
        daemon.start()
        systemd.until("READY", "1")
        systemd.until("WATCHDOG", "1")
        systemd.until("STATUS", "following: ")
        assert daemon.stop() == 0
        systemd.until("STOPPING", "1")
