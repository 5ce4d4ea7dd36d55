"""Stopping: what is under way is finished, what takes too long is done after the next start."""

import os
import signal
from functools import partial
from typing import Any

import anyio
import pytest

from npmmirror.control.client import DaemonGoneError
from npmmirror.daemon.run import run as run_daemon
from npmmirror.daemon.signals import watch_signals
from npmmirror.testing import faults
from tests.daemon.conftest import PATIENCE, FastClock, HastyClock, Open, RunningMirror

pytestmark = pytest.mark.anyio


def revisions(mirror: RunningMirror) -> int:
    """How many documents are captured."""
    [(count,)] = mirror.rows("SELECT count(*) FROM revisions")
    return int(count)


def is_draining(status: dict[str, Any]) -> bool:
    """Whether the daemon says that it is about to end."""
    return bool(status["daemon"]["state"] == "draining")


async def test_requests_under_way_are_finished(mirror: Open) -> None:
    """The document arrives after the stop; it is captured, its tarball too."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        here.upstream.fault("packument", faults.Stall(after=10), times=1)
        async with here.running() as stop:
            await here.upstream.asked("packument")
            stop.set()
            await anyio.wait_all_tasks_blocked()
            here.upstream.release()
        assert here.rows("SELECT state FROM versions") == [("held",)]


async def test_what_takes_longer_is_done_after_the_next_start(mirror: Open) -> None:
    """After `fetch.drain_seconds` requests are cut off; nothing is finished that is not there."""
    async with mirror(fetch={"drain_seconds": 0.1}) as here:
        here.upstream.registry.publish("slow", "1.0.0")
        here.upstream.registry.publish("left-pad", "1.0.0")
        here.upstream.fault("packument", faults.Stall(), name="slow", times=1)
        async with here.running():
            await here.upstream.asked("packument", "slow")
        assert not here.rows(
            "SELECT * FROM finished JOIN packages ON id = package_id AND name = 'slow'"
        )
        assert not list(here.config.storage.staging_path.iterdir())
        async with here.running():
            await here.at_head()
        assert revisions(here) == 2


async def test_no_new_job_begins_after_the_stop(mirror: Open) -> None:
    """The changes behind stay in the buffer."""
    async with mirror(fetch={"concurrency": 1}) as here:
        for number in range(10):
            here.upstream.registry.publish(f"p{number}", "1.0.0")
        here.upstream.fault("packument", faults.Stall(), times=1)
        async with here.running() as stop:
            await here.upstream.asked("packument")
            stop.set()
            await anyio.wait_all_tasks_blocked()
            here.upstream.release()
        assert revisions(here) == 1
        async with here.running():
            await here.at_head()
        assert revisions(here) == 10


async def test_a_stop_requested_before_anything_runs_is_not_lost(mirror: Open) -> None:
    """The daemon opens, finds it, and ends."""
    async with mirror() as here:
        stop = anyio.Event()
        stop.set()
        with anyio.fail_after(PATIENCE):
            await run_daemon(here.config, here.source, stop=stop, raise_bugs=True)


async def test_a_stop_while_upstream_is_down_waits_for_nobody(mirror: Open) -> None:
    """Those who wait for the end of a pause hold no job: the drain is over at once."""
    async with mirror(fetch={"drain_seconds": 1000.0}) as here:
        for number in range(20):
            here.upstream.registry.publish(f"p{number}", "1.0.0")
        here.upstream.fault("packument", faults.Status(503, retry_after="3600"), times=None)
        async with here.running() as stop:
            await here.until(lambda status: status["fetch"]["paused"] is not None)
            # One change and one row of the work list are in hand, and go to nobody.
            await here.until(lambda status: status["fetch"]["in_work"] == 2)
            stop.set()
        here.upstream.heal()
        async with here.running(clock=FastClock(5000)):
            await here.at_head()
        assert revisions(here) == 20


async def test_a_stop_before_upstream_was_ever_reached(mirror: Open) -> None:
    """With `since = "now"` the daemon waits for the feed's head; a stop ends that, too."""
    async with mirror(follow={"since": "now"}) as here:
        here.upstream.fault("root", faults.Status(500), times=None)
        here.upstream.fault("feed", faults.Status(500), times=None)
        stop = anyio.Event()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(run_daemon, here.config, here.source, stop=stop))
                await here.upstream.asked("root")
                stop.set()


async def test_the_socket_is_gone_after_the_stop(mirror: Open) -> None:
    """Nobody connects to a file that is left over."""
    async with mirror() as here:
        async with here.running():
            assert here.socket.exists()
        assert not here.socket.exists()


async def test_the_drain_is_told_until_its_end(mirror: Open) -> None:
    """The socket answers with what is still in work; what it is asked to begin, it refuses."""
    async with mirror() as here:
        here.upstream.registry.publish("slow", "1.0.0")
        here.upstream.fault("packument", faults.Stall(), times=1)
        async with here.running() as stop:
            await here.upstream.asked("packument")
            stop.set()
            status = await here.until(is_draining)
            assert status["fetch"]["packages"] == ["slow"]
            async with here.control() as daemon:
                with pytest.raises(DaemonGoneError, match="the daemon is stopping"):
                    await daemon.retry([])
                with pytest.raises(DaemonGoneError, match="the daemon is stopping"):
                    await anext(daemon.sync(["left-pad"], {}))
            here.upstream.release()
        assert not here.socket.exists()
        assert revisions(here) == 1


async def test_a_sync_that_is_watched_does_not_hold_up_the_drain(mirror: Open) -> None:
    """Its reports end with the stop; the job that it brought is finished."""
    async with mirror() as here:
        here.upstream.registry.publish("slow", "1.0.0")
        here.upstream.fault("feed", faults.Stall(), times=None)
        here.upstream.fault("packument", faults.Stall(), times=1)
        async with here.running() as stop, here.control() as daemon:
            async with anyio.create_task_group() as tasks:
                watched: list[dict[str, Any]] = []

                async def watch() -> None:
                    watched.extend([report async for report in daemon.sync(["slow"], {})])

                tasks.start_soon(watch)
                await here.upstream.asked("packument")
                stop.set()
            here.upstream.release()
        assert not any(report.get("end") for report in watched)
        assert revisions(here) == 1


async def test_the_first_signal_asks_and_the_second_cancels() -> None:
    """SIGTERM, then SIGINT of somebody who does not want to wait."""
    stop = anyio.Event()
    with anyio.fail_after(PATIENCE), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_signals, stop, scope)
            await anyio.wait_all_tasks_blocked()
            os.kill(os.getpid(), signal.SIGTERM)
            await stop.wait()
            assert not scope.cancel_called
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_second_signal_cuts_off_what_is_under_way(mirror: Open) -> None:
    """And the next start does it again."""
    async with mirror(fetch={"drain_seconds": 1000.0}) as here:
        here.upstream.registry.publish("slow", "1.0.0")
        here.upstream.fault("packument", faults.Stall(), times=1)
        with anyio.fail_after(PATIENCE):
            async with here.running():
                await here.upstream.asked("packument")
                os.kill(os.getpid(), signal.SIGTERM)
                await here.until(is_draining)
                os.kill(os.getpid(), signal.SIGTERM)
        async with here.running(clock=HastyClock()):
            await here.at_head()
        assert revisions(here) == 1
