"""Invariant 2: `kill -9` at any instant, then a restart, ends as if nothing had happened."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from npmmirror.testing.remote import RemoteUpstream
from tests.kill import endstate
from tests.kill.daemon_process import MirrorDaemon
from tests.kill.places import ALWAYS, BEFORE, ONCE
from tests.kill.trial import NEWS_BEGIN, settled

PACKAGES = 30
SHARE = 0.5
"""Half of them change in a step: enough work to be killed in the midst of."""
MOST_REQUESTS = int(PACKAGES * SHARE)
PLACES = [name for name in ALWAYS if name not in BEFORE]
"""Failpoints that a daemon passes in any step."""
MOST_PASSES = 3

pytestmark = [pytest.mark.kill, pytest.mark.timeout(7200)]


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
"""What comes and goes in a storm: each once at its beginning, then at one request in thirty."""


@contextmanager
def mirrored(
    directory: Path,
    seed: int,
    *,
    stormy: bool = False,
    settings: Mapping[str, object] | None = None,
) -> Iterator[tuple[RemoteUpstream, MirrorDaemon]]:
    """An upstream, and a mirror of it that has been started; `settings` are the mirror's."""
    words = ("--living", str(PACKAGES), "--share", str(SHARE), "--seed", str(seed))
    with (
        RemoteUpstream(*words) as upstream,
        MirrorDaemon(directory, upstream, settings) as daemon,
    ):
        for scope, fault in FAULTS if stormy else ():
            upstream.do("fault", fault=fault, scope=scope)  # the dice may choose it never
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


@dataclass(slots=True)
class Killer:
    """Kills a daemon: at a moment or at a failpoint, whichever the dice say, and starts it anew."""

    upstream: RemoteUpstream
    daemon: MirrorDaemon
    pace: Pace
    dice: random.Random
    hits: int = 0
    at_failpoints: int = 0
    starts: list[float] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)

    def step(self, number: int, kills: int) -> None:
        """Let a step happen, so many kills in it, and the mirror come to the head."""
        armed = kills > 0 and self.dice.random() < 0.5
        if armed:
            self.daemon.kill()
            self._start(armed=True)
        if number == 1:
            self.upstream.do("set_time", moment=NEWS_BEGIN)
        if number:
            self.upstream.do("step")
        for left in reversed(range(kills)):
            self._kill(armed=armed)
            armed = left > 0 and self.dice.random() < 0.5
            self._start(armed=armed)
        began = time.monotonic()
        self.daemon.wait_for_head()
        if kills:
            self.recoveries.append(time.monotonic() - began)
            self._note_start()

    def _start(self, *, armed: bool) -> None:
        place = self.dice.choice(PLACES)
        passes = 1 if place in ONCE else self.dice.randint(1, MOST_PASSES)
        self.daemon.start(f"{place}:{passes}" if armed else None)

    def _kill(self, *, armed: bool) -> None:
        if armed:
            self.at_failpoints += self.daemon.wait_for_kill()
        else:
            wait_for_moment(self.dice, self.upstream, self.pace)
        self.daemon.kill()
        self._note_start()
        self.hits += bool(self.daemon.unfinished())

    def _note_start(self) -> None:
        if (seconds := self.daemon.seconds_to_start()) is not None:
            self.starts.append(seconds)

    def report(self) -> str:
        """What it did, in lines for people."""
        return (
            f"{self.hits} kills hit unfinished work, {self.at_failpoints} were at failpoints\n"
            f"  seconds until started again: {quantiles(self.starts)}\n"
            f"  seconds until at the head again: {quantiles(self.recoveries)}"
        )


def quantiles(seconds: Sequence[float]) -> str:
    """The median, two quantiles and the longest of some times."""
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "longest": 1.0}
    last = len(ordered) - 1
    told = [f"{name} {ordered[round(share * last)]:.2f}" for name, share in shares.items()]
    return f"{', '.join(told)} (of {len(ordered)})"


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


@pytest.mark.parametrize(
    "stormy",
    [pytest.param(False, id="calm"), pytest.param(True, id="stormy", marks=pytest.mark.long)],
)
def test_killed_run_ends_as_an_undisturbed_one(
    tmp_path: Path, kills: int, kill_seed: int, capsys: pytest.CaptureFixture[str], *, stormy: bool
) -> None:
    """Packages, versions, tarballs, revisions and events are the same after half of `--kills`.

    Also where the upstream has faults that pass, which the undisturbed run does not see.
    """
    kills //= 2
    dice = random.Random(kill_seed)
    steps = max(4, kills // 2)
    places = [dice.randrange(steps + 1) for _ in range(kills)]
    with capsys.disabled():
        print(f"\n--kills {2 * kills} --kill-seed {kill_seed}")  # noqa: T201 - to play it again
    expected, pace = undisturbed(tmp_path / "undisturbed", kill_seed, steps)
    with mirrored(tmp_path / "killed", kill_seed, stormy=stormy) as (upstream, daemon):
        killer = Killer(upstream, daemon, pace, dice)
        for step in range(steps + 1):
            killer.step(step, places.count(step))
        assert all(upstream.do("played").values())
        found = settled(upstream, daemon)
    with capsys.disabled():
        print(killer.report())  # noqa: T201 - how long a restart takes is a promise, too
    assert endstate.differences(expected, found) == []
    assert killer.hits or not kills, "every kill came too late to prove anything"
