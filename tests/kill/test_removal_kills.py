"""Decisions about held removals, killed in their midst."""

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from npmmirror import failpoints
from npmmirror.testing.remote import RemoteUpstream
from tests.kill import endstate
from tests.kill.daemon_process import DEADLINE_SECONDS, MirrorDaemon

pytestmark = pytest.mark.long

NAMES = [f"package-{number}" for number in (0, 1, 2, 4, 5, 6)]


def tripped(daemon: MirrorDaemon, upstream: RemoteUpstream) -> None:
    """Have three removals recorded and three held; the daemon is killed then."""
    daemon.start()
    daemon.wait_for_head()
    for name in NAMES:
        upstream.do("remove", name=name)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while _held(daemon) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    daemon.kill()


def _held(daemon: MirrorDaemon) -> int:
    with closing(endstate.connect(daemon.data_dir)) as index:
        [(count,)] = index.execute("SELECT count(*) FROM held_removals").fetchall()
    return int(count)


def decide(daemon: MirrorDaemon, word: str, failpoint: str | None = None) -> int:
    """Type a decision about everything that is held; the exit status."""
    environment = os.environ | daemon._settings
    if failpoint is not None:
        environment[failpoints.VARIABLE] = failpoint
    command = [sys.executable, "-m", "npmmirror", "--config", str(daemon._config)]
    done = subprocess.run(
        [*command, "removals", word], env=environment, capture_output=True, check=False
    )
    return done.returncode


@pytest.mark.parametrize(
    ("place", "word", "removed"),
    [
        ("record.durable:1", "confirm", 6),
        ("index.before_commit:1", "confirm", 6),
        ("record.committed:1", "confirm", 6),
        ("record.durable:1", "discard", 3),
    ],
)
def test_a_decision_that_is_killed_is_made_once(
    tmp_path: Path, place: str, word: str, removed: int
) -> None:
    """Whatever of it was durable stays, the same command does the rest, no event comes twice."""
    settings = {"POLICY__REMOVAL_BREAKER_PACKAGES": 3}
    with (
        RemoteUpstream("--living", "8") as upstream,
        MirrorDaemon(tmp_path, upstream, settings) as daemon,
    ):
        tripped(daemon, upstream)
        assert decide(daemon, word, place) == -9
        assert decide(daemon, word) == 0
        assert daemon.said("removals", "list", "--json")["held"] == []
        packages = endstate.read(daemon.data_dir).packages
        ends = [row[1] for state in packages.values() for row in state.events].count(
            "package_removed"
        )
        assert ends == removed
        assert daemon.said("reindex", "--json")["whole"]
        again = endstate.read(daemon.data_dir).packages
        assert {name: state.events for name, state in again.items()} == {
            name: state.events for name, state in packages.items()
        }
