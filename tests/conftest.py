"""Fixtures that every area shares."""

import os
import signal

import pytest

from tests.machine import everything_is_to_run


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of tests in kill/, power/ and daemon/; pytest takes them from this file alone."""
    parser.addoption("--long", action="store_true", help="run what takes long, too")
    parser.addoption("--kills", type=int, help="how often the kill tests kill")
    parser.addoption("--kill-seed", type=int, help="play a kill test again that printed this seed")
    parser.addoption("--cuts", type=int, default=8, help="how often tests have the power go")
    parser.addoption("--cut-seed", type=int, help="play a loss of power again that printed it")
    parser.addoption("--histories", type=int, default=12, help="how many lives are rebuilt")
    parser.addoption("--lives", type=int, default=4, help="how many mirrors are held to the truth")


def pytest_configure() -> None:
    """A shell that starts tests in the background has them, and all that they start, ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Five minutes are enough for what everybody runs; CI runs all."""
    if config.getoption("long") or everything_is_to_run():
        return
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(pytest.mark.skip(reason="takes long: --long runs it, and CI does"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two a processor, for tests wait; one in CI, where the long ones keep it busy."""
    each = 1 if everything_is_to_run() else 2
    return min(each * len(os.sched_getaffinity(0)), 8)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that the daemon runs on."""
    return ("asyncio", {"use_uvloop": True})
