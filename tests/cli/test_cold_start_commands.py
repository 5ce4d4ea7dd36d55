"""What `npmmirror backfill` and `npmmirror reconcile` print, and how they end, without a daemon."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from npmmirror.daemon.lock import DirectoryLock
from npmmirror.testing.remote import RemoteUpstream
from tests.cli.conftest import Program, Result

pytestmark = pytest.mark.long


@pytest.fixture
def upstream() -> Iterator[RemoteUpstream]:
    """A registry in a process of its own, with three packages."""
    with RemoteUpstream("--living", "0") as remote:
        for name in ("left-pad", "@scope/a", "@scope/b"):
            remote.do("publish", name=name, version="1.0.0")
        yield remote


@pytest.fixture
def mirror(program: Program, upstream: RemoteUpstream) -> Program:
    """Runs `npmmirror` with these words and the upstream's addresses."""

    def run(*words: str, **variables: str) -> Result:
        known = {
            "NPMMIRROR_UPSTREAM__FEED": upstream.feed,
            "NPMMIRROR_UPSTREAM__REGISTRY": upstream.url,
            "NPMMIRROR_UPSTREAM__MAX_ATTEMPTS": "1",
            "NPMMIRROR_FETCH__RETRY_SECONDS": "1000",
        }
        return program(*words, environment={**known, **variables})

    return run


def test_a_backfill_tells_its_sum(mirror: Program) -> None:
    """Everything is there: exit status 0, nothing on the error output."""
    done = mirror("backfill", "--only", "@scope/*")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "3 names listed: 2 brought, 0 current, 0 on the work list before, 1 left out\n"
    )
    again = json.loads(mirror("backfill", "--json").stdout)
    assert (again["state"], again["queued"], again["current"], again["left"]) == ("done", 1, 2, 0)


def test_what_is_missing_is_exit_status_1(mirror: Program, tmp_path: Path) -> None:
    """And told."""
    (tmp_path / "names").write_text("left-pad\nnowhere\n", encoding="utf-8")
    done = mirror("backfill", "--file", "names")
    assert done.returncode == 1
    assert "1 row of the work list left; `npmmirror status` tells why" in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--file", "nowhere"), "cannot read the list nowhere"),
        (("--pause", "--resume"), "go with nothing else"),
        (("--pause", "--metadata-only"), "go with nothing else"),
        (("--only", "/[/"), "--only must be a regular expression"),
        (("--only", ""), "--only must be a pattern of names: no empty text"),
        (("--only", "file:names.txt"), "names of a file are brought with --file"),
    ],
)
def test_bad_words_are_refused(mirror: Program, words: tuple[str, ...], sentence: str) -> None:
    """Exit status 2 and one sentence."""
    done = mirror("backfill", *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("word", ["--pause", "--resume", "--cancel"])
def test_there_is_nothing_to_steer(mirror: Program, word: str) -> None:
    """Exit status 1, whether there is a mirror or not."""
    done = mirror("backfill", word)
    assert (done.returncode, done.stderr) == (1, "npmmirror: there is no backfill under way\n")


@pytest.mark.parametrize("command", ["backfill", "reconcile"])
def test_a_feed_that_is_away_is_a_sentence(mirror: Program, command: str) -> None:
    """Exit status 1; nothing was begun."""
    done = mirror(command, NPMMIRROR_UPSTREAM__FEED="http://127.0.0.1:9/feed")
    assert done.returncode == 1
    assert done.stderr.startswith("npmmirror: the feed http://127.0.0.1:9/feed does not answer")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["backfill", "reconcile"])
def test_a_data_directory_in_use_is_exit_status_75(
    mirror: Program, tmp_path: Path, command: str
) -> None:
    """Another process works with it, and does not answer."""
    (tmp_path / "data").mkdir()
    with DirectoryLock(tmp_path / "data"):
        assert mirror(command).returncode == 75


def test_a_reconciliation_that_agrees_says_so(mirror: Program) -> None:
    """Exit status 0, and where its report is."""
    mirror("backfill")
    done = mirror("reconcile")
    assert (done.returncode, done.stderr) == (0, "")
    assert "the list and the index agree" in done.stdout
    assert "report: " in done.stdout


def test_what_differs_is_exit_status_1(mirror: Program, upstream: RemoteUpstream) -> None:
    """With what becomes of it; a dry run says that nothing does."""
    mirror("backfill")
    upstream.do("publish", name="lost", version="1.0.0")
    upstream.do("hide", name="lost")
    dry = mirror("reconcile", "--dry-run")
    assert dry.returncode == 1
    assert "nothing was queued (--dry-run)" in dry.stdout
    done = mirror("reconcile")
    assert done.returncode == 1
    assert "1 package queued; `npmmirror run` looks at them, or `npmmirror retry`" in done.stdout
    again = mirror("reconcile")
    assert again.returncode == 1, "what waits on the work list is missing still"
    assert "agree" not in again.stdout
    assert mirror("retry").returncode == 0
    assert mirror("reconcile").returncode == 0
