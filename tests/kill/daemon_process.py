"""`npmmirror run` as a process that is killed, and how to see from outside where it is."""

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Self

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
    """A daemon under a data directory of its own, following a scripted upstream."""

    def __init__(self, directory: Path, upstream: RemoteUpstream) -> None:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Leave no process behind, whatever happened."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(DEADLINE_SECONDS)

    def start(self) -> None:
        """Start it; it is not waited for."""
        command = [sys.executable, "-m", "npmmirror", "--config", str(self._config), "run"]
        with self.log.open("ab") as log:
            self._log_before = log.tell()
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        self._end(signal.SIGKILL)

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
        with self.log.open("rb") as log:
            log.seek(self._log_before)
            return [] if b'"event":"started"' in log.read() else ["not started"]

    def _assert_alive(self) -> None:
        assert self._process is not None
        status = self._process.poll()
        assert status is None, f"the daemon ended with status {status}\n{self.tail()}"

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
