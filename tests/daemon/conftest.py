"""A real daemon in this process, against the scripted upstream."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from npmmirror.clock import Clock, SystemClock
from npmmirror.config import Config
from npmmirror.control.address import socket_path
from npmmirror.control.client import ControlClient, DaemonGoneError
from npmmirror.daemon import standalone
from npmmirror.daemon.mirror import Source
from npmmirror.daemon.run import run as run_daemon
from npmmirror.pipeline.sync import SyncReport, wishes
from npmmirror.testing import ScriptedUpstream
from tests.kill import endstate

PATIENCE = 30
"""Seconds until a test that waits for the daemon gives up."""


class Row(NamedTuple):
    """A row of the work list."""

    reason: str
    attempts: int
    detail: str
    dead: bool


@dataclass
class RunningMirror:
    """A data directory and the daemon that may run on it."""

    config: Config
    upstream: ScriptedUpstream
    registry: str = ""
    """The registry's URL, where it is not the upstream's."""

    @property
    def socket(self) -> Path:
        """Where the daemon listens for commands."""
        return socket_path(self.config.storage.data_dir)

    @property
    def source(self) -> Source:
        """Where the mirror gets things."""
        return Source(self.registry or self.upstream.url, self.upstream.feed)

    def control(self) -> ControlClient:
        """A client of the running daemon."""
        return ControlClient(self.socket)

    async def status(self) -> dict[str, Any]:
        """What the daemon says of itself."""
        async with self.control() as client:
            return await client.status()

    async def _answers(self) -> bool:
        """Whether the daemon answers; a socket may be there that one before left behind."""
        if not self.socket.exists():
            return False
        try:
            await self.status()
        except DaemonGoneError:
            return False
        return True

    async def until(self, true_of: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first status of which something is true."""
        status: dict[str, Any] = {}
        with anyio.move_on_after(PATIENCE):
            while True:
                status = await self.status()
                if true_of(status):
                    return status
                await anyio.sleep(0.02)
        raise AssertionError(f"not so within {PATIENCE} s: {status}")

    async def at_head(self) -> dict[str, Any]:
        """Wait until everything announced is finished and nothing is due."""
        head = (self.upstream.registry.changes(descending=True, limit=1))["last_seq"]
        return await self.until(
            lambda status: status["feed"]["cursor"] == head and status["mirror"]["at_head"]
        )

    @asynccontextmanager
    async def running(
        self, *, clock: Clock | None = None, raise_bugs: bool = True
    ) -> AsyncIterator[anyio.Event]:
        """The daemon at work inside the block, drained at its end (or once the event is set)."""
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                partial(
                    run_daemon,
                    self.config,
                    self.source,
                    stop=stop,
                    raise_bugs=raise_bugs,
                    clock=clock or HastyClock(),
                )
            )
            with anyio.fail_after(PATIENCE):
                while not await self._answers():  # noqa: ASYNC110 - as another program would
                    await anyio.sleep(0.01)
            try:
                yield stop
            finally:
                stop.set()

    async def sync(self, *specs: str, **options: bool) -> list[SyncReport]:
        """What `npmmirror sync` does where no daemon runs."""
        asked = wishes(
            specs,
            all_versions=options.get("all_versions", False),
            mode=self.config.policy.tarballs,
        )
        return await standalone.sync(
            self.config,
            Source(self.upstream.url),
            asked,
            force=options.get("force", False),
            progress=lambda _: None,
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the index answers, read as another program would."""
        with closing(endstate.connect(self.config.storage.data_dir)) as index:
            return index.execute(sql).fetchall()

    def work_list(self, package: str) -> dict[str, Row]:
        """The rows of a package's work list by item ("": the packument)."""
        found = self.rows(
            "SELECT p.name, item, reason, attempts, detail, not_before IS NULL "
            "FROM work_list JOIN packages AS p ON p.id = package_id"
        )
        return {item: Row(*rest) for name, item, *rest in found if name == package}

    def end_state(self) -> endstate.EndState:
        """What is in the data directory."""
        return endstate.read(self.config.storage.data_dir)


class HastyClock(SystemClock):
    """The real time, but pauses that jitter are fifty times shorter."""

    def jitter(self, low: float, high: float) -> float:
        """See `Clock.jitter`."""
        return super().jitter(low, high) / 50


class FastClock(SystemClock):
    """A time in which everything happens so many times faster than in ours."""

    def __init__(self, times: float) -> None:
        self._times = times
        self._began = super().now()
        self._start = super().monotonic()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._start + (super().monotonic() - self._start) * self._times

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self._began + timedelta(seconds=self.monotonic() - self._start)

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await super().sleep(seconds / self._times)


Open = Callable[..., AbstractAsyncContextManager[RunningMirror]]


@pytest.fixture
def mirror(tmp_path: Path) -> Open:
    """Opens a mirror of a fresh scripted upstream; sections of the configuration by keyword."""
    return opener(tmp_path / "data")


def opener(data_dir: Path) -> Open:
    """What opens a mirror there, where its sections do not name another place."""

    @asynccontextmanager
    async def opened(
        served: ScriptedUpstream | None = None, /, **sections: dict[str, Any]
    ) -> AsyncIterator[RunningMirror]:
        given: dict[str, dict[str, Any]] = {
            "follow": {"since": 0, "poll_seconds": 0.05},
            "fetch": {
                "retry_seconds": 0.05,
                "retry_max_seconds": 0.2,
                "concurrency": 8,
                "drain_seconds": 5.0,
            },
            "storage": {"commit_seconds": 0.02, "min_free_bytes": 0},
            "policy": {},
            "server": {"listen": ""},
        }
        for section, keys in sections.items():
            given.setdefault(section, {}).update(keys)
        given["storage"].setdefault("data_dir", str(data_dir))
        given["upstream"] = {"max_attempts": 1, **sections.get("upstream", {})}
        async with served or ScriptedUpstream() as server:
            config = Config.model_validate(given)
            yield RunningMirror(config, server)

    return opened
