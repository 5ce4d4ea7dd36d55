"""`npmmirror coverage` as a person and a script meet it."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from npmmirror.config import Config
from npmmirror.daemon import standalone
from npmmirror.daemon.mirror import Source
from npmmirror.pipeline.sync import wishes
from npmmirror.testing import ScriptedUpstream

pytestmark = pytest.mark.long

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """./data, which holds the latest of three versions of left-pad, and of @scope/b."""

    async def fill() -> None:
        async with ScriptedUpstream() as upstream:
            for minor in range(3):
                upstream.registry.publish("left-pad", f"1.{minor}.0")
            upstream.registry.publish("@scope/b", "1.0.0")
            config = Config.model_validate({"storage": {"data_dir": str(tmp_path / "data")}})
            asked = wishes(["left-pad", "@scope/b"], all_versions=False, mode="new")
            source = Source(upstream.url)
            await standalone.sync(config, source, asked, force=False, progress=lambda _: None)

    anyio.run(fill, backend_options={"use_uvloop": True})
    return tmp_path / "data"


@pytest.mark.usefixtures("data")
def test_the_sums_fit_a_screen(program: Program) -> None:
    """What is expected, held and missing; all that is wanted is there."""
    told = program("coverage")
    assert told.returncode == 0
    assert told.stdout.splitlines()[0] == "packages  2 expected, 2 held, 2 of them complete"
    assert "everything that the policy wants is held" in told.stdout
    assert "not wanted: policy.tarballs" in told.stdout
    assert all(len(line) <= 80 for line in told.stdout.splitlines())
    assert told.stderr == ""


@pytest.mark.usefixtures("data")
def test_the_list_has_a_line_for_everything_that_is_missing(program: Program) -> None:
    """With tabs between, or JSON."""
    told = program("coverage", "--list")
    assert told.returncode == 0
    assert [line.split("\t")[:4] for line in told.stdout.splitlines()] == [
        ["left-pad", "1.0.0", "policy", "policy.tarballs"],
        ["left-pad", "1.1.0", "policy", "policy.tarballs"],
    ]
    lines = program("coverage", "--list", "--json").stdout.splitlines()
    assert [json.loads(line)["version"] for line in lines] == ["1.0.0", "1.1.0"]


@pytest.mark.usefixtures("data")
def test_the_reason_of_what_is_missing_is_never_cut(program: Program) -> None:
    """In a narrow terminal it goes on in the next line."""
    lines = program("coverage", environment={"COLUMNS": "60"}).stdout.splitlines()
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines[-2:]).split()).endswith("not wanted: policy.tarballs")


@pytest.mark.usefixtures("data")
def test_what_is_wanted_and_missing_is_an_exit_status(program: Program) -> None:
    """Of the sums and of the list; a narrower question may have a better answer."""
    wider = {"NPMMIRROR_POLICY__TARBALLS": "all"}
    told = program("coverage", environment=wider)
    assert told.returncode == 1
    assert "50.00 % of wanted versions held; 2 versions missing" in told.stdout
    assert program("coverage", "--list", environment=wider).returncode == 1
    assert program("coverage", "@scope/*", environment=wider).returncode == 0


def test_a_manifest_is_written_and_checked_against_a_copy(program: Program, data: Path) -> None:
    """Which has no index, and no configuration names it."""
    told = program("coverage", "--manifest", "manifest.jsonl")
    assert told.returncode == 0
    assert told.stdout.startswith("manifest.jsonl: 2 files, ")
    copy = data.with_name("copy")
    for part in ("packages", "captures"):
        shutil.copytree(data / part, copy / part)
    shutil.rmtree(data)
    words = ("coverage", "--check", "manifest.jsonl", "--data", "copy")
    told = program(*words)
    assert told.returncode == 0
    assert told.stdout.splitlines()[-1] == "everything is as the manifest says"
    told = program(*words, "left*")
    assert told.stdout.splitlines()[-1] == "what was asked for is as the manifest says"
    [file] = (copy / "packages").rglob("left-pad-1.2.0.tgz")
    file.unlink()
    told = program(*words)
    assert told.returncode == 1
    assert told.stderr.startswith("left-pad@1.2.0: missing (there is no such file), ")


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("leftpad",), 1, "no package 'leftpad'; did you mean 'left-pad'?"),
        (("--list", "--check", "x"), 2, "ask for one of them"),
        (("--manifest", "x", "left-pad"), 2, "name no packages"),
        (("--data", "x"), 2, "they need --check"),
        (("--check", "nowhere.jsonl"), 1, "cannot read nowhere.jsonl"),
    ],
)
@pytest.mark.usefixtures("data")
def test_what_makes_no_sense_is_one_sentence(
    program: Program, words: tuple[str, ...], status: int, sentence: str
) -> None:
    """With the exit status that a script goes by."""
    told = program("coverage", *words)
    assert told.returncode == status
    assert sentence in told.stderr
    assert told.stdout == ""


def test_where_there_is_no_mirror_none_is_made(program: Program, tmp_path: Path) -> None:
    """Looking at nothing is an error."""
    assert "there is no mirror in" in program("coverage").stderr
    assert not (tmp_path / "data").exists()
