"""A daemon whose system calls are traced, once for all tests of a module."""

import random
from collections.abc import Iterator

import pytest

from tests.machine import missing
from tests.power import calls
from tests.power.traced import Traced, traced


@pytest.fixture
def cuts(pytestconfig: pytest.Config) -> int:
    """At how many moments the power goes: `--cuts N`."""
    number: int = pytestconfig.getoption("cuts")
    return number


@pytest.fixture
def cut_seed(pytestconfig: pytest.Config) -> int:
    """The seed of those moments and of what is lost: `--cut-seed N`, else a new one."""
    seed: int | None = pytestconfig.getoption("cut_seed")
    return random.SystemRandom().randrange(1_000_000) if seed is None else seed


@pytest.fixture(scope="module", params=["one by one", "all together"])
def trace(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Traced]:
    """A mirror's first hours and one step of upstream's, in either way of publishing tarballs."""
    if (part := calls.reason_against()) is not None:
        missing(part)
    directory = tmp_path_factory.mktemp("traced")
    with traced(directory, together=request.param == "all together") as run:
        yield run
