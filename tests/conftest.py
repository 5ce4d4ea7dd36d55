"""Fixtures that every area shares."""

import os

import pytest


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that the daemon runs on."""
    return ("asyncio", {"use_uvloop": True})


def missing(part: str) -> None:
    """Skip the calling test for want of a part of the machine; fail where all must be there."""
    if os.environ.get("NPMMIRROR_REQUIRE_ALL") == "1":
        pytest.fail(f"NPMMIRROR_REQUIRE_ALL=1, and {part} is missing")
    pytest.skip(f"{part} is missing")
