"""Parts of the machine that some tests need, and what becomes of the tests where they are missing."""

import os
from typing import NoReturn

import pytest


def missing(part: str) -> NoReturn:
    """Skip the calling test for want of a part of the machine; fail where all must be there."""
    if os.environ.get("NPMMIRROR_REQUIRE_ALL") == "1":
        pytest.fail(f"NPMMIRROR_REQUIRE_ALL=1, and {part} is missing")
    pytest.skip(f"{part} is missing")
