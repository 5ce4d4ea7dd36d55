"""Invariant 2: `kill -9` at any instant, then a restart, ends as if nothing had happened."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.kill import endstate
from tests.kill.daemon_process import MirrorDaemon

from npmmirror.testing.remote import RemoteUpstream

PACKAGES = 12
NEWS_BEGIN = "2100-01-01T00:00:00Z"
"""From the first step on, changes are news to a mirror that began to follow before."""

pytestmark = [pytest.mark.kill, pytest.mark.timeout(3600)]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an undisturbed mirror took, in seconds: from its start, and for a step."""

    start: float
    step: float


@contextmanager
def mirrored(directory: Path, seed: int) -> Iterator[tuple[RemoteUpstream, MirrorDaemon]]:
    """An upstream, and a mirror of it that has been started."""
    living = ("--living", str(PACKAGES), "--seed", str(seed))
    with RemoteUpstream(*living) as upstream, MirrorDaemon(directory, upstream) as daemon:
        daemon.start()
        yield upstream, daemon


def undisturbed(directory: Path, seed: int, steps: int) -> tuple[endstate.EndState, Pace]:
    """The end state of a run that is left alone."""
    with mirrored(directory, seed) as (upstream, daemon):
        start, longest = daemon.wait_for_head(), 0.0
        upstream.do("set_time", moment=NEWS_BEGIN)
        for _ in range(steps):
            upstream.do("step")
            longest = max(longest, daemon.wait_for_head())
        return settled(upstream, daemon), Pace(start, longest)


def killed(
    directory: Path, seed: int, kills: list[int], pace: Pace, dice: random.Random
) -> endstate.EndState:
    """The end state after so many kills in each step, each at a random moment."""
    with mirrored(directory, seed) as (upstream, daemon):
        for step, number in enumerate(kills):
            if step == 1:
                upstream.do("set_time", moment=NEWS_BEGIN)
            if step:
                upstream.do("step")
            for again in range(number):
                fresh = again > 0 or step == 0
                time.sleep(moment_to_kill(dice, pace, fresh=fresh))
                daemon.kill()
                daemon.start()
            daemon.wait_for_head()
        return settled(upstream, daemon)


def moment_to_kill(dice: random.Random, pace: Pace, *, fresh: bool) -> float:
    """Seconds to wait; a fresh process is mostly killed when it had time to begin its work."""
    if not fresh:
        return dice.uniform(0, 1.1 * pace.step)
    return dice.uniform(dice.choice((0.0, 0.5, 0.7)), 1.1) * pace.start


def settled(upstream: RemoteUpstream, daemon: MirrorDaemon) -> endstate.EndState:
    """Stop the daemon; the end state, which must be upstream's and leave nothing about."""
    assert daemon.stop() == 0, daemon.tail()
    state = endstate.read(daemon.data_dir)
    assert endstate.untruths(state, upstream.do("state")) == []
    assert endstate.leftovers(daemon.data_dir, state) == []
    return state


def test_killed_run_ends_as_an_undisturbed_one(
    tmp_path: Path, kills: int, kill_seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Packages, versions, tarballs, revisions and events are the same after `--kills` kills."""
    with capsys.disabled():
        print(f"\n{kills} kills, --kill-seed {kill_seed}")  # noqa: T201 - to play it again
    dice = random.Random(kill_seed)
    steps = max(4, kills // 3)
    places = [dice.randrange(steps + 1) for _ in range(kills)]
    expected, pace = undisturbed(tmp_path / "undisturbed", kill_seed, steps)
    spread = [places.count(step) for step in range(steps + 1)]
    found = killed(tmp_path / "killed", kill_seed, spread, pace, dice)
    assert endstate.differences(expected, found) == []
