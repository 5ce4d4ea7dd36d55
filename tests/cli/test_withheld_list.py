"""The withheld list is read, and refused, before anybody is served."""

import subprocess
from collections.abc import Callable
from pathlib import Path

Program = Callable[..., subprocess.CompletedProcess[str]]
REFUSED = "npmmirror: the configuration cannot be used:\n  server.withhold: "


def test_a_list_that_cannot_be_read_is_told_by_every_command_that_serves(
    program: Program, tmp_path: Path
) -> None:
    """Its path starts at the configuration's directory."""
    (tmp_path / "mirror.toml").write_text('[server]\nwithhold = ["file:bad.txt"]\n')
    for words in (("config", "check"), ("run",)):
        told = program(*words)
        assert (told.returncode, told.stdout) == (2, "")
        missing = f"cannot read the list {tmp_path}/bad.txt: No such file or directory\n"
        assert told.stderr == REFUSED + missing


def test_an_entry_that_means_nothing_is_told(program: Program, tmp_path: Path) -> None:
    """A dist-tag, for one; where it stands in a file, too."""
    (tmp_path / "mirror.toml").write_text('[server]\nwithhold = ["file:bad.txt"]\n')
    (tmp_path / "bad.txt").write_text("evil\nworse@latest\n")
    told = program("config", "check")
    assert told.returncode == 2
    assert told.stderr == f"{REFUSED}'worse@latest': 'latest' is no version and no range\n"
    (tmp_path / "bad.txt").write_text("evil\nworse@<1.0.0\n")
    assert program("config", "check").returncode == 0
