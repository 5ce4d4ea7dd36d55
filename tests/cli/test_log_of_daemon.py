"""The log of a real daemon, in a process of its own, as somebody reads it who tails it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from npmmirror.testing.remote import RemoteUpstream
from tests.kill.daemon_process import MirrorDaemon

pytestmark = pytest.mark.long

PACKAGES = 24
EVIL = "evil\x1b[31m\n"
STAGES = ["downloaded_in_local", "moved_to_remote", "added_to_db", "mirrored"]
DEADLINE_SECONDS = 60

Lines = list[dict[str, Any]]


def read(log: Path) -> Lines:
    """The lines of a log; all of them are JSON."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def of(lines: Lines, event: str) -> Lines:
    """The lines of an event."""
    return [line for line in lines if line["event"] == event]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """What a daemon logs at debug that meets faults, goes on to the head, and is stopped."""
    directory = tmp_path_factory.mktemp("log")
    settings = {"LOG__LEVEL": "debug", "UPSTREAM__MAX_ATTEMPTS": 3}
    with (
        RemoteUpstream("--living", str(PACKAGES)) as upstream,
        MirrorDaemon(directory, upstream, settings) as daemon,
    ):
        upstream.do("fault", fault={"kind": "status", "code": 500}, scope="packument", times=3)
        upstream.do("fault", fault={"kind": "altered"}, scope="tarball", name="package-1", times=2)
        upstream.do("put_document", name=EVIL, text=json.dumps({"name": EVIL, "versions": {}}))
        daemon.start()
        daemon.wait_for_head()
        assert daemon.stop() == 0
        return read(daemon.log)


def test_no_line_is_printed_twice(everything: Lines) -> None:
    """Not by two handlers, not by a library and us: each says something that no other says."""
    told = [json.dumps({**line, "timestamp": ""}) for line in everything]
    assert [line for line, times in Counter(told).items() if times > 1] == []
    changes = [
        (line["package"], line["seq"]) for line in of(everything, "mirrored") if "rev" in line
    ]
    assert len(changes) == len(set(changes)) >= PACKAGES


def test_every_line_is_an_event_of_ours(everything: Lines) -> None:
    """None of stamina's, structlog's or aiohttp's own."""
    documented = (Path(__file__).parents[2] / "docs" / "logs.md").read_text(encoding="utf-8")
    names = set(re.findall(r"(?m)^\| `(\w+)` \|", documented))
    assert {line["event"] for line in everything} - names == set()


def test_lines_of_a_job_have_its_package_and_seq(everything: Lines) -> None:
    """Retries of the HTTP client, which knows no packages, among them."""
    retried = of(everything, "request_retried")
    assert {line["reason"] for line in retried} == {"http_500"}
    assert all(isinstance(line["seq"], int) for line in retried)
    assert all(unquote(line["detail"]).endswith(f"/{line['package']}") for line in retried)
    named = [line.get("package") for line in of(everything, "downloaded_in_local")]
    assert len(named) >= PACKAGES
    assert None not in named


def test_the_stages_of_a_change_are_told_in_their_order(everything: Lines) -> None:
    """Staged, moved, added, and only then told as done."""
    moved = {line["package"] for line in of(everything, "moved_to_remote")}
    assert len(moved) >= PACKAGES
    for name in moved:
        told = iter([line["event"] for line in everything if line.get("package") == name])
        assert all(stage in told for stage in STAGES), name


def test_a_run_begins_and_ends_with_a_line(everything: Lines) -> None:
    """And says that it was asked to stop."""
    assert everything[0]["event"] == "started"
    assert [line["event"] for line in everything[-2:]] == ["draining", "stopped"]
    assert everything[-1]["finished"] >= PACKAGES


def test_catching_up_is_summed_up(tmp_path: Path) -> None:
    """The lines and what their sums count are all changes; no second has more than its lines."""
    settings = {"LOG__MAX_CHANGES_PER_SECOND": 3}
    with (
        RemoteUpstream("--living", "60") as upstream,
        MirrorDaemon(tmp_path, upstream, settings) as daemon,
    ):
        daemon.start()
        daemon.wait_for_head()
        assert daemon.stop() == 0
    lines = read(daemon.log)
    sums = of(lines, "more_changes")
    ends = len(of(lines, "mirrored")) + len(of(lines, "skipped_change"))
    assert sums
    assert ends + sum(line["changes"] for line in sums) == lines[-1]["finished"] >= 60


class Started:
    """A daemon whose standard error output is a test's."""

    def __init__(self, daemon: MirrorDaemon, errors: int, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "npmmirror", "--config", str(daemon._config), "run"]
        self._daemon = daemon
        self.process = subprocess.Popen(command, stderr=errors, env=os.environ | environment)

    def wait_for_head(self) -> None:
        """Wait until everything upstream told is finished."""
        too_late = time.monotonic() + DEADLINE_SECONDS
        while behind := self._daemon.unfinished():
            assert self.process.poll() is None
            assert time.monotonic() < too_late, behind
            time.sleep(0.02)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)


Start = Callable[..., Started]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a daemon with this standard error output, and these settings."""
    with (
        RemoteUpstream("--living", "60") as upstream,
        MirrorDaemon(tmp_path, upstream) as daemon,
    ):
        running: list[Started] = []

        def started(errors: int, **settings: str) -> Started:
            environment = {f"NPMMIRROR_{key}": value for key, value in settings.items()}
            running.append(Started(daemon, errors, environment))
            return running[-1]

        yield started
        for each in running:
            with suppress(ProcessLookupError):
                each.process.kill()
            each.process.wait()


def test_a_reader_that_ends_does_not_end_the_daemon(start: Start) -> None:
    """`npmmirror run 2>&1 | head -1`: it goes on to the head and stops in good order."""
    reading, writing = os.pipe()
    daemon = start(writing, LOG__LEVEL="debug")
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as reader:
        assert json.loads(reader.readline())["event"] == "started"
    daemon.wait_for_head()
    assert daemon.stop() == 0


def test_a_reader_that_does_not_read_does_not_stop_the_daemon(start: Start) -> None:
    """A pipe that is full costs lines, and how many is told once it is read again."""
    reading, writing = socket.socketpair()
    with reading, writing:
        writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        daemon = start(writing.fileno(), LOG__LEVEL="debug")
        writing.close()
        daemon.wait_for_head()
        reading.setblocking(False)
        told = whatever_is_in(reading)
        assert daemon.stop() == 0
        told += whatever_is_in(reading)
    lines = [
        json.loads(line)
        for line in told.splitlines()
        if line.startswith(b"{") and line.endswith(b"}")
    ]
    [lost] = of(lines, "log_lines_lost")
    assert lost["lines"] > 0


def whatever_is_in(reading: socket.socket) -> bytes:
    """What was written and not read yet."""
    told = b""
    with suppress(BlockingIOError):
        while data := reading.recv(1 << 20):
            told += data
    return told
