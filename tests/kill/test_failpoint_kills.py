"""Invariant 2, place by place: SIGKILL at every failpoint, then a restart."""

from pathlib import Path

import pytest

from npmmirror.testing.remote import RemoteUpstream
from tests.kill.daemon_process import MirrorDaemon
from tests.kill.pair import LIVING, SETTINGS, Pair
from tests.kill.places import ALWAYS, FIRST_START, ONCE, kill_at
from tests.kill.trial import settled

pytestmark = [pytest.mark.kill, pytest.mark.timeout(120), pytest.mark.long]


@pytest.mark.parametrize(
    "failpoint", [*ALWAYS, *(f"{name}:2" for name in ALWAYS if name not in ONCE)]
)
def test_killed_anywhere_it_ends_as_if_left_alone(pair: Pair, failpoint: str) -> None:
    """One kill at one place, the first or the second time that it is passed, and a restart."""
    assert kill_at(pair, failpoint), f"{failpoint} was not passed"
    pair.recover()


@pytest.mark.parametrize("failpoint", sorted(FIRST_START))
def test_killed_at_its_first_start_it_begins_anew(tmp_path: Path, failpoint: str) -> None:
    """Places that are passed in an empty directory alone."""
    with (
        RemoteUpstream(*LIVING) as upstream,
        MirrorDaemon(tmp_path, upstream, SETTINGS) as daemon,
    ):
        for start in (failpoint, failpoint, None):
            daemon.start(start)
            killed = daemon.wait_for_kill()
            assert killed or start is None or daemon.stop() == 0
        daemon.wait_for_head()
        settled(upstream, daemon)
