"""`kill -9` of the daemon at any instant, with its buffer on a real broker."""

import random
from pathlib import Path

import pytest

from tests.kafka.conftest import settings
from tests.kill import endstate
from tests.kill.test_kill import Killer, mirrored, undisturbed
from tests.kill.trial import settled

pytestmark = [pytest.mark.kafka, pytest.mark.kill, pytest.mark.timeout(7200), pytest.mark.long]

KILLS = 25


def test_killed_on_kafka_it_ends_as_an_undisturbed_one(
    broker_address: str,
    topic: str,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The undisturbed one needs no broker: both end with the same."""
    kills = pytestconfig.getoption("kills") or KILLS
    given = pytestconfig.getoption("kill_seed")
    seed = random.SystemRandom().randrange(1_000_000) if given is None else given
    dice = random.Random(seed)
    steps = max(4, kills // 3)
    places = [dice.randrange(steps + 1) for _ in range(kills)]
    with capsys.disabled():
        print(f"\nkafka: --kills {kills} --kill-seed {seed}")  # noqa: T201 - to play it again
    expected, pace = undisturbed(tmp_path / "undisturbed", seed, steps)
    kafka = settings(broker_address, topic)
    with mirrored(tmp_path / "killed", seed, settings=kafka) as (upstream, daemon):
        killer = Killer(upstream, daemon, pace, dice)
        for step in range(steps + 1):
            killer.step(step, places.count(step))
        found = settled(upstream, daemon)
    with capsys.disabled():
        print(killer.report())  # noqa: T201 - how long a restart takes is a promise, too
    assert endstate.differences(expected, found) == []
    assert killer.hits, "every kill came too late to prove anything"
