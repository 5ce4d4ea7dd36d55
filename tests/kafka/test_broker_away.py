"""A broker that is away under a running daemon: what it has in hand is done, and it waits."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiokafka.client import AIOKafkaClient

from npmmirror.buffer.base import Buffer
from npmmirror.buffer.kafka import KafkaBuffer
from npmmirror.clock import SystemClock
from npmmirror.daemon import feed_follower, run
from npmmirror.daemon.buffers import open_buffer
from npmmirror.pipeline.follow import Follower
from npmmirror.testing import faults
from tests.daemon.conftest import RunningMirror, opener
from tests.kafka.broker import Broker, free_ports
from tests.kafka.proxy import Proxy

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.timeout(400), pytest.mark.long]

PAGE_ROWS = 5
WORKERS = 4
ATTEMPTS = 2
"""So often the follower tries again, while it is looked at how often the broker is asked."""
OFTEN = 3
"""Connections in a second, of follower and reader together."""
SLACK = 10
"""Connections and tasks that an attempt under way may have."""
SECONDS = 120
CLIENTS = 3
"""Of a session: producer, consumer, admin."""


@dataclass
class Parts:
    """Parts of the daemon that runs in this process."""

    buffers: list[Buffer] = field(default_factory=list)
    followers: list[Follower] = field(default_factory=list)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Parts:
    """What a daemon that starts from now on is made of."""
    # What pytest keeps of aiokafka's lines would keep alive the clients that they tell of.
    caplog.set_level(logging.CRITICAL, logger="aiokafka")
    found = Parts()

    async def opened(config: Any, clock: Any) -> Buffer:
        found.buffers.append(await open_buffer(config, clock))
        return found.buffers[-1]

    def made(*args: Any, **keys: Any) -> Follower:
        found.followers.append(Follower(*args, **keys))
        return found.followers[-1]

    monkeypatch.setattr(run, "open_buffer", opened)
    monkeypatch.setattr(feed_follower, "Follower", made)
    return found


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Proxy, str]]:
    """A broker that is reached through a relay alone, and the relay's address."""
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    advertised = {"PROXIED": address}
    with (
        Broker(tmp_path_factory.mktemp("away"), ("PROXIED",), advertised=advertised) as broker,
        Proxy(address, broker.addresses["PROXIED"]) as proxy,
    ):
        yield broker, proxy, address


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    with anyio.fail_after(SECONDS):
        while not condition():  # noqa: ASYNC110 - another thread or process brings it about
            await anyio.sleep(0.02)


async def until_status(here: RunningMirror, true_of: Callable[[Any], bool]) -> Any:
    """The first status of which something is true."""
    with anyio.fail_after(SECONDS):
        while not true_of(status := await here.status()):  # noqa: ASYNC110 - as another program would
            await anyio.sleep(0.05)
    return status


def clients() -> int:
    """How many connections' owners are in memory."""
    gc.collect()
    return sum(isinstance(one, AIOKafkaClient) for one in gc.get_objects())


def in_flight(buffer: Buffer) -> int:
    """How many batches wait to be acknowledged."""
    assert isinstance(buffer, KafkaBuffer)
    session = buffer._link._session
    return 0 if session is None else len(session._sent)


def finished(here: RunningMirror) -> int:
    """How many packages are in the index as their last change told."""
    [(count,)] = here.rows("SELECT count(*) FROM finished")
    return int(count)


@asynccontextmanager
async def at_work(directory: Path, address: str, topic: str) -> AsyncIterator[RunningMirror]:
    """A daemon with every worker at a document that does not come, and all else in the topic."""
    kafka = {
        "bootstrap_servers": [address],
        "topic": topic,
        "partitions": 2,
        "poll_seconds": 0.3,
        "request_seconds": 1.0,
    }
    async with opener(directory / "data")(
        follow={"page_rows": PAGE_ROWS},
        fetch={"concurrency": WORKERS},
        buffer={"backend": "kafka", "kafka": kafka},
    ) as here:
        here.upstream.fault("packument", faults.Stall(), times=WORKERS)
        async with here.running(clock=SystemClock()):
            for number in range(WORKERS):
                here.upstream.registry.publish(f"early-{number}", "1.0.0")
            await here.upstream.asked("packument", times=WORKERS)
            await until_status(here, lambda status: status["feed"]["follow_lag"] == 0)
            yield here


@pytest.mark.parametrize("manner", ["killed", "suspended"])
async def test_a_broker_away_in_flight_is_waited_for(
    proxied: tuple[Broker, Proxy, str],
    parts: Parts,
    topic: str,
    tmp_path: Path,
    *,
    manner: str,
) -> None:
    """The pool's work is committed, no page is asked for twice, nothing spins or piles up."""
    broker, proxy, address = proxied
    before = clients()
    async with at_work(tmp_path, address, topic) as here:
        [buffer], [follower] = parts.buffers, parts.followers
        (broker.kill if manner == "killed" else broker.suspend)()
        for number in range(4 * PAGE_ROWS):
            here.upstream.registry.publish(f"late-{number}", "1.0.0")

        await until_status(here, lambda status: status["feed"]["error"] is not None)
        asked = here.upstream.count("feed")
        assert finished(here) == 0
        here.upstream.release()
        await until(lambda: finished(here) == WORKERS)
        await until_status(here, lambda status: status["fetch"]["in_work"] == 0)

        tasks, failures = len(asyncio.all_tasks()), follower._failures
        began, connections = time.monotonic(), proxy.connections
        await until(lambda: follower._failures >= failures + ATTEMPTS)
        tries, seconds = proxy.connections - connections, time.monotonic() - began
        assert tries <= OFTEN * seconds + SLACK
        assert len(asyncio.all_tasks()) <= tasks + SLACK
        assert here.upstream.count("feed") == asked
        assert follower._page is not None
        assert len(follower._page.changes) <= PAGE_ROWS
        assert in_flight(buffer) <= PAGE_ROWS
        assert clients() - before <= 2 * CLIENTS
        assert finished(here) == WORKERS

        broker.revive()
        all_of_them = {"live": WORKERS + 4 * PAGE_ROWS}
        await until_status(here, lambda status: status["totals"]["packages"] == all_of_them)
        await until_status(here, lambda status: status["feed"]["error"] is None)
        assert here.upstream.count("packument") == sum(all_of_them.values())
    assert clients() <= before
