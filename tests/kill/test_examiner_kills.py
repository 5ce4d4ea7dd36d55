"""The process that examines documents is killed again and again; the daemon goes on."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from npmmirror.pipeline import examining
from tests.kill.pair import Pair

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300), pytest.mark.long]

STEPS = 3


def test_killed_examiners_cost_nothing(pair: Pair, kill_seed: int) -> None:
    """Documents over which it died are examined again: it ends as if left alone."""
    print(f"--kill-seed {kill_seed}")  # noqa: T201 - to play it again
    dice = random.Random(kill_seed)
    pair.disturbed.start()
    for _ in range(STEPS):
        pair.step()
        while pair.disturbed.unfinished():
            time.sleep(dice.uniform(0, 0.05))
            kill_examiner(pair.disturbed.pid)
    assert pair.disturbed.stop() == 0
    log = pair.disturbed.log.read_text()
    assert '"event":"examiner_died"' in log
    assert '"event":"examiner_unusable"' not in log
    pair.recover()


def test_the_daemon_has_one_examiner(pair: Pair) -> None:
    """The one that was started before its imports; none beside it, and none that outlives it."""
    pair.disturbed.start()
    pair.step()
    while pair.disturbed.unfinished():
        time.sleep(0.05)
    [examiner] = examiners(pair.disturbed.pid)
    assert pair.disturbed.stop() == 0
    assert not Path(f"/proc/{examiner}").exists()
    pair.recover()


def kill_examiner(daemon: int) -> None:
    """SIGKILL to the daemon's child, where it has one that is at work or about to be."""
    for pid in examiners(daemon):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def examiners(daemon: int) -> list[int]:
    """The daemon's children that are to go first where memory runs out."""
    found = []
    for tasks in Path(f"/proc/{daemon}/task").glob("*/children"):
        for pid in tasks.read_text().split():
            with suppress(OSError):
                if Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == examining.KILL_FIRST:
                    found.append(int(pid))
    return found
