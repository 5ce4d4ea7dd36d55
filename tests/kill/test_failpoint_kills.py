"""Invariant 2, place by place: SIGKILL at every failpoint, then a restart."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from npmmirror.failpoints import FAILPOINTS
from npmmirror.testing.remote import RemoteUpstream
from tests.kill import endstate
from tests.kill.daemon_process import MirrorDaemon
from tests.kill.trial import NEWS_BEGIN, settled, sound

SETTINGS = {"STORAGE__SEGMENT_BYTES": 4096, "FOLLOW__PAGE_ROWS": 3}
"""A segment for each group, or nearly so, and several pages a step."""
LIVING = ("--living", "10", "--share", "0.7", "--seed", "7")
STEPS = 8
"""In one of so many steps each place is passed, and twice: most are in each."""
GARBAGE = b"\x7fa record that was not written to its end"

FIRST_START = frozenset(
    {
        "start.first_mark_logged",
        "start.rewound",
        "start.first_receipt",
        "start.following_noted",
    }
)
ONCE = frozenset({"replay.sealed", "recovery.tail_copied", "recovery.tail_named"})
ONCE |= frozenset({"recovery.tail_cut", "buffer.trimmed", "buffer.blocks_deleted"})
ONCE |= {name for name in FAILPOINTS if name.startswith("start.")}
"""Passed once in the life of a process, or once within any time that a test has."""
ALWAYS = sorted(FAILPOINTS - FIRST_START)

pytestmark = [pytest.mark.kill, pytest.mark.timeout(120)]


class Pair:
    """Two mirrors of one upstream: one is left alone, the other one is killed."""

    def __init__(self, directory: Path) -> None:
        self._stack = ExitStack()
        enter = self._stack.enter_context
        self.upstream = enter(RemoteUpstream(*LIVING))
        self.undisturbed = enter(MirrorDaemon(directory / "undisturbed", self.upstream, SETTINGS))
        self.disturbed = enter(MirrorDaemon(directory / "disturbed", self.upstream, SETTINGS))
        self.undisturbed.start()
        self.disturbed.start()
        self.undisturbed.wait_for_head()
        self.disturbed.wait_for_head()
        self.disturbed.stop()
        self.upstream.do("set_time", moment=NEWS_BEGIN)
        self.intact = True

    def step(self) -> None:
        """Let upstream go on, and the undisturbed mirror see it, without any faults."""
        self.upstream.do("heal")
        self.upstream.do("step")
        self.undisturbed.wait_for_head()

    def close(self) -> None:
        """End all three."""
        self._stack.close()


@pytest.fixture(scope="module")
def pairs() -> Iterator[list[Pair]]:
    """The pair that is at work, if any; starting one costs as much as a whole test."""
    at_work: list[Pair] = []
    yield at_work
    for pair in at_work:
        pair.close()


@pytest.fixture
def pair(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two mirrors that are alike, the disturbed one not running."""
    if not pairs:
        pairs.append(Pair(tmp_path_factory.mktemp("pair")))
    pair = pairs[0]
    pair.intact = False
    yield pair
    if not pair.intact:
        pairs.clear()
        pair.close()


def _tear_the_tail(pair: Pair) -> None:
    """What a kill in the midst of a long write leaves behind the last record."""
    last = max((pair.disturbed.data_dir / "captures").glob("*.log"))
    with last.open("ab") as segment:
        segment.write(GARBAGE)


def _leave_records_behind_the_index(pair: Pair) -> None:
    pair.disturbed.start("captures.synced")
    assert pair.disturbed.wait_for_kill()


def _alter_tarballs(pair: Pair) -> None:
    """Have tarballs fail for some time, so that they are put on the work list."""
    pair.upstream.do("fault", fault={"kind": "altered"}, scope="tarball", times=12)


BEFORE: Mapping[str, Callable[[Pair], None]] = {
    "recovery.tail_copied": _tear_the_tail,
    "recovery.tail_named": _tear_the_tail,
    "recovery.tail_cut": _tear_the_tail,
    "replay.record_taken": _leave_records_behind_the_index,
    "replay.group_committed": _leave_records_behind_the_index,
    "replay.sealed": _leave_records_behind_the_index,
    "feed.work_handed_out": _alter_tarballs,
}
"""What must have happened for a place to be passed."""


def kill_at(pair: Pair, failpoint: str) -> bool:
    """Let upstream go on and start the mirror until it is killed there; whether it was."""
    prepare = BEFORE.get(failpoint.partition(":")[0])
    for _ in range(STEPS):
        pair.step()
        if prepare is not None:
            prepare(pair)
        pair.disturbed.start(failpoint)
        if pair.disturbed.wait_for_kill():
            return True
        assert pair.disturbed.stop() == 0
    return False


@pytest.mark.parametrize(
    "failpoint", [*ALWAYS, *(f"{name}:2" for name in ALWAYS if name not in ONCE)]
)
def test_killed_anywhere_it_ends_as_if_left_alone(pair: Pair, failpoint: str) -> None:
    """One kill at one place, the first or the second time that it is passed, and a restart."""
    assert kill_at(pair, failpoint), f"{failpoint} was not passed"
    pair.disturbed.start()
    pair.disturbed.wait_for_head()
    found = settled(pair.upstream, pair.disturbed)
    assert endstate.differences(sound(pair.upstream, pair.undisturbed.data_dir), found) == []
    pair.intact = True


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
