"""`npmmirror run` as the soak runs it: started, killed and stopped, and what its log says."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import orjson

from npmmirror.control.address import socket_path
from npmmirror.control.client import ControlClient, DaemonGoneError

CONFIG = """
[upstream]
feed = "{feed}"
registry = "{registry}"
connect_seconds = 2.0
read_seconds = 5.0
total_seconds = 60.0

[follow]
since = 0
poll_seconds = 0.5

[fetch]
retry_seconds = 1.0
retry_max_seconds = 10.0

[policy]
confirm_removal_hours = 0.01
removal_breaker_packages = 0
removal_breaker_percent = 0

[storage]
data_dir = "{data_dir}"
packages_dir = "{packages_dir}"

[log]
format = "json"
"""
"""The defaults, but for waits that are too long for a storm of minutes."""

STOP_SECONDS = 90.0
"""Longer than a drain may take, with the end of a job and a commit behind it."""
MOST_LOG_BYTES = 64 << 20
KEPT_LOGS = 6
KEPT_SECONDS = 10_000
REFUSALS = {1, 75}
"""With these a daemon ends that cannot start: the disk refuses, or the lock is held."""


class Daemon:
    """The daemon's process. Nothing here waits long; `look` is called again and again.

    `deviations` are what must not happen; `told` counts log lines by event.
    """

    def __init__(self, directory: Path, config: Path, data_dir: Path) -> None:
        self.config = config
        self.data_dir = data_dir
        self.deviations: list[str] = []
        self.told: Counter[str] = Counter()
        self.starts: deque[float] = deque(maxlen=KEPT_SECONDS)
        self.pauses: deque[float] = deque(maxlen=KEPT_SECONDS)
        self.refused = self.refused_in_a_row = 0
        self.is_up = False
        self._logs = directory / "logs"
        self._logs.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._read = 0
        self._started_at = 0.0
        self._start_due: float | None = None
        self._stop_sent: float | None = None

    @property
    def pid(self) -> int | None:
        """The process, if it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop and has not ended."""
        return self._stop_sent is not None

    def start(self) -> None:
        """Start it now."""
        self._number += 1
        self._read, self._start_due, self._stop_sent, self.is_up = 0, None, None, False
        self._started_at = time.time()
        command = [sys.executable, "-m", "npmmirror", "--config", str(self.config), "run"]
        with self._log().open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, process_group=0, env=os.environ
            )
        for old in sorted(self._logs.iterdir())[:-KEPT_LOGS]:
            old.unlink()

    def start_in(self, seconds: float) -> None:
        """Have `look` start it then."""
        self._start_due = time.monotonic() + seconds

    def kill(self) -> None:
        """SIGKILL; it is dead on return."""
        if self._process is not None and self.pid is not None:
            self.send(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
        self.look_at_log()
        self._process, self._stop_sent, self.is_up = None, None, False

    def stop(self) -> None:
        """SIGTERM; `look` notices its end."""
        self.send(signal.SIGTERM)
        self._stop_sent = time.monotonic()

    def stopped(self) -> bool:
        """Stop it, and wait for its end; whether it ended as it should."""
        before = len(self.deviations)
        if self.pid is not None:
            self.stop()
            while self._process is not None:
                self.look()
                time.sleep(0.05)
        return len(self.deviations) == before

    def send(self, number: signal.Signals) -> None:
        """Send a signal, where it runs."""
        if self._process is not None and self.pid is not None:
            self._process.send_signal(number)

    def look(self) -> None:
        """Notice an end, start what is due."""
        self.look_at_log()
        if self._process is None:
            if self._start_due is not None and time.monotonic() >= self._start_due:
                self.start()
            return
        status = self._process.poll()
        if status is not None:
            self.look_at_log()
            self._ended(status)
        elif self._stop_sent and time.monotonic() - self._stop_sent > STOP_SECONDS:
            self.deviations.append(f"not stopped {STOP_SECONDS:.0f} s after SIGTERM\n{self.tail()}")
            self.kill()

    def _ended(self, status: int) -> None:
        was_up, stopping = self.is_up, self._stop_sent is not None
        self._process, self._stop_sent, self.is_up = None, None, False
        if stopping and status == 0:
            return
        if stopping and not was_up and status == -signal.SIGTERM:
            return  # before it could listen to signals
        if not was_up and status in REFUSALS:
            self.refused += 1
            self.refused_in_a_row += 1
        else:
            self.deviations.append(f"the daemon ended with status {status}\n{self.tail()}")
        self.start_in(1.0)

    def look_at_log(self) -> None:
        """Read what the log says since the last look."""
        try:
            with self._log().open("rb") as log:
                log.seek(self._read)
                said = log.read()
        except FileNotFoundError:
            return
        whole = said[: said.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._heard(line)
        if self._read > MOST_LOG_BYTES:
            os.truncate(self._log(), 0)
            self._read = 0

    def _heard(self, line: bytes) -> None:
        try:
            said = orjson.loads(line)
        except orjson.JSONDecodeError:
            self.told["no JSON"] += 1
            if self.is_up or b"Traceback" in line:
                self.deviations.append(f"no line of the log: {line.decode(errors='replace')}")
            return
        self.told[said["event"]] += 1
        if said["event"] == "started":
            self.is_up = True
            self.refused_in_a_row = 0
            at = datetime.fromisoformat(said["timestamp"]).timestamp()
            self.starts.append(at - self._started_at)
        if said["event"] == "fetching_resumed" and said.get("since"):
            began, ended = map(datetime.fromisoformat, (said["since"], said["timestamp"]))
            self.pauses.append((ended - began).total_seconds())
        if said["event"] == "bug" or "exception" in said:
            self.deviations.append(f"a bug: {line.decode(errors='replace')[:4000]}")

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self._log().read_text("utf-8", "replace").splitlines()
        return "\n".join(f"    {line[:2000]}" for line in lines[-12:])

    def status(self) -> dict[str, Any] | None:
        """What it says of itself; None where it does not answer."""
        return anyio.run(_status, socket_path(self.data_dir))

    def _log(self) -> Path:
        return self._logs / f"daemon-{self._number:06}.log"


async def _status(path: Path) -> dict[str, Any] | None:
    try:
        with anyio.fail_after(10):
            async with ControlClient(path) as client:
                return await client.status()
    except (DaemonGoneError, TimeoutError, OSError):
        return None
