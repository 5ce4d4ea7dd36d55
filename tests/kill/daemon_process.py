"""`npmmirror run` as a process that is killed, and how to see from outside where it is."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import orjson

from npmmirror import failpoints
from npmmirror.testing.remote import RemoteUpstream
from tests.kill import endstate

CONFIG = """
[upstream]
feed = "{feed}"
registry = "{registry}"

[follow]
since = 0
poll_seconds = 0.05
page_rows = 7

[fetch]
concurrency = 4
tarballs_per_job = 1
retry_seconds = 0.2

[policy]
confirm_removal_answers = 1
confirm_removal_hours = 0
removal_breaker_percent = 0

[server]
listen = ""

[storage]
data_dir = "{data_dir}"
commit_count = 3
commit_seconds = 0.02
segment_bytes = 65536
min_free_bytes = 0

[log]
format = "json"
"""
"""Everything small, so that a kill finds groups, pages, segments and work rows half done."""

DEADLINE_SECONDS = 60
POLL_SECONDS = 0.02


class MirrorDaemon:
    """A daemon under a data directory of its own, following a scripted upstream.

    Args:
        directory: where data, configuration and log lie; `data` may be there already.
        upstream: what it mirrors.
        settings: by section and key in capitals (`STORAGE__COMMIT_COUNT`), over `CONFIG`.
        tracer: a command that starts it, such as strace.
    """

    def __init__(
        self,
        directory: Path,
        upstream: RemoteUpstream,
        settings: Mapping[str, object] | None = None,
        tracer: Sequence[str] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.data_dir = directory / "data"
        self.log = directory / "daemon.log"
        self._config = directory / "mirror.toml"
        self._config.write_text(
            CONFIG.format(feed=upstream.feed, registry=upstream.url, data_dir=self.data_dir),
            encoding="utf-8",
        )
        self._upstream = upstream
        self._process: subprocess.Popen[bytes] | None = None
        self._log_before = 0
        self._started_at = 0.0
        self._settings = {f"NPMMIRROR_{key}": str(to) for key, to in (settings or {}).items()}
        self._tracer = tuple(tracer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Leave no process behind, whatever happened."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(DEADLINE_SECONDS)

    @property
    def pid(self) -> int:
        """The process started last."""
        assert self._process is not None
        return self._process.pid

    def start(self, failpoint: str | None = None) -> None:
        """Start it, to kill itself at a failpoint where one is given; it is not waited for."""
        program = [sys.executable, "-m", "npmmirror", "--config", str(self._config), "run"]
        command = [*self._tracer, *program]
        environment = os.environ | self._settings
        if failpoint is not None:
            environment[failpoints.VARIABLE] = failpoint
        with self.log.open("ab") as log:
            self._log_before = log.tell()
            self._started_at = time.time()
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def kill(self) -> None:
        """SIGKILL, wherever it is; it may be dead by a failpoint."""
        assert self._process is not None
        if not self.killed():
            self._process.kill()
            self._process.wait(DEADLINE_SECONDS)

    def killed(self) -> bool:
        """Whether a failpoint killed it.

        Raises:
            AssertionError: it ended in another way.
        """
        assert self._process is not None
        # asked once: it may be killed at any moment, also between two questions
        status = self._process.poll()
        assert status in {None, -signal.SIGKILL}, self._ended(status)
        return status is not None

    def ended(self, seconds: float) -> int | None:
        """Its exit status, where it ends by itself within so many seconds."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def seconds_to_start(self) -> float | None:
        """How long the last start took until the daemon said so; None where it never did."""
        for line in self._lines():
            if b'"event":"started"' in line:
                said = datetime.fromisoformat(orjson.loads(line)["timestamp"])
                return said.timestamp() - self._started_at
        return None

    def configure(self, settings: Mapping[str, object]) -> None:
        """Set values for the starts that follow, over those that are set."""
        self._settings |= {f"NPMMIRROR_{key}": str(to) for key, to in settings.items()}

    def status(self) -> Any:
        """What `npmmirror status` says."""
        return self.said("status", "--json")

    def said(self, *words: str) -> Any:
        """What another process of npmmirror says, as JSON, about the same mirror."""
        command = [sys.executable, "-m", "npmmirror", "--config", str(self._config), *words]
        environment = os.environ | self._settings
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=DEADLINE_SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        return orjson.loads(done.stdout)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def unfinished(self) -> list[str]:
        """What upstream told and the mirror has not finished, also after it was killed."""
        return self._unfinished(self._upstream.do("state"))

    def wait_for_head(self) -> float:
        """Wait until everything upstream told is finished; how long that took, in seconds.

        Raises:
            AssertionError: the daemon ended by itself, or takes too long.
        """
        truth = self._upstream.do("state")
        began = time.monotonic()
        while missing := self._unfinished(truth) or self._not_started():
            self._assert_alive()
            waited = time.monotonic() - began
            assert waited < DEADLINE_SECONDS, f"not finished: {missing}\n{self.tail()}"
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began

    def wait_for_kill(self) -> bool:
        """Wait until a failpoint kills it, or until it is at the head; whether it was killed."""
        truth = self._upstream.do("state")
        began = time.monotonic()
        while not self.killed():
            if not self._unfinished(truth) and not self._not_started():
                return False
            waited = time.monotonic() - began
            assert waited < DEADLINE_SECONDS, f"neither killed nor finished\n{self.tail()}"
            time.sleep(POLL_SECONDS)
        return True

    def _unfinished(self, truth: Mapping[str, Mapping[str, Any]]) -> list[str]:
        try:
            with closing(endstate.connect(self.data_dir)) as index:
                finished = dict(index.execute(FINISHED).fetchall())
                waiting = [name for (name,) in index.execute(WAITING).fetchall()]
        except sqlite3.OperationalError as error:
            return [str(error)]
        behind = [
            name
            for name, told in truth.items()
            if told["seq"] is not None and finished.get(name) != told["rev"]
        ]
        return behind + waiting

    def _not_started(self) -> list[str]:
        """A process that has not said that it started would not drain on SIGTERM yet."""
        return (
            [] if any(b'"event":"started"' in line for line in self._lines()) else ["not started"]
        )

    def _lines(self) -> list[bytes]:
        """What the process that was started last has logged."""
        with self.log.open("rb") as log:
            log.seek(self._log_before)
            return log.read().splitlines()

    def _assert_alive(self) -> None:
        assert self._process is not None
        status = self._process.poll()
        assert status is None, self._ended(status)

    def _ended(self, status: int | None) -> str:
        return f"the daemon ended with status {status}\n{self.tail()}"

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._assert_alive()
        self._process.send_signal(number)
        return self._process.wait(DEADLINE_SECONDS)

    def tail(self) -> str:
        """The last lines of the daemon's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


FINISHED = "SELECT name, finished.rev FROM finished JOIN packages ON packages.id = package_id"
WAITING = "SELECT name || ' ' || item FROM work_list JOIN packages ON packages.id = package_id"
