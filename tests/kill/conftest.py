"""How often the kill tests kill, which dice they throw, and whom."""

import random
from collections.abc import Iterator

import pytest

from tests.kill.pair import Pair


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    """How often to kill: `--kills N`, or 40 times."""
    number: int | None = pytestconfig.getoption("kills")
    return 40 if number is None else number


@pytest.fixture
def kill_seed(pytestconfig: pytest.Config) -> int:
    """The seed of the moments and of the history: `--kill-seed N`, else a new one."""
    seed: int | None = pytestconfig.getoption("kill_seed")
    return random.SystemRandom().randrange(1_000_000) if seed is None else seed


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
