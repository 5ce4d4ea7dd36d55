"""Fixtures that every area shares."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the kill test; pytest takes options from this file alone."""
    parser.addoption("--kills", type=int, default=25, help="how often the kill test kills")
    parser.addoption("--kill-seed", type=int, help="play a kill test again that printed this seed")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that the daemon runs on."""
    return ("asyncio", {"use_uvloop": True})
