"""The real program, run by itself in a directory of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Result = subprocess.CompletedProcess[str]
Program = Callable[..., Result]


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """An environment without settings, without anybody's npm and npmrc."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.upper().startswith(("NPM", "NO_COLOR", "FORCE_COLOR", "PREFIX"))
    }
    (tmp_path / "bin").mkdir()
    (tmp_path / "home").mkdir()
    return {**kept, "HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")}


@pytest.fixture
def program(tmp_path: Path, surroundings: dict[str, str]) -> Program:
    """Runs `npmmirror` with these words (and variables) in `tmp_path`, to its end."""

    def run(*words: str, environment: Mapping[str, str] | None = None) -> Result:
        return subprocess.run(
            [sys.executable, "-m", "npmmirror", *words],
            cwd=tmp_path,
            env={**surroundings, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
