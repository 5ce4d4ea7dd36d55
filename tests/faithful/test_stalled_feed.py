"""A feed that stands still for this process: a new connection, then a new process."""

import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror.errors import FeedStalledError
from npmmirror.testing import ScriptedRegistry, ScriptedUpstream, faults
from npmmirror.testing.remote import RemoteUpstream
from tests.daemon.conftest import Open, RunningMirror
from tests.kill.daemon_process import DEADLINE_SECONDS, MirrorDaemon

pytestmark = [pytest.mark.anyio, pytest.mark.long]

SOON: dict[str, Any] = {"stall_minutes": 0.005, "stall_restarts": 0}
"""A feed that stands still for 0.3 seconds is stalled; the daemon never gives up."""


async def same_page_for_ever(mirror: RunningMirror) -> None:
    """From now on the feed answers what it answered last."""
    since = (await mirror.status())["feed"]["cursor"]
    page = f'{{"results":[],"last_seq":{since}}}'
    mirror.upstream.fault("feed", faults.Status(200, body=page), times=None)


async def stall(mirror: RunningMirror) -> None:
    """Have the feed stand still until the daemon ends."""
    enough = anyio.Event()
    async with mirror.running() as stop, anyio.create_task_group() as tasks:
        await mirror.at_head()
        await same_page_for_ever(mirror)
        tasks.start_soon(go_on, mirror, enough)
        await stop.wait()
        enough.set()


async def go_on(mirror: RunningMirror, until: anyio.Event) -> None:
    """Have upstream publish without end."""
    number = 0
    while not until.is_set():
        number += 1
        mirror.upstream.registry.publish(f"news-{number}", "1.0.0")
        await anyio.sleep(0.05)


async def test_a_feed_that_answers_the_same_page_for_ever_is_connected_anew(
    mirror: Open,
) -> None:
    """Counted and shown; what came meanwhile is mirrored once it answers rightly."""
    async with mirror(follow=SOON) as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        enough = anyio.Event()
        async with here.running(), anyio.create_task_group() as tasks:
            await here.at_head()
            await same_page_for_ever(here)
            tasks.start_soon(go_on, here, enough)
            status = await here.until(lambda now: now["feed"]["rebuilds"] > 1)
            assert status["feed"]["follow_lag"] > 0
            enough.set()
            here.upstream.heal()
            await here.at_head()


async def test_a_feed_that_hangs_is_connected_anew(mirror: Open) -> None:
    """Where the rest of upstream answers: else it is an outage."""
    upstream = {"read_seconds": 0.1, "connect_seconds": 0.1}
    async with mirror(follow=SOON, upstream=upstream) as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        enough = anyio.Event()
        async with here.running(), anyio.create_task_group() as tasks:
            await here.at_head()
            here.upstream.fault("feed", faults.Stall(), times=None)
            tasks.start_soon(go_on, here, enough)
            status = await here.until(lambda now: now["feed"]["rebuilds"] > 0)
            assert status["feed"]["follow_lag"] > 0
            enough.set()
            here.upstream.heal()
            here.upstream.release()
            await here.at_head()


async def test_an_opaque_feed_that_stands_still_is_connected_anew(mirror: Open) -> None:
    """By its newest row, which must be one that was not seen."""
    served = ScriptedUpstream(ScriptedRegistry(opaque_seqs=True))
    async with mirror(served, follow=SOON) as here:
        registry = served.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            cursor = (await here.at_head())["feed"]["cursor"]
            page = f'{{"results":[],"last_seq":"{cursor}"}}'

            async def old_where_since(asked: Any) -> None:
                if asked.scope == "feed" and asked.query and "since" in asked.query:
                    served.fault("feed", faults.Status(200, body=page), times=1)

            served.hooks.append(old_where_since)
            registry.publish("news", "1.0.0")
            await here.until(lambda now: now["feed"]["rebuilds"] > 0)
            served.hooks.clear()
            served.heal()
            await here.at_head()


async def test_what_is_no_stall(mirror: Open) -> None:
    """Neither an idle feed, nor slow downloads, nor an upstream that is away."""
    async with mirror(follow=SOON, upstream={"read_seconds": 5.0}) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            roots = here.upstream.count("root")
            await here.upstream.asked("root", times=roots + 12)
            here.upstream.fault("packument", faults.Stall(), times=None)
            registry.publish("slow", "1.0.0")
            await here.upstream.asked("packument", "slow")
            await here.upstream.asked("root", times=roots + 24)
            here.upstream.heal()
            await here.upstream.go_down()
            await here.until(lambda now: now["feed"]["error"] is not None)
            await anyio.sleep(0.5)  # longer than a stall takes; nobody could be asked meanwhile
            registry.publish("after", "1.0.0")
            await here.upstream.come_back()
            status = await here.at_head()
            assert status["feed"]["rebuilds"] == 0


async def test_after_some_connections_in_vain_it_gives_up(mirror: Open) -> None:
    """What is in work is finished first."""
    async with mirror(follow={**SOON, "stall_restarts": 2}) as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        with pytest.raises(ExceptionGroup) as raised:
            await stall(here)
        assert raised.group_contains(FeedStalledError, match="after 2 new connections")


def test_the_process_ends_with_69_for_systemd_to_start_it_again(tmp_path: Path) -> None:
    """The next one mirrors what came meanwhile."""
    settings = {"FOLLOW__STALL_MINUTES": "0.005", "FOLLOW__STALL_RESTARTS": "1"}
    with (
        RemoteUpstream("--living", "3", "--seed", "7") as upstream,
        MirrorDaemon(tmp_path, upstream, settings) as daemon,
    ):
        daemon.start()
        daemon.wait_for_head()
        head = upstream.do("head")
        page = f'{{"results":[],"last_seq":{head}}}'
        fault = {"kind": "status", "code": 200, "body": page}
        upstream.do("fault", fault=fault, scope="feed", times=None)
        status, deadline = None, time.monotonic() + DEADLINE_SECONDS
        while status is None and time.monotonic() < deadline:
            upstream.do("step")
            status = daemon.ended(0.1)
        assert status == 69, daemon.tail()
        assert "feed_given_up" in daemon.tail()
        upstream.do("heal")
        daemon.start()
        daemon.wait_for_head()
        assert daemon.stop() == 0
