"""`npmmirror show` and `npmmirror verify` as a person and a script meet them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror.config import Config
from npmmirror.daemon import standalone
from npmmirror.daemon.mirror import Source
from npmmirror.pipeline.sync import wishes
from npmmirror.testing import ScriptedUpstream

Program = Callable[..., subprocess.CompletedProcess[str]]

DOCUMENT = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")


@pytest.fixture
def document(tmp_path: Path) -> bytes:
    """Makes ./data, which holds two versions of left-pad; the document that was captured."""

    async def fill() -> bytes:
        async with ScriptedUpstream() as upstream:
            registry = upstream.registry
            for minor in range(60):
                registry.publish("left-pad", f"1.{minor}.0")
            registry.deprecate("left-pad", "1.59.0", "see \x1b[31mred")
            config = Config.model_validate({"storage": {"data_dir": str(tmp_path / "data")}})
            asked = wishes(["left-pad"], all_versions=False, mode="new")
            source = Source(upstream.url)
            await standalone.sync(config, source, asked, force=False, progress=lambda _: None)
            return registry.document("left-pad")

    return anyio.run(fill, backend_options={"use_uvloop": True})


def tarball(tmp_path: Path) -> Path:
    """That of the latest version."""
    [file] = (tmp_path / "data" / "packages").rglob("left-pad-1.59.0.tgz")
    return file


@pytest.mark.usefixtures("document")
def test_a_package_is_shown_in_80_columns(program: Program) -> None:
    """What is held, what is not, and why."""
    told = program("show", "left-pad")
    assert told.returncode == 0
    assert told.stdout.startswith("left-pad: live\n")
    assert "tarballs     2 of 60 versions held" in told.stdout
    assert "58 not wanted by policy.tarballs" in told.stdout
    assert "package_observed" in told.stdout
    assert all(len(line) <= 80 for line in told.stdout.splitlines())


@pytest.mark.usefixtures("document")
def test_text_from_outside_cannot_steer_the_terminal(program: Program) -> None:
    """A message of deprecation is escaped."""
    told = program("show", "left-pad@latest")
    assert "deprecated   see \\x1b[31mred" in told.stdout
    assert "\x1b" not in told.stdout


def test_the_document_is_written_byte_for_byte(
    program: Program, document: bytes, tmp_path: Path
) -> None:
    """The newest, and by its number."""
    for words in (["--packument"], ["--packument", "--revision", "1"]):
        assert program("show", "left-pad", *words).stdout.encode() == document
    assert not list(tmp_path.glob("*.json"))


def test_a_package_is_shown_as_it_was(program: Program, document: bytes) -> None:
    """In 80 columns, as JSON, and its document byte for byte."""
    record = json.loads(program("show", "left-pad", "--json").stdout)["revisions"][0]["ordinal"]
    then = ("show", "left-pad", "--at", f"seq:{record}")
    told = program(*then)
    assert told.returncode == 0
    assert told.stdout.startswith(f"left-pad: live, as of record {record}\n")
    assert "2 of 60 versions held now" in told.stdout
    assert "deprecated   1.59.0" in told.stdout
    assert all(len(line) <= 80 for line in told.stdout.splitlines())
    assert len(json.loads(program(*then, "--json").stdout)["versions"]) == 60
    assert program(*then, "--packument").stdout.encode() == document


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("show", "leftpad"), 1, "no package 'leftpad'; did you mean 'left-pad'?"),
        (("show", "left-pad@9"), 1, "no version '9' of 'left-pad'"),
        (("show", "left-pad", "--revision", "2"), 1, "no revision 2: 1 of it were captured"),
        (("show", "left-pad@1.0.0", "--packument"), 2, "the whole package's"),
        (("show", "https://registry.example/x"), 2, "is a URL"),
        (("show", "left-pad", "--at", "yesterday"), 2, "--at: 'yesterday' is no time"),
        (("show", "left-pad", "--at", "2026-11-20T10:00:00"), 2, "has no zone"),
        (("show", "left-pad", "--at", "2000-01-01"), 1, "before the mirror's first capture"),
        (("show", "left-pad", "--at", "2999-01-01"), 1, "cannot tell of 2999-01-01"),
        (("show", "left-pad", "--at", "seq:9999"), 1, "no record 9999 yet"),
        (("show", "left-pad@1.0.0", "--at", "2026-01-01"), 2, "the whole package's"),
        (("show", "left-pad", "--at", "seq:3", "--revision", "1"), 2, "write one of them"),
        (("verify", "leftpad"), 1, "no package 'leftpad'; did you mean 'left-pad'?"),
        (("verify", "--force"), 2, "it needs --repair"),
    ],
)
@pytest.mark.usefixtures("document")
def test_what_is_not_there_is_one_sentence(
    program: Program, words: tuple[str, ...], status: int, sentence: str
) -> None:
    """With the exit status that a script goes by."""
    told = program(*words)
    assert told.returncode == status
    assert sentence in told.stderr
    assert told.stdout == ""


@pytest.mark.parametrize("command", [("show", "left-pad"), ("verify",)])
def test_where_there_is_no_mirror_none_is_made(
    program: Program, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Looking at nothing is an error."""
    told = program(*command)
    assert told.returncode == 1
    assert "there is no mirror in" in told.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.usefixtures("document")
def test_verify_says_that_all_is_well(program: Program) -> None:
    """A line for each thing that was looked at, nothing else."""
    told = program("verify")
    assert told.returncode == 0
    assert told.stdout.splitlines()[-1] == "everything is as it should be"
    assert told.stderr == ""


@pytest.mark.usefixtures("document")
def test_verify_names_what_is_wrong(program: Program, tmp_path: Path) -> None:
    """Each on the standard error output; the exit status tells it, too."""
    tarball(tmp_path).write_bytes(b"something else")
    told = program("verify", "left-pad")
    assert told.returncode == 1
    assert "problems   1, 0 repaired, 1 left" in told.stdout
    assert "`npmmirror verify --repair` fetches tarballs again" in told.stdout
    assert "left-pad@1.59.0: altered (was sha512-" in told.stderr


@pytest.mark.usefixtures("document")
def test_the_json_is_that_of_the_page(program: Program, tmp_path: Path) -> None:
    """Key by key, as docs/commands.md has it."""
    tarball(tmp_path).write_bytes(b"something else")
    for marker, words in {
        "show": ("show", "left-pad"),
        "show version": ("show", "left-pad@1.59.0"),
        "show revision": ("show", "left-pad", "--revision", "1"),
        "verify": ("verify",),
    }.items():
        printed = json.loads(program(*words, "--json").stdout)
        assert shape(printed) == shape(example(marker)), marker


def example(marker: str) -> Any:
    """The JSON of an example of the page."""
    text = DOCUMENT.partition(f"<!-- {marker} -->\n```json\n")[2].partition("```")[0]
    return json.loads(text)


def shape(value: Any, path: str = "") -> set[str]:
    """The paths of all keys; of a list's elements those of the first, names as keys left out."""
    if isinstance(value, list):
        return shape(value[0], f"{path}[]") if value else {path}
    if isinstance(value, dict) and path not in {".dist_tags", ".events[].detail"}:
        return {key for name, each in value.items() for key in shape(each, f"{path}.{name}")}
    return {path.removesuffix("[]")}
