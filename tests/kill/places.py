"""The failpoints as tests see them: how often each is passed, and what must have happened before."""

from collections.abc import Callable, Mapping

from npmmirror.failpoints import FAILPOINTS
from tests.kill.pair import Pair

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
_COMMANDS = ("reset.", "bring.", "backfill.", "reconcile.", "retire.")
OF_COMMANDS = frozenset(name for name in FAILPOINTS if name.startswith(_COMMANDS))
"""Passed by a command, never by a daemon; `tests/daemon/test_reset.py` kills there."""
OF_FALLEN_HEADS = frozenset({"follow.head_fell", "follow.head_taken"})
"""Passed where the feed's head goes back; `tests/faithful/test_overlap_kills.py` kills there."""
ALWAYS = sorted(FAILPOINTS - FIRST_START - OF_COMMANDS - OF_FALLEN_HEADS)


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
