"""What `npmmirror sync` prints with dependencies and of lock files, and how it ends."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from npmmirror.testing.remote import RemoteUpstream
from tests.cli.conftest import Program, Result

pytestmark = pytest.mark.long


@pytest.fixture
def upstream() -> Iterator[RemoteUpstream]:
    """A registry in a process of its own: `pads` needs `left-pad`, and more that is nowhere."""
    with RemoteUpstream("--living", "0") as remote:
        publish(remote, "left-pad", "1.0.0")
        publish(remote, "pads", "1.0.0", dependencies={"left-pad": "^1"})
        publish(
            remote,
            "broken",
            "1.0.0",
            dependencies={"left-pad": "^9", "fork": "a/fork"},
            optionalDependencies={"nowhere": "^1"},
        )
        yield remote


def publish(remote: RemoteUpstream, name: str, version: str, **manifest: Any) -> None:
    """Publish a version whose manifest has these keys."""
    remote.do("publish", name=name, version=version, manifest=manifest)


@pytest.fixture
def sync(program: Program, upstream: RemoteUpstream) -> Program:
    """Runs `npmmirror sync` with these words; npm's configuration names the upstream."""

    def run(*words: str, **variables: str) -> Result:
        once = {"NPM_CONFIG_REGISTRY": upstream.url, "NPMMIRROR_UPSTREAM__MAX_ATTEMPTS": "1"}
        return program("sync", *words, environment={**once, **variables})

    return run


def test_the_sum_is_told(sync: Program) -> None:
    """Where everything is there, and nothing else."""
    done = sync("pads", "--with-dependencies")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    [told] = done.stdout.splitlines()
    assert told.startswith("2 of 2 versions of 2 packages held; 2 tarballs fetched and verified (")


def test_what_only_the_policy_brought_is_in_the_sum(
    sync: Program, upstream: RemoteUpstream
) -> None:
    """The versions are those that are needed, the tarballs all that came."""
    publish(upstream, "left-pad", "2.0.0")
    done = sync("pads", "--with-dependencies")
    assert done.stdout.startswith("2 of 2 versions of 2 packages held; 3 tarballs fetched")


def test_what_is_missing_and_what_is_left_out_have_a_line_each(sync: Program) -> None:
    """On the error output, in the order of names, with who requires it; exit status 1 for what is missing."""
    done = sync("broken", "ghost", "--with-dependencies")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "left out, fork@a/fork: git; required by broken@1.0.0",
        "ghost@*: not_found",
        "left-pad@^9: no_such_version; required by broken@1.0.0",
        "optional, not there: nowhere@^1: not_found; required by broken@1.0.0",
    ]
    assert done.stdout.startswith("1 of 1 version of 4 packages held; ")


def test_depth_and_production_are_heeded(sync: Program, upstream: RemoteUpstream) -> None:
    """0 steps are none; devDependencies come along by default."""
    publish(upstream, "dev", "1.0.0")
    publish(upstream, "made", "1.0.0", devDependencies={"dev": "^1"})
    assert sync("made", "--with-dependencies", "--depth", "0").stdout.startswith("1 of 1 version")
    assert sync("made", "--with-dependencies", "--production").stdout.startswith("1 of 1 version")
    assert sync("made", "--with-dependencies").stdout.startswith("2 of 2 versions of 2 packages")


def test_a_lock_file_brings_what_it_names(sync: Program, tmp_path: Path) -> None:
    """And what it names from elsewhere is told."""
    packages = {
        "": {},
        "node_modules/left-pad": {"version": "1.0.0"},
        "node_modules/fork": {"version": "1.0.0", "resolved": "git+ssh://git@code.example/a.git"},
    }
    text = json.dumps({"lockfileVersion": 3, "packages": packages})
    (tmp_path / "package-lock.json").write_text(text, "utf-8")
    done = sync("--lockfile", "package-lock.json", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["package"] for one in told["packages"]] == ["left-pad"]
    assert told["packages"][0]["versions"][0]["required_by"] == ["package-lock.json"]
    [left_out] = told["left_out"]
    assert (left_out["name"], left_out["what"]) == ("fork", "git")


def test_a_registry_that_does_not_answer_is_named(sync: Program) -> None:
    """As without dependencies."""
    done = sync("pads", "--with-dependencies", NPM_CONFIG_REGISTRY="http://127.0.0.1:9")
    assert done.returncode == 1
    failed, asked = done.stderr.splitlines()
    assert failed.startswith("pads@*: refused (")
    assert asked.startswith("the registry asked was http://127.0.0.1:9 (NPM_CONFIG_REGISTRY); ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--with-dependencies",), "name at least one package"),
        (("a", "--production"), "--production, --depth and --node go with --with-dependencies"),
        (("a", "--depth", "0"), "--production, --depth and --node go with --with-dependencies"),
        (("a", "--lockfile", "x"), "a lock file names all that it needs"),
        (("--lockfile", "x", "--with-dependencies"), "a lock file names all that it needs"),
        (("--lockfile", "nowhere"), "cannot read the lock file nowhere: No such file or directory"),
        (("--lockfile", "bad"), "cannot read the lock file bad: line 2: not JSON"),
        (("a", "--with-dependencies", "--node", "x"), "--node 'x' is no version"),
        (("a/b/c@1", "--with-dependencies", "https://a.example/x.tgz"), "https://a.example/x.tgz"),
    ],
)
def test_bad_words_are_refused(
    program: Program, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    """Exit status 2 and one sentence, before anything is asked or made."""
    (tmp_path / "bad").write_text('{\n"a" 1}', "utf-8")
    done = program("sync", *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()
