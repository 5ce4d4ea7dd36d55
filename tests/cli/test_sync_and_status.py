"""What `npmmirror sync` and `npmmirror status` print, and how they end, without a daemon."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from npmmirror.testing.remote import RemoteUpstream
from tests.cli.conftest import Program, Result


@pytest.fixture
def upstream() -> Iterator[RemoteUpstream]:
    """A registry in a process of its own, with two packages."""
    with RemoteUpstream("--living", "0") as remote:
        remote.do("publish", name="left-pad", version="1.0.0")
        remote.do("publish", name="@scope/n", version="2.0.0")
        yield remote


@pytest.fixture
def sync(program: Program, upstream: RemoteUpstream) -> Program:
    """Runs `npmmirror sync` with these words; npm's configuration names the upstream."""

    def run(*words: str, **variables: str) -> Result:
        once = {"NPM_CONFIG_REGISTRY": upstream.url, "NPMMIRROR_UPSTREAM__MAX_ATTEMPTS": "1"}
        return program("sync", *words, environment={**once, **variables})

    return run


def test_each_package_gets_a_line_and_the_sum_is_told(sync: Program) -> None:
    """Everything that was asked for is there: exit status 0, nothing on the error output."""
    done = sync("left-pad", "@scope/n")
    assert done.returncode == 0
    assert done.stderr == ""
    *lines, end = done.stdout.splitlines()
    assert sorted(line.partition(",")[0] for line in lines) == [
        "@scope/n: mirrored",
        "left-pad: mirrored",
    ]
    assert end.startswith("2 of 2 packages complete; 2 tarballs fetched and verified (")


def test_what_failed_is_told_once(sync: Program) -> None:
    """On the error output, with the reason; exit status 1."""
    done = sync("left-pad", "nowhere")
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["nowhere: not_found"]
    assert "nowhere" not in done.stdout
    assert "1 of 2 packages complete" in done.stdout


def test_a_registry_that_does_not_answer_is_named(sync: Program) -> None:
    """Where it was configured, and how to name another; no traceback."""
    done = sync("left-pad", NPM_CONFIG_REGISTRY="http://127.0.0.1:9")
    assert done.returncode == 1
    failed, asked = done.stderr.splitlines()
    assert failed.startswith("left-pad: refused (")
    assert asked.startswith("the registry asked was http://127.0.0.1:9 (NPM_CONFIG_REGISTRY); ")


def test_json_of_sync_is_what_the_document_says(sync: Program) -> None:
    """A list, an object a package, in the order asked for."""
    done = sync("--json", "@scope/n@9", "left-pad", "nowhere")
    assert done.returncode == 1
    ends = json.loads(done.stdout)
    assert [end["package"] for end in ends] == ["@scope/n", "left-pad", "nowhere"]
    assert [end["complete"] for end in ends] == [False, True, False]
    assert [end["outcome"] for end in ends] == ["no_such_version (9)", "mirrored", "not_found"]
    assert ends[1].keys() == {"package", "complete", "outcome", "tarballs", "missing", "waiting"}
    assert list(ends[1]["tarballs"]) == ["1.0.0"]


def test_names_are_read_from_a_file(sync: Program, tmp_path: Path) -> None:
    """One a line; empty lines and comments are passed over."""
    (tmp_path / "names").write_text("# mine\nleft-pad\n\n  @scope/n@2.0.0\n", encoding="utf-8")
    done = sync("--file", "names")
    assert done.returncode == 0
    assert "2 of 2 packages complete" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "name at least one package, or a file of them with --file"),
        (("--file", "nowhere"), "cannot read the list nowhere"),
        (("https://a.example/x.tgz",), "https://a.example/x.tgz"),
    ],
)
def test_bad_words_are_refused(program: Program, words: tuple[str, ...], sentence: str) -> None:
    """Exit status 2 and one sentence, before anything is asked or made."""
    done = program("sync", *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_status_of_nothing_is_a_sentence(program: Program) -> None:
    """Nothing was mirrored yet."""
    done = program("status")
    assert done.returncode == 1
    assert done.stderr.startswith("npmmirror: there is no mirror in ")


def test_status_without_a_daemon_leaves_out_what_only_a_daemon_knows(
    sync: Program, program: Program
) -> None:
    """No line without anything to say."""
    sync("left-pad")
    lines = dict(line.split("  ", 1) for line in program("status").stdout.splitlines())
    told = {label: text.strip() for label, text in lines.items()}
    assert told["daemon"] == "not running"
    assert told["feed"] == "never followed; `npmmirror run` does"
    assert told["packages"] == "1 live"
    assert told["work list"] == "empty"
    assert not {"mirror", "buffer"} & told.keys()


def test_a_directory_that_cannot_be_made_is_a_sentence(sync: Program) -> None:
    """No traceback. Not even root may make one there."""
    done = sync("left-pad", NPMMIRROR_STORAGE__DATA_DIR="/proc/mirror")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "npmmirror: the data directory /proc/mirror cannot be written to: "
    )
    assert len(done.stderr.splitlines()) == 1
