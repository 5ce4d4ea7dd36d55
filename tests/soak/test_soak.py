"""The soak itself, for a few seconds: it must not rot."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import missing

pytestmark = pytest.mark.long

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"
WORDS = ("--minutes", "0.1", "--seed", "1", "--disks", "no")


@pytest.mark.timeout(240)
def test_a_short_soak_has_no_deviation(tmp_path: Path) -> None:
    """Hazards come and go, the mirror comes to the head, and all of it is compared."""
    if not SOAK.exists():
        missing("benchmarks/, which only a clone has,")
    command = [sys.executable, str(SOAK), *WORDS, "--directory", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "no deviation" in done.stdout
    assert list(tmp_path.iterdir()) == []
