"""docs/commands.md against the program: its commands, their options, and the JSON they print."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from npmmirror.cli.app import app
from npmmirror.testing.remote import RemoteUpstream
from tests.kill.daemon_process import MirrorDaemon

DOCUMENT = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
NAMED = {"packages", "work_list", "dead_letters", "skips", "tarballs", "missing", "dist_tags"}
"""Objects whose keys are names, versions, reasons or tags: no two are alike in those."""


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The commands below one, by all their words."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, each in below.items():
        yield from leaves(each, f"{path} {name}")


def sections() -> dict[str, str]:
    """The text of each command's section."""
    parts = re.split(r"(?m)^## (npmmirror .+)\n", DOCUMENT)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def options(command: Any) -> set[str]:
    """The names of a command's options, long and short, but for --help."""
    found = [param for param in command.params if param.param_type_name == "option"]
    return {name for option in found for name in option.opts} - {"--help", "-h"}


def documented(text: str) -> set[str]:
    """The options that a section's table has."""
    cells = re.findall(r"(?m)^\| (`-.*?) \|", text)
    return {name for cell in cells for name in re.findall(r"`(-[-\w]*)", cell)}


COMMANDS = dict(leaves(get_command(app), "npmmirror"))


def test_every_command_has_its_section() -> None:
    """In the order of `--help`, and none that is not there."""
    assert list(sections()) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_has_the_options_that_are_there(name: str) -> None:
    """All of them, and no other."""
    assert documented(sections()[name]) == options(COMMANDS[name])


def test_the_options_before_the_command() -> None:
    """Those of the program itself."""
    there = options(get_command(app)) | {"--help", "-h"}
    assert documented(DOCUMENT.partition("\n## ")[0]) == there


def example(marker: str) -> Any:
    """The JSON of an example."""
    found = re.search(rf"<!-- {marker} -->\n```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def shape(value: Any, path: str = "") -> set[str]:
    """The paths of all keys of a JSON value; `[]` stands for the elements of a list."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {key for each in value for key in shape(each, f"{path}[]")}
    if not isinstance(value, dict) or not value or path.rpartition(".")[2] in NAMED:
        return {path}
    return {key for name, each in value.items() for key in shape(each, f"{path}.{name}")}


def printed(daemon: MirrorDaemon, *words: str) -> Any:
    """What a command prints with `--json`."""
    done = subprocess.run(
        [sys.executable, "-m", "npmmirror", "--config", str(daemon._config), *words, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout or "{}")


def test_the_json_of_sync_and_status_is_the_examples(tmp_path: Path) -> None:
    """Key by key, beside a running daemon."""
    with RemoteUpstream("--living", "1") as upstream, MirrorDaemon(tmp_path, upstream) as daemon:
        upstream.do("fault", fault={"kind": "status", "code": 404}, scope="tarball", times=None)
        daemon.start()
        status = printed(daemon, "status")
        while not (status.get("daemon") and status["last_errors"]):
            daemon._assert_alive()
            status = printed(daemon, "status")
        synced = printed(daemon, "sync", "package-0")
        assert daemon.stop() == 0
    assert shape(status) == shape(example("status"))
    assert shape(synced) == shape(example("sync"))
