"""Parts of the machine that some tests need, and what becomes of the tests where they are missing."""

import os
from typing import NoReturn

import pytest


def everything_is_to_run() -> bool:
    """Whether no test may be skipped: in CI."""
    return os.environ.get("NPMMIRROR_REQUIRE_ALL") == "1"


def missing(part: str) -> NoReturn:
    """Skip the calling test for want of a part of the machine; fail where all must be there."""
    if everything_is_to_run():
        pytest.fail(f"NPMMIRROR_REQUIRE_ALL=1, and {part} is missing")
    pytest.skip(f"{part} is missing")
