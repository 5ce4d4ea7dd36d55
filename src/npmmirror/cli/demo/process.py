"""The mirror's own program as the demo runs it: the daemon, and commands."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import anyio
import orjson

from npmmirror.control.client import DaemonGoneError, daemon_of
from npmmirror.errors import NpmmirrorError

Report = dict[str, Any]

END_SECONDS = 30.0
"""How long the daemon may take to drain."""
_LOG_LINES = 5


class DemoError(NpmmirrorError):
    """The demo did not go as it must."""


def program(config: Path, *words: str) -> list[str]:
    """The command line of a command that works with this configuration."""
    return [sys.executable, "-m", "npmmirror", "--config", str(config), *words]


def surroundings(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment, without the settings of a mirror that is not the demo's."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("NPMMIRROR_")}
    return {**kept, **(more or {})}


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Have Ctrl-C and the like take effect at the end: what was begun is known by then."""
    came: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


class Daemon:
    """`npmmirror run` as a process. A context manager: it is killed at the end, if it still runs.

    Args:
        config: its configuration.
        data_dir: that of the configuration.
        log: where its log goes; in JSON, as the configuration must say.
    """

    def __init__(self, config: Path, data_dir: Path, log: Path) -> None:
        self._config = config
        self._data = data_dir
        self._log = log
        self._log_before = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        return self._started().pid

    def start(self) -> None:
        """Start it; it answers a moment later."""
        with uninterrupted(), self._log.open("ab") as log:
            self._log_before = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                program(self._config, "run"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=surroundings(),
                process_group=0,  # a terminal's Ctrl-C is for the demo, which then ends it
            )

    def status(self) -> Report | None:
        """What `npmmirror status --json` says; None while it starts.

        Raises:
            DemoError: it ended by itself.
        """
        ended = self._started().poll()
        if ended is not None:
            raise DemoError(f"the daemon ended by itself with status {ended}:\n{self._tail()}")
        try:
            return anyio.run(_status, self._data)
        except DaemonGoneError:
            return None  # it ended just now, which the next look tells

    def kill(self) -> None:
        """SIGKILL; returns when it is dead."""
        self._started().kill()
        self._started().wait()

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        self._started().send_signal(signal.SIGTERM)
        try:
            return self._started().wait(END_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"the daemon does not end:\n{self._tail()}") from error

    def logged(self, event: str) -> list[Report]:
        """The events of this name since the last start."""
        with self._log.open("rb") as log:
            log.seek(self._log_before)
            lines = [orjson.loads(line) for line in log if line.startswith(b"{")]
        return [line for line in lines if line["event"] == event]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the daemon was not started")
        return self._process

    def _tail(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])


async def _status(data_dir: Path) -> Report | None:
    async with daemon_of(data_dir) as daemon:
        return None if daemon is None else await daemon.status()


def wait_a_little() -> None:
    """The time between two looks at the daemon."""
    time.sleep(0.2)
