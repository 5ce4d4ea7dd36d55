"""A demo played once to its end, where no registry answers, for the tests that look at it."""

import os
import socket
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Played:
    """How it ended, and the directory that it was started in."""

    status: int
    output: str
    complaints: str
    cwd: Path


def surroundings(home: Path, registry: str) -> dict[str, str]:
    """An environment with this registry, and a mirror's settings that are not the demo's."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.upper().startswith(("NPM", "NO_COLOR", "FORCE_COLOR", "PREFIX", "COLUMNS"))
    }
    elsewhere = {"NPMMIRROR_STORAGE__DATA_DIR": str(home / "elsewhere")}
    return {**kept, **elsewhere, "HOME": str(home), "NPM_CONFIG_REGISTRY": registry}


@pytest.fixture(scope="session")
def nobody() -> str:
    """The URL of a registry that does not answer."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, nobody: str) -> Played:
    """`npmmirror demo`, not on a terminal."""
    cwd = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "npmmirror", "demo"],
        cwd=cwd,
        env=surroundings(cwd, nobody),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return Played(done.returncode, done.stdout, done.stderr, cwd)
