"""How the program speaks and ends, whatever the command."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from npmmirror import __version__
from npmmirror.cli.app import plain_error
from npmmirror.errors import LockedError, NpmmirrorError, StorageError

Program = Callable[..., subprocess.CompletedProcess[str]]


def test_the_help_names_every_command_with_its_sentence(program: Program) -> None:
    """A person understands the product from --help."""
    told = program("--help")
    assert told.returncode == 0
    assert "A faithful, verified mirror of an npm registry, with its whole history." in told.stdout
    commands = told.stdout.partition("Mirror:\n")[2].partition("Options before")[0]
    lines = [line for line in commands.splitlines() if line.startswith("  ")]
    assert "  config  " in commands
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)
    assert all(len(line) <= 80 for line in told.stdout.splitlines())


def test_no_words_at_all_get_the_help(program: Program) -> None:
    """The program alone tells what it can do, and that this was no use of it."""
    told = program()
    assert told.returncode == 2
    assert "npmmirror sync left-pad" in told.stdout + told.stderr


def test_the_version(program: Program) -> None:
    """--version prints the package's."""
    assert program("--version").stdout == f"npmmirror {__version__}\n"


def test_the_help_does_not_load_what_commands_need(tmp_path: Path) -> None:
    """The help is there at once: nothing of the network, of SQLite or of pydantic is imported."""
    code = "import sys, npmmirror.cli.app; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    for heavy in ("aiohttp", "aiosqlite", "structlog", "uvloop"):
        assert f"'{heavy}'" not in loaded


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("confg",), "No such command 'confg'. Did you mean 'config'?"),
        (("config", "shw"), "No such command 'shw'. Did you mean 'show'?"),
        (("--confg", "x"), "No such option: --confg"),
        (("config", "check", "a", "b"), "Got unexpected extra argument"),
    ],
)
def test_bad_usage_is_exit_status_2(
    program: Program, words: tuple[str, ...], sentence: str
) -> None:
    """A misspelt word is told, with the nearest one that exists."""
    told = program(*words)
    assert told.returncode == 2
    assert sentence in told.stderr


def test_an_error_is_one_plain_sentence(program: Program) -> None:
    """What a person has to act on is told without a traceback."""
    told = program("--config", "nowhere.toml", "config", "show")
    assert told.returncode == 2
    assert told.stdout == ""
    assert told.stderr == (
        "npmmirror: cannot read the configuration file nowhere.toml: No such file or directory\n"
    )


def test_ctrl_c_ends_quietly(tmp_path: Path, surroundings: dict[str, str]) -> None:
    """An interrupted command ends with exit status 130 and says nothing."""
    started = tmp_path / "started"
    os.mkfifo(started)
    npm = tmp_path / "bin" / "npm"
    npm.write_text(f"#!/bin/sh\necho >{started}\nexec /bin/sleep 60\n")
    npm.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "npmmirror", "config", "check"],
        cwd=tmp_path,
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        started.read_text()  # returns once npm was asked
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)
    assert process.returncode == 130
    assert complaints == ""


def test_a_closed_pipe_is_no_traceback(tmp_path: Path, surroundings: dict[str, str]) -> None:
    """`npmmirror … | head` ends without noise."""
    reading, writing = os.pipe()
    os.close(reading)
    told = subprocess.run(
        [sys.executable, "-m", "npmmirror", "config", "reference"],
        cwd=tmp_path,
        env=surroundings,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert told.returncode == 1
    assert told.stderr == ""


def test_errors_of_tasks_that_failed_together_are_told_as_one() -> None:
    """A group of plain errors is told by its first."""
    first = LockedError("a")
    assert (
        plain_error(ExceptionGroup("", [ExceptionGroup("", [first]), StorageError("b")])) is first
    )


@pytest.mark.parametrize(
    "error", [ValueError("x"), ExceptionGroup("", [NpmmirrorError("a"), ValueError("x")])]
)
def test_a_bug_is_seen_whole(error: Exception) -> None:
    """Whatever is no plain error keeps its traceback."""
    assert plain_error(error) is None
