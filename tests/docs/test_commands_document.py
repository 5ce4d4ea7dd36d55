"""docs/commands.md against the program: its commands, their options, and the JSON they print."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from typer.main import get_command

from npmmirror.cli.app import app
from npmmirror.cli.shapes import SHAPES, schema
from npmmirror.testing.remote import RemoteUpstream
from tests.kill.daemon_process import MirrorDaemon

pytestmark = pytest.mark.long

DOCUMENTS = Path(__file__).parents[2] / "docs"
DOCUMENT = (DOCUMENTS / "commands.md").read_text(encoding="utf-8")


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


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_has_an_example_that_is_understood(name: str) -> None:
    """On a line of its own, to be copied; the program knows all of its words."""
    command = COMMANDS[name]
    with command.make_context(name, [], resilient_parsing=True) as context:
        told = command.get_help(context)
    [example] = re.findall(r"(?m)^  Example: npmmirror (.*)$", told)
    words = shlex.split(example)
    _, _, own = name.partition(" ")
    assert words[: len(own.split())] == own.split() or "--config" in words
    with get_command(app).make_context("npmmirror", words) as root:
        rest = [*root._protected_args, *root.args]
        found, inner = "npmmirror", cast("Any", root.command)
        while getattr(inner, "commands", None):
            found, inner, rest = f"{found} {rest[0]}", inner.commands[rest[0]], rest[1:]
        assert found == name
        with inner.make_context(name, rest, parent=root):
            pass


def test_the_options_before_the_command() -> None:
    """Those of the program itself."""
    there = options(get_command(app)) | {"--help", "-h"}
    assert documented(DOCUMENT.partition("\n## ")[0]) == there


def example(marker: str) -> Any:
    """The JSON of an example."""
    found = re.search(rf"<!-- {marker} -->\n```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@pytest.mark.parametrize("name", SHAPES)
def test_an_example_has_the_shape_that_is_promised(name: str) -> None:
    """Every key of it, none besides, each of its type."""
    msgspec.convert(example(name), SHAPES[name], strict=True)


def test_every_example_is_of_a_shape() -> None:
    """None is on the page that nothing holds."""
    assert set(re.findall(r"<!-- ([\w ]+) -->", DOCUMENT)) == set(SHAPES)


def test_every_command_with_json_has_a_shape() -> None:
    """What a script may ask for is promised."""
    with_json = {name for name, command in COMMANDS.items() if "--json" in options(command)}
    forms = ("show ", "sync ", "coverage ", "backfill ")
    assert with_json == {f"npmmirror {name}" for name in SHAPES if not name.startswith(forms)}


def test_the_schema_is_that_of_the_shapes() -> None:
    """docs/json-schema.json is what `make docs` writes."""
    text = (DOCUMENTS / "json-schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == schema()


def printed(daemon: MirrorDaemon, *words: str) -> bytes:
    """What a command prints with `--json`."""
    command = [sys.executable, "-m", "npmmirror", "--config", str(daemon._config)]
    return subprocess.run([*command, *words, "--json"], capture_output=True, check=False).stdout


def told(daemon: MirrorDaemon, name: str, *words: str) -> Any:
    """The same, held against the shape of that name."""
    return msgspec.json.decode(printed(daemon, *words), type=SHAPES[name], strict=True)


def test_what_is_printed_beside_a_daemon_has_the_promised_shape(tmp_path: Path) -> None:
    """Of every command that works there."""
    with RemoteUpstream("--living", "1") as upstream, MirrorDaemon(tmp_path, upstream) as daemon:
        upstream.do("fault", fault={"kind": "status", "code": 404}, scope="tarball", times=None)
        daemon.start()
        while not (found := printed(daemon, "status")) or not json.loads(found)["last_errors"]:
            daemon._assert_alive()
        status = told(daemon, "status", "status")
        assert status.daemon.pid
        assert status.last_errors
        assert not told(daemon, "sync", "sync", "package-0")[0].complete
        closure = told(
            daemon, "sync closure", "sync", "package-0", "nowhere", "--with-dependencies"
        )
        assert closure.missing
        assert told(daemon, "retry", "retry", "package-0").by_daemon
        assert not told(daemon, "reset", "reset", "--all", "--dry-run").done
        assert told(daemon, "buffer status", "buffer", "status").partitions
        told(daemon, "buffer peek", "buffer", "peek")
        assert daemon.stop() == 0


def test_what_is_printed_without_a_daemon_has_the_promised_shape(tmp_path: Path) -> None:
    """Of every command."""
    with RemoteUpstream("--living", "1") as upstream, MirrorDaemon(tmp_path, upstream) as daemon:
        assert told(daemon, "sync", "sync", "package-0")[0].complete
        assert told(daemon, "sync closure", "sync", "package-0", "--with-dependencies").complete
        assert told(daemon, "status", "status").daemon is None
        assert not told(daemon, "retry", "retry").by_daemon
        told(daemon, "sync", "sync", "--all-versions", "package-0", "nowhere")
        package = told(daemon, "show", "show", "package-0")
        assert package.revisions
        told(daemon, "show version", "show", f"package-0@{package.versions[-1].version}")
        told(daemon, "show revision", "show", "package-0", "--revision", "1")
        record = f"seq:{package.revisions[0].ordinal}"
        assert told(daemon, "show at", "show", "package-0", "--at", record).versions
        told(daemon, "verify", "verify")
        told(daemon, "removals list", "removals", "list")
        told(daemon, "removals confirm", "removals", "confirm")
        told(daemon, "removals discard", "removals", "discard")
        assert told(daemon, "coverage", "coverage").packages.expected
        manifest = str(tmp_path / "manifest.jsonl")
        assert told(daemon, "coverage manifest", "coverage", "--manifest", manifest).files
        assert told(daemon, "coverage check", "coverage", "--check", manifest).well
        told(daemon, "config check", "config", "check")
        told(daemon, "config show", "config", "show")
        assert told(daemon, "reindex", "reindex").whole
        assert told(daemon, "erase", "erase", "package-0", "--reason", "law", "--yes").erased
        missing = printed(daemon, "coverage", "--list").splitlines()
        assert msgspec.json.decode(missing[0], type=SHAPES["coverage list"], strict=True)
        assert told(daemon, "reset", "reset", "--index", "--yes").done
