"""Backfill and reconciliation as processes that are killed: the next one goes on, and ends alike."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from npmmirror import failpoints
from npmmirror.errors import LockedError
from npmmirror.testing.remote import RemoteUpstream
from tests.kill import endstate
from tests.kill.daemon_process import MirrorDaemon
from tests.kill.trial import sound

pytestmark = [pytest.mark.kill, pytest.mark.timeout(120), pytest.mark.long]

PACKAGES = 30
SMALL = """
import sys
from npmmirror.pipeline import backfill, listing
backfill.PUT_ROWS, backfill.AHEAD, backfill.POLL_SECONDS, listing.PAGE_ROWS = 3, 5, 0.02, 7
from npmmirror.cli.app import main
sys.argv[0] = "npmmirror"
main()
"""
"""The program with pages, transactions and a work list so small that a kill finds them half done."""


class Program:
    """`npmmirror` with a mirror of its own, beside an upstream; each command is a process."""

    def __init__(self, directory: Path, upstream: RemoteUpstream) -> None:
        self.daemon = MirrorDaemon(directory, upstream, {"FOLLOW__SINCE": "now"})
        self.data_dir = self.daemon.data_dir

    def start(self, *words: str, failpoint: str | None = None) -> subprocess.Popen[bytes]:
        """Begin a command."""
        environment = os.environ | self.daemon._settings
        if failpoint is not None:
            environment[failpoints.VARIABLE] = failpoint
        command = [sys.executable, "-c", SMALL, "--config", str(self.daemon._config), *words]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def do(
        self, *words: str, failpoint: str | None = None, given: bytes = b"", status: int = 0
    ) -> str:
        """Carry out a command that ends with that status; what it printed."""
        process = self.start(*words, failpoint=failpoint)
        said, _ = process.communicate(given, timeout=60)
        assert process.returncode == status, said.decode()
        return said.decode()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the index answers."""
        with closing(endstate.connect(self.data_dir)) as index:
            return index.execute(sql).fetchall()


@pytest.fixture(scope="module")
def upstream() -> Iterator[RemoteUpstream]:
    """Packages that stay as they are."""
    with RemoteUpstream("--living", str(PACKAGES), "--seed", "3") as remote:
        yield remote


@pytest.fixture(scope="module")
def undisturbed(
    upstream: RemoteUpstream, tmp_path_factory: pytest.TempPathFactory
) -> endstate.EndState:
    """The end of a backfill that nobody killed."""
    program = Program(tmp_path_factory.mktemp("undisturbed"), upstream)
    program.do("backfill")
    return sound(upstream, program.data_dir)


@pytest.mark.parametrize(
    "failpoint",
    [
        "backfill.begun",
        "bring.before_commit:4",
        "bring.committed:5",
        "backfill.listed_all",
        "fetch.done:7",
        "index.committed:6",
    ],
)
def test_killed_anywhere_it_goes_on_and_ends_alike(
    tmp_path: Path, upstream: RemoteUpstream, undisturbed: endstate.EndState, failpoint: str
) -> None:
    """SIGKILL at a place, then the same command: all that is listed, nothing twice."""
    program = Program(tmp_path, upstream)
    program.do("backfill", failpoint=failpoint, status=-signal.SIGKILL)
    program.do("backfill")
    assert endstate.differences(undisturbed, sound(upstream, program.data_dir)) == []
    assert program.rows("SELECT command FROM resumptions") == []


def test_killed_again_and_again_while_it_lists(
    tmp_path: Path, upstream: RemoteUpstream, undisturbed: endstate.EndState
) -> None:
    """Signals from outside, at no place in particular, until it has come through."""
    program = Program(tmp_path, upstream)
    for seconds in (0.9, 1.1, 1.4):
        process = program.start("backfill")
        time.sleep(seconds)
        process.kill()
        process.communicate(timeout=30)
    program.do("backfill")
    assert endstate.differences(undisturbed, sound(upstream, program.data_dir)) == []


def test_a_daemon_goes_on_with_what_was_killed_alone(
    tmp_path: Path, upstream: RemoteUpstream, undisturbed: endstate.EndState
) -> None:
    """Nobody has to ask it to."""
    program = Program(tmp_path, upstream)
    program.do("backfill", failpoint="bring.committed:3", status=-signal.SIGKILL)
    with program.daemon as daemon:
        daemon.start()
        wait_for(lambda: daemon.status()["backfill"] is None)
        assert daemon.stop() == 0
    assert endstate.differences(undisturbed, sound(upstream, program.data_dir)) == []


def test_a_daemon_that_is_killed_goes_on_at_its_next_start(
    tmp_path: Path, upstream: RemoteUpstream, undisturbed: endstate.EndState
) -> None:
    """Whoever watched is told in a sentence."""
    program = Program(tmp_path, upstream)
    with program.daemon as daemon:
        daemon.start("index.committed:4")
        wait_for((program.data_dir / "control.sock").exists)
        said = program.do("backfill", status=LockedError.exit_status)
        assert "daemon" in said
        assert daemon.wait_for_kill()
        daemon.start()
        wait_for(lambda: daemon.status()["backfill"] is None)
        assert daemon.stop() == 0
    assert endstate.differences(undisturbed, sound(upstream, program.data_dir)) == []


@pytest.mark.parametrize("failpoint", ["backfill.begun", "bring.committed:2"])
def test_the_names_of_a_pipe_outlive_a_kill(
    tmp_path: Path, upstream: RemoteUpstream, failpoint: str
) -> None:
    """They were kept: the command goes on without them."""
    names = [f"package-{number}" for number in range(0, PACKAGES, 2)]
    program = Program(tmp_path, upstream)
    given = "\n".join(names).encode()
    program.do(
        *("backfill", "--file", "-"), given=given, failpoint=failpoint, status=-signal.SIGKILL
    )
    program.do("backfill")
    held = {name for (name,) in program.rows("SELECT name FROM packages WHERE state <> ''")}
    assert held == set(names)
    assert not list(program.data_dir.glob("backfill.names*"))


@pytest.mark.parametrize("failpoint", ["reconcile.scanned", "reconcile.reported"])
def test_a_reconciliation_that_is_killed_is_done_again(
    tmp_path: Path, upstream: RemoteUpstream, failpoint: str
) -> None:
    """It leaves no temp file behind; what it queued is no finding of the next one."""
    program = Program(tmp_path, upstream)
    program.do("backfill")
    [(lost,), (back,)] = program.rows("SELECT name FROM packages ORDER BY name LIMIT 2")
    with closing(sqlite3.connect(program.data_dir / "index.db")) as index, index:
        index.execute("UPDATE packages SET state = '' WHERE name = ?", (lost,))
        index.execute("UPDATE packages SET state = 'removed' WHERE name = ?", (back,))
    program.do("reconcile", failpoint=failpoint, status=-signal.SIGKILL)
    report = json.loads(program.do("reconcile", "--json", status=1))
    queued = {
        (name, reason)
        for name, reason in program.rows(
            "SELECT name, reason FROM work_list JOIN packages AS p ON p.id = package_id"
        )
    }
    assert queued == {(lost, "missing"), (back, "returned")}
    assert report["missing"] + report["returned"] + report["waiting"] == 2
    assert not list((program.data_dir / "staging").iterdir())


def wait_for(true: Any) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
