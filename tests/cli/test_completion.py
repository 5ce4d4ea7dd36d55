"""What shells complete, and that they understand what they are given."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from npmmirror.cli.completion import mend_words
from npmmirror.testing.remote import RemoteUpstream
from tests.cli.conftest import Program

pytestmark = pytest.mark.long

VARIABLE = "_NPMMIRROR_COMPLETE"


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a mirror of three packages."""
    directory = tmp_path_factory.mktemp("synced")
    with RemoteUpstream("--living", "0") as upstream:
        for name in ("left-pad", "left-side", "@scope/n"):
            upstream.do("publish", name=name, version="1.0.0")
        command = [sys.executable, "-m", "npmmirror", "sync", "left-pad", "left-side", "@scope/n"]
        once = {"NPM_CONFIG_REGISTRY": upstream.url}
        subprocess.run(
            command, cwd=directory, check=True, capture_output=True, env=os.environ | once
        )
    return directory


def completed(directory: Path, shell: str, line: str) -> str:
    """What the program gives a shell for a line that ends at the cursor."""
    words = line.split(" ")
    asked = {
        VARIABLE: f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    return subprocess.run(
        [sys.executable, "-m", "npmmirror"],
        cwd=directory,
        env=os.environ | asked,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_names_of_packages_come_from_the_index(synced: Path, shell: str) -> None:
    """Those that begin as what was typed."""
    told = completed(synced, shell, "npmmirror show left-")
    assert "left-pad" in told
    assert "left-side" in told
    assert "@scope" not in told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_and_options_are_completed(tmp_path: Path, shell: str) -> None:
    """Also where there is no mirror."""
    assert "status" in completed(tmp_path, shell, "npmmirror sta")
    assert "--watch" in completed(tmp_path, shell, "npmmirror status --w")
    assert "left" not in completed(tmp_path, shell, "npmmirror show left")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself_completes(synced: Path, tmp_path: Path) -> None:
    """With the script that is shown, and with the @ of a scope, at which bash breaks words."""
    program = tmp_path / "npmmirror"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m npmmirror "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    script = (
        "source <(npmmirror --show-completion bash)\n"
        "complete_words() {\n"
        '  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMPREPLY=()\n'
        '  _npmmirror_completion npmmirror "${@: -1}"; echo "${COMPREPLY[@]}"\n'
        "}\n"
        "complete_words npmmirror show left-p\n"
        "complete_words npmmirror show @ sc\n"
    )
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=synced,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["left-pad", "@scope/n"]


def test_installing_writes_where_the_shell_looks(
    program: Program, tmp_path: Path, surroundings: dict[str, str]
) -> None:
    """Once for each shell; the shell is found by itself, or named in a test."""
    alone = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert program("--install-completion", "bash", environment=alone).returncode == 0
    home = Path(surroundings["HOME"])
    assert "_NPMMIRROR_COMPLETE" in (home / ".bash_completions" / "npmmirror.sh").read_text("utf-8")
    assert "npmmirror.sh" in (home / ".bashrc").read_text("utf-8")
    assert tmp_path in home.parents


@pytest.mark.parametrize(
    ("words", "number", "mended"),
    [
        (["npmmirror", "show", "@", "ba"], 3, (["npmmirror", "show", "@ba"], 2)),
        (["npmmirror", "show", "@"], 2, (["npmmirror", "show", "@"], 2)),
        (["npmmirror", "show", "le"], 2, (["npmmirror", "show", "le"], 2)),
    ],
)
def test_words_that_bash_took_apart_are_put_together(
    words: list[str], number: int, mended: tuple[list[str], int]
) -> None:
    """A scope is one word."""
    environment = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(number)}
    mend_words(environment)
    assert environment == {"COMP_WORDS": "\n".join(mended[0]), "COMP_CWORD": str(mended[1])}
