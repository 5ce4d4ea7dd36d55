"""Fixtures that every area shares."""

import signal

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of tests in kill/, power/ and daemon/; pytest takes them from this file alone."""
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


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that the daemon runs on."""
    return ("asyncio", {"use_uvloop": True})
