"""Parts of the machine that the archive's tests need."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import missing


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 1 MiB in size; needs root."""
    directory = tmp_path / "disk"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        missing("the right to mount a tmpfs")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)
