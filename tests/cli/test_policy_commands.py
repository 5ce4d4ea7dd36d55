"""`npmmirror policy explain` and `npmmirror prune` as a person and a script meet them."""

import json
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
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

KEEP_TWO = {"NPMMIRROR_POLICY__KEEP_VERSIONS": "2"}


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """Makes ./data, which holds four versions of left-pad; the directory of its tarballs."""

    async def fill() -> None:
        async with ScriptedUpstream() as upstream:
            for minor in range(4):
                upstream.registry.publish("left-pad", f"1.{minor}.0")
            config = Config.model_validate({"storage": {"data_dir": str(tmp_path / "data")}})
            asked = wishes(["left-pad"], all_versions=True, mode="new")
            source = Source(upstream.url)
            await standalone.sync(config, source, asked, force=False, progress=lambda _: None)

    anyio.run(fill, backend_options={"use_uvloop": True})
    return tmp_path / "data" / "packages"


def test_a_dry_run_tells_what_would_go_and_deletes_nothing(program: Program, mirror: Path) -> None:
    """By rule, with the bytes, and each file with why."""
    told = program("prune", "--dry-run", environment=KEEP_TWO)
    assert (told.returncode, told.stderr) == (0, "")
    first, *rest = told.stdout.splitlines()
    assert first.startswith("1 package looked at; 2 tarballs (")
    assert first.endswith("would be deleted:")
    assert any(line.split()[0] == "policy.keep_versions" for line in rest)
    assert [line.split()[0] for line in rest if "left-pad@" in line] == [
        "left-pad@1.0.0",
        "left-pad@1.1.0",
    ]
    assert len(list(mirror.rglob("*.tgz"))) == 4


def test_a_prune_deletes_and_says_so(program: Program, mirror: Path) -> None:
    """And then there is nothing left to do."""
    told = program("prune", environment=KEEP_TWO)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("1 package looked at; 2 tarballs (")
    assert "deleted:" in told.stdout
    assert {path.name for path in mirror.rglob("*.tgz")} == {
        "left-pad-1.2.0.tgz",
        "left-pad-1.3.0.tgz",
    }
    shown = program("show", "left-pad").stdout
    assert " dropped: policy.keep_versions: not among the newest 2\n" in shown
    again = program("prune", environment=KEEP_TWO)
    assert again.stdout == (
        "1 package looked at; the policy wants all that is held, or it is gone upstream\n"
    )


@pytest.mark.usefixtures("mirror")
def test_explain_says_which_rule_decides(program: Program) -> None:
    """Of the package, of each setting, and of each version."""
    told = program("policy", "explain", "left-pad", environment=KEEP_TWO)
    assert (told.returncode, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert lines[0] == "left-pad: wanted, by policy.allow, which is empty"
    assert lines[2].split() == ["keep_versions", "2", "policy.keep_versions"]
    assert lines[7] == "4 versions, the newest first:"
    assert lines[8].split(maxsplit=2) == ["1.3.0", "held", "wanted, by policy.keep_versions"]
    assert lines[10].split(maxsplit=2)[2] == (
        "not wanted, by policy.keep_versions: not among the newest 2"
    )
    assert lines[-1] == "`npmmirror prune` deletes what is held and not wanted"


@pytest.mark.usefixtures("mirror")
def test_explain_of_one_version_is_json_as_well(program: Program) -> None:
    """A dist-tag names a version, too."""
    told = program("policy", "explain", "left-pad@latest", "--json", environment=KEEP_TWO)
    [version] = json.loads(told.stdout)["versions"]
    assert (version["version"], version["held"], version["wanted"]) == ("1.3.0", True, True)


@pytest.mark.usefixtures("mirror")
def test_explain_tells_what_nobody_knows(program: Program) -> None:
    """A version that no document named, a package of which nothing is captured."""
    told = program("policy", "explain", "left-pad@9.9.9").stdout.splitlines()
    assert told[-2:] == [
        "1 version:",
        "  9.9.9  not known  wanted where somebody asks for it (policy.tarballs)",
    ]
    assert program("policy", "explain", "x").stdout.splitlines()[-1] == "nothing of it is captured"


@pytest.mark.usefixtures("mirror")
def test_explain_tells_a_document_that_is_too_large(program: Program) -> None:
    """By what is captured of it, as long as nobody looked again."""
    limit = {"NPMMIRROR_POLICY__MAX_PACKUMENT_BYTES": "1000"}
    told = program("policy", "explain", "left-pad", environment=limit)
    assert (told.returncode, told.stderr) == (0, "")
    [line] = [line for line in told.stdout.splitlines() if line.startswith("its document")]
    assert line.startswith(
        "its document is not wanted, by policy.max_packument_bytes: its document has "
    )
    assert line.endswith(" bytes, more than 1,000; what is captured of it stays")


def test_explain_says_that_a_package_may_be_gone(program: Program, mirror: Path) -> None:
    """Then nothing of it is pruned, and so nobody says that it would be."""
    with closing(sqlite3.connect(mirror.parent / "index.db")) as index, index:
        index.execute(
            "INSERT INTO held_removals SELECT id, '2026-11-20T10:00:00.000000Z', NULL, '{}' "
            "FROM packages"
        )
    told = program("policy", "explain", "left-pad", environment=KEEP_TWO)
    assert (told.returncode, told.stderr) == (0, "")
    assert "it may be gone upstream (" in told.stdout
    assert "npmmirror prune" not in told.stdout
    pruned = program("prune", "--dry-run", environment=KEEP_TWO)
    assert "wants all that is held" in pruned.stdout


def test_explain_of_a_denied_package_needs_no_mirror(program: Program) -> None:
    """The pattern that denies it."""
    told = program(
        "policy", "explain", "left-pad", environment={"NPMMIRROR_POLICY__DENY": "left-*"}
    )
    assert told.stdout.splitlines() == [
        'left-pad: not wanted, by policy.deny: "left-*"',
        "nothing of it is captured",
    ]


def test_a_prune_without_a_mirror_is_refused(program: Program) -> None:
    """Nothing is made by it."""
    for words in (["prune"], ["prune", "--dry-run"]):
        told = program(*words)
        assert told.returncode == 1
        assert "there is no" in told.stderr


def test_a_list_that_cannot_be_read_is_told_with_its_key(program: Program, tmp_path: Path) -> None:
    """As any other mistake of the configuration."""
    told = program(
        "policy", "explain", "left-pad", environment={"NPMMIRROR_POLICY__DENY": "file:none.txt"}
    )
    assert told.returncode == 2
    path = tmp_path / "none.txt"
    assert f"policy.deny: cannot read the list {path}: No such file or directory" in told.stderr


def test_a_sync_that_is_refused_says_what_would_help(program: Program) -> None:
    """The rule, and the option; upstream is not asked."""
    told = program(
        "sync",
        "left-pad",
        environment={
            "NPMMIRROR_POLICY__DENY": "left-*",
            "NPMMIRROR_UPSTREAM__REGISTRY": "http://registry.invalid",
        },
    )
    assert told.returncode == 1
    assert told.stderr == (
        'left-pad: policy (policy.deny: "left-*")\n'
        "what the policy does not want, --force fetches all the same\n"
    )


def test_check_says_what_the_policy_means(program: Program, tmp_path: Path) -> None:
    """In words; a list that cannot be read is a mistake of the configuration."""
    (tmp_path / "mirror.toml").write_text(
        """
[policy]
deny = ["file:bad.txt"]
tarballs = "all"
keep_versions = 3
prereleases = false
[[policy.rule]]
match = "@babel"
keep_versions = 0
""",
        "utf-8",
    )
    told = program("config", "check")
    assert told.returncode == 2
    assert f"policy.deny: cannot read the list {tmp_path / 'bad.txt'}" in told.stderr
    (tmp_path / "bad.txt").write_text("left-pad\n", "utf-8")
    meaning = json.loads(program("config", "check", "--json").stdout)["meaning"]
    assert meaning["keeps"] == (
        "every packument of the packages that allow and deny leave, and the tarballs of all "
        "versions, the newest 3 of each package; 1 rule for some packages"
    )
    assert meaning["skips"] == "tarballs of more than 1 GiB, prereleases"
