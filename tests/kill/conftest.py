"""How often the kill test kills, and which dice it throws."""

import random

import pytest


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    """How often to kill: `--kills N`."""
    number: int = pytestconfig.getoption("kills")
    return number


@pytest.fixture
def kill_seed(pytestconfig: pytest.Config) -> int:
    """The seed of the moments and of the history: `--kill-seed N`, else a new one."""
    seed: int | None = pytestconfig.getoption("kill_seed")
    return random.SystemRandom().randrange(1_000_000) if seed is None else seed
