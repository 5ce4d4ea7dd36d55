"""docs/service.md against what it tells about: the unit, the configuration, events, options."""

import re
import shutil
import subprocess
from pathlib import Path

from typer.main import get_command

from npmmirror.cli.app import app
from tests.machine import missing

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
UNIT = (ROOT / "systemd" / "npmmirror.service").read_text(encoding="utf-8")
LOGS = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")


def shell() -> str:
    """What is to be typed, line by line."""
    return "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))


def test_what_is_typed_can_be_parsed() -> None:
    """By the shell; no quote is open."""
    subprocess.run(["sh", "-n", "-c", shell()], check=True)


def test_the_files_that_are_installed_are_there() -> None:
    """And the unit starts what the links lead to, with the file that is written."""
    installed = re.findall(r"install .*(systemd/\S+) ", shell())
    assert set(installed) == {"systemd/npmmirror.sysusers", "systemd/npmmirror.service"}
    assert all((ROOT / name).exists() for name in installed)
    assert "ExecStart=/opt/npmmirror/bin/npmmirror --config /etc/npmmirror/mirror.toml run" in UNIT
    assert "/opt/npmmirror\n" in shell()
    assert "config init /etc/npmmirror/mirror.toml" in shell()


def test_the_data_directory_is_where_the_unit_lets_the_service_write(tmp_path: Path) -> None:
    """The sed of the installation changes just that line of mirror.toml."""
    file = tmp_path / "mirror.toml"
    shutil.copy(ROOT / "mirror.toml", file)
    [command] = re.findall(r"(?m)^sed .*$", shell())
    typed = command.replace("/etc/npmmirror/mirror.toml", str(file))
    subprocess.run(["sh", "-c", typed], check=True)
    before = (ROOT / "mirror.toml").read_text(encoding="utf-8").splitlines()
    after = file.read_text(encoding="utf-8").splitlines()
    changed = [line for old, line in zip(before, after, strict=True) if old != line]
    assert changed == ['data_dir = "/var/lib/npmmirror"']
    assert "StateDirectory=npmmirror\n" in UNIT


def test_the_programs_for_the_journal_pass_over_other_lines() -> None:
    """What systemd writes about the service is no JSON."""
    if shutil.which("jq") is None:
        missing("jq")
    lines = 'Starting npmmirror.service...\n{"event": "progress", "package": "left-pad"}\n'
    programs = re.findall(r"jq -R(?:r|c) '(.*?)'", PAGE + LOGS)
    assert len(programs) == len(re.findall(r"npmmirror -o cat.*\|", PAGE + LOGS))
    for program in programs:
        done = subprocess.run(
            ["jq", "-Rr", program], input=lines, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""


def test_the_events_that_it_names_are_logged() -> None:
    """An operator who searches the log for one of them finds it."""
    named = re.findall(r"\(`(\w+_\w+)`\)|`(task_stuck|sudden_death)`", PAGE)
    assert named
    assert [name for pair in named for name in pair if name and f"| `{name}` |" not in LOGS] == []


def test_the_parts_that_reset_knows() -> None:
    """As many as the command has options for."""
    commands = getattr(get_command(app), "commands", {})
    options = {name for param in commands["reset"].params for name in param.opts}
    told = set(re.findall(r"(?m)^\| `(--\w+)` \|", PAGE))
    assert told == {"--index", "--buffer", "--cursor", "--archive", "--all"}
    assert told <= options
