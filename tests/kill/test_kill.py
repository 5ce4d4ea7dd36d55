"""Invariant 2: `kill -9` at any instant, then a restart, ends as if nothing had happened."""

import hashlib
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from npmmirror.archive import CaptureReader, Damage
from npmmirror.capture import Kind
from npmmirror.testing.remote import RemoteUpstream
from tests.kill import endstate
from tests.kill.daemon_process import MirrorDaemon

PACKAGES = 30
SHARE = 0.5
"""Half of them change in a step: enough work to be killed in the midst of."""
NEWS_BEGIN = "2100-01-01T00:00:00Z"
"""From the first step on, changes are news to a mirror that began to follow before."""
MOST_REQUESTS = int(PACKAGES * SHARE)

pytestmark = [pytest.mark.kill, pytest.mark.timeout(3600)]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an undisturbed mirror took, in seconds: from its start, and for a step."""

    start: float
    step: float


FAULTS = (
    ("packument", {"kind": "status", "code": 503, "retry_after": "0"}),
    ("packument", {"kind": "truncated"}),
    ("packument", {"kind": "html_page"}),
    ("tarball", {"kind": "altered"}),
    ("tarball", {"kind": "reset"}),
    ("feed", {"kind": "status", "code": 502}),
)
"""What comes and goes in a storm, each at one request in thirty."""


@contextmanager
def mirrored(
    directory: Path, seed: int, *, stormy: bool = False
) -> Iterator[tuple[RemoteUpstream, MirrorDaemon]]:
    """An upstream, and a mirror of it that has been started."""
    words = ("--living", str(PACKAGES), "--share", str(SHARE), "--seed", str(seed))
    with RemoteUpstream(*words) as upstream, MirrorDaemon(directory, upstream) as daemon:
        for scope, fault in FAULTS if stormy else ():
            upstream.do("fault", fault=fault, scope=scope, times=None, chance=1 / 30)
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
    directory: Path, kills: list[int], pace: Pace, dice: random.Random, *, seed: int, stormy: bool
) -> tuple[endstate.EndState, int]:
    """The end state after so many kills in each step, and how many of them hit unfinished work."""
    hits = 0
    with mirrored(directory, seed, stormy=stormy) as (upstream, daemon):
        for step, number in enumerate(kills):
            if step == 1:
                upstream.do("set_time", moment=NEWS_BEGIN)
            if step:
                upstream.do("step")
            for _ in range(number):
                wait_for_moment(dice, upstream, pace)
                daemon.kill()
                hits += bool(daemon.unfinished())
                daemon.start()
            daemon.wait_for_head()
        assert all(upstream.do("played").values())
        return settled(upstream, daemon), hits


def wait_for_moment(dice: random.Random, upstream: RemoteUpstream, pace: Pace) -> None:
    """Wait for some time from the start on, or until some documents were asked for."""
    if dice.random() < 0.3:
        time.sleep(dice.uniform(0, 1.2 * pace.start))
        return
    enough = requests(upstream) + dice.randrange(1, MOST_REQUESTS)
    too_late = time.monotonic() + pace.start + pace.step
    while requests(upstream) < enough and time.monotonic() < too_late:
        time.sleep(0.002)
    time.sleep(dice.uniform(0, 0.03))


def requests(upstream: RemoteUpstream) -> int:
    """How many documents were asked for so far."""
    number: int = upstream.do("count", scope="packument")
    return number


def settled(upstream: RemoteUpstream, daemon: MirrorDaemon) -> endstate.EndState:
    """Stop the daemon; the end state, which must be upstream's and leave nothing about."""
    assert daemon.stop() == 0, daemon.tail()
    state = endstate.read(daemon.data_dir)
    assert endstate.untruths(state, upstream.do("state")) == []
    assert endstate.leftovers(daemon.data_dir, state) == []
    assert list(unreadable(daemon.data_dir)) == []
    return state


def unreadable(data_dir: Path) -> Iterator[str]:
    """Records of the capture log that are damaged, and documents that do not read back."""
    with CaptureReader(data_dir / "captures") as captures:
        for record in captures.scan():
            if isinstance(record, Damage):
                yield str(record.error())
            elif record.kind is Kind.PACKUMENT:
                found = hashlib.sha256(captures.document(record.place)).hexdigest()
                if found != record.sha256:
                    yield f"{record.ordinal}: {found}, not {record.sha256}"


@pytest.mark.parametrize("stormy", [False, True], ids=["calm", "stormy"])
def test_killed_run_ends_as_an_undisturbed_one(
    tmp_path: Path, kills: int, kill_seed: int, capsys: pytest.CaptureFixture[str], *, stormy: bool
) -> None:
    """Packages, versions, tarballs, revisions and events are the same after `--kills` kills.

    Also where the upstream has faults that pass, which the undisturbed run does not see.
    """
    dice = random.Random(kill_seed)
    steps = max(4, kills // 3)
    places = [dice.randrange(steps + 1) for _ in range(kills)]
    expected, pace = undisturbed(tmp_path / "undisturbed", kill_seed, steps)
    spread = [places.count(step) for step in range(steps + 1)]
    found, hits = killed(tmp_path / "killed", spread, pace, dice, seed=kill_seed, stormy=stormy)
    with capsys.disabled():
        print(f"\n--kills {kills} --kill-seed {kill_seed}: {hits} hit unfinished work")  # noqa: T201 - to play it again
    assert endstate.differences(expected, found) == []
    assert hits or not kills, "every kill came too late to prove anything"
