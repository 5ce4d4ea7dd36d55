"""Failpoints: a registry held against the source, nothing where off, SIGKILL where on."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from importlib import resources
from importlib.resources.abc import Traversable

import pytest

from npmmirror import failpoints

NAMED = re.compile(r'\breach\("([^"]+)"\)')
PASSES = "from npmmirror.failpoints import reach\nfor _ in range(3): reach('fetch.done'); print(1)"


def sources(directory: Traversable) -> list[str]:
    found = []
    for entry in directory.iterdir():
        if entry.is_dir():
            found += sources(entry)
        elif entry.name.endswith(".py"):
            found.append(entry.read_text("utf-8"))
    return found


def passing(asked: str) -> subprocess.CompletedProcess[str]:
    """A process that passes a place three times, and counts."""
    command = [sys.executable, "-uc", PASSES]
    environment = os.environ | {failpoints.VARIABLE: asked}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_every_failpoint_is_reached_at_one_place() -> None:
    """The source names those of the registry, each once, and no other."""
    named = Counter(
        name for text in sources(resources.files("npmmirror")) for name in NAMED.findall(text)
    )
    assert named == Counter(failpoints.FAILPOINTS)


def test_off_they_are_an_empty_function() -> None:
    """Without the variable no name is ever looked at."""
    assert failpoints.reach is failpoints.off


@pytest.mark.parametrize(("asked", "passes"), [("fetch.done", 0), ("fetch.done:3", 2)])
def test_it_kills_at_the_pass_that_is_asked_for(asked: str, passes: int) -> None:
    """The first where no number is given."""
    ended = passing(asked)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == "1\n" * passes


def test_another_place_is_passed_by() -> None:
    """One process is killed at one place only."""
    assert passing("feed.entry_opened").returncode == 0


@pytest.mark.parametrize("asked", ["fetch.donne", "fetch.done:0", "fetch.done:x"])
def test_a_misspelt_failpoint_is_refused(asked: str) -> None:
    """A test that asks for what is not there must not pass."""
    with pytest.raises(ValueError, match="no failpoint"):
        failpoints.killing(asked)
