"""Which tests run without being asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ONE = "soak/test_soak.py"


@pytest.mark.parametrize(
    ("words", "environment", "runs"),
    [([], "", False), (["--long"], "", True), ([], "1", True)],
    ids=["by itself", "asked for", "in CI"],
)
def test_what_takes_long_is_left_out(words: list[str], environment: str, *, runs: bool) -> None:
    """And says so; everywhere but in CI."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "--setup-plan"]
    done = subprocess.run(
        [*command, *words, TESTS / ONE],
        env=os.environ | {"NPMMIRROR_REQUIRE_ALL": environment},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("takes long: --long runs it, and CI does" in done.stdout) is not runs
    assert ("1 skipped" in done.stdout) is not runs
