"""What a person may run into: one plain sentence each, the right exit status, no traceback."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from npmmirror.testing.remote import RemoteUpstream
from tests.cli.conftest import Program, Result

CONFIG = """
[upstream]
feed = "{feed}"
registry = "{registry}"
max_attempts = 1
[follow]
since = {since}
poll_seconds = 0.05
[server]
listen = ""

[storage]
min_free_bytes = 0
commit_seconds = 0.02
[log]
format = "json"
"""
NOBODY = "http://127.0.0.1:9"
PATIENCE = 30.0


@pytest.fixture(scope="module")
def upstream() -> Iterator[RemoteUpstream]:
    """A registry with one package."""
    with RemoteUpstream() as remote:
        remote.do("publish", name="left-pad", version="1.0.0")
        yield remote


@pytest.fixture
def configured(tmp_path: Path, upstream: RemoteUpstream) -> Path:
    """The data directory of a configuration in the current directory."""
    configure(tmp_path, upstream.feed, upstream.url)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def synced(upstream: RemoteUpstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that holds a package."""
    directory = tmp_path_factory.mktemp("synced")
    configure(directory, upstream.feed, upstream.url)
    command = [sys.executable, "-m", "npmmirror", "sync", "left-pad"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return directory / "data"


@pytest.fixture
def mirrored(configured: Path, synced: Path) -> Path:
    """The data directory of the configuration, with a package in it."""
    shutil.copytree(synced, configured)
    return configured


def configure(directory: Path, feed: str, registry: str, since: str = "0", more: str = "") -> None:
    """Write mirror.toml."""
    text = CONFIG.format(feed=feed, registry=registry, since=since)
    (directory / "mirror.toml").write_text(text + more, encoding="utf-8")


def assert_told(result: Result, status: int, sentence: str) -> None:
    """One line on the standard error output that says this, and nothing of Python's."""
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    [line] = result.stderr.strip().splitlines()
    assert line.startswith("npmmirror: ")
    assert sentence in line


@contextmanager
def running(directory: Path, surroundings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The daemon in a process of its own, ended by SIGTERM."""
    log = directory / "daemon.log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "npmmirror", "run"],
            cwd=directory,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            text=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    assert "Traceback" not in log.read_text(encoding="utf-8")


def wait_for(path: Path, text: str = "") -> None:
    """Until a file is there and holds something."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists() or (text and text not in path.read_text(encoding="utf-8")):
        assert time.monotonic() < deadline, f"no {text!r} in {path}"
        time.sleep(0.02)


@pytest.mark.parametrize("words", [("run",), ("sync", "left-pad")])
def test_a_data_directory_that_cannot_be_made(
    program: Program, configured: Path, words: tuple[str, ...]
) -> None:
    """Its parent is a file."""
    configured.write_text("in the way", encoding="utf-8")
    assert_told(program(*words), 1, "cannot be written to")


def test_a_data_directory_without_permission(program: Program, configured: Path) -> None:
    """As after a start as another user; root may not write below /sys either."""
    if os.geteuid() == 0:
        configured.symlink_to("/sys")
    else:
        configured.mkdir(mode=0o500)
    assert_told(program("run"), 1, "cannot be written to")


@pytest.mark.parametrize("name", ["staging", "packages", "captures"])
def test_a_file_in_the_place_of_a_directory(program: Program, configured: Path, name: str) -> None:
    """One sentence that names it."""
    configured.mkdir()
    (configured / name).write_text("in the way", encoding="utf-8")
    assert_told(program("run"), 1, name)


@pytest.mark.parametrize("words", [("run",), ("sync", "left-pad"), ("status",)])
def test_a_corrupt_index(program: Program, mirrored: Path, words: tuple[str, ...]) -> None:
    """The sentence names the file and the way out; the file is left as it is."""
    for file in mirrored.glob("index.db*"):
        file.unlink()
    damaged = b"SQLite format 3\0" + b"\xff" * 20_000
    (mirrored / "index.db").write_bytes(damaged)
    assert_told(program(*words), 1, "index.db")
    assert (mirrored / "index.db").read_bytes() == damaged


def test_an_index_of_a_newer_program(program: Program, mirrored: Path) -> None:
    """Refused, not downgraded."""
    with closing(sqlite3.connect(mirrored / "index.db")) as index:
        index.execute("PRAGMA user_version = 999")
        index.commit()
    assert_told(program("sync", "left-pad"), 1, "newer")


def test_a_lost_index_beside_captures(program: Program, mirrored: Path) -> None:
    """The archive is the truth: the sentence names what rebuilds the index from it."""
    for file in mirrored.glob("index.db*"):
        file.unlink()
    assert_told(program("run"), 1, "npmmirror reindex")


def test_a_log_that_is_not_a_log(program: Program, mirrored: Path) -> None:
    """A segment of somebody else's bytes beside an index."""
    (mirrored / "captures" / "000001.log").write_bytes(b"no log at all" * 100)
    told = program("run")
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    assert "reindex" in told.stderr.splitlines()[-1]


def test_status_where_there_is_no_mirror(program: Program, configured: Path) -> None:
    """Nothing is created by looking."""
    assert_told(program("status"), 1, "there is no mirror in")
    assert not configured.exists()


def test_a_busy_lock(
    program: Program, configured: Path, tmp_path: Path, surroundings: dict[str, str]
) -> None:
    """A second daemon ends at once, with the status that says: later."""
    with running(tmp_path, surroundings):
        wait_for(configured / "control.sock")
        assert_told(program("run"), 75, "is in use by process")


def test_an_unreachable_upstream_ends_a_sync(program: Program, tmp_path: Path) -> None:
    """It names the package and why; nothing is held that is not there."""
    configure(tmp_path, NOBODY, NOBODY)
    told = program("sync", "left-pad")
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    assert "left-pad: refused" in told.stderr


def test_a_daemon_waits_for_an_upstream_that_is_not_there_yet(
    upstream: RemoteUpstream, tmp_path: Path, surroundings: dict[str, str]
) -> None:
    """It says so once, and goes on when upstream appears."""
    with RemoteUpstream() as gone:
        port = gone.url.rpartition(":")[2]
    feed = upstream.feed.replace(upstream.url, f"http://127.0.0.1:{port}")
    configure(tmp_path, feed, f"http://127.0.0.1:{port}", since='"now"')
    log = tmp_path / "daemon.log"
    with running(tmp_path, surroundings):
        wait_for(log, "follow_failed")
        with RemoteUpstream("--port", port):
            wait_for(log, "follow_recovered")
            told = log.read_text(encoding="utf-8")
    assert told.count('"follow_failed"') == 1
    assert "Cannot connect" in told


def test_ctrl_c_in_the_midst_of_a_sync(
    program: Program, tmp_path: Path, surroundings: dict[str, str]
) -> None:
    """It ends in good order and says what is not done; a second sync completes it."""
    with RemoteUpstream() as remote:
        configure(tmp_path, remote.feed, remote.url, more="[fetch]\ndrain_seconds = 0.0\n")
        remote.do("publish", name="quick", version="1.0.0")
        remote.do("publish", name="slow", version="1.0.0")
        remote.do("fault", scope="tarball", name="slow", fault={"kind": "stall"}, times=1)
        process = subprocess.Popen(
            [sys.executable, "-m", "npmmirror", "sync", "quick", "slow"],
            cwd=tmp_path,
            env=surroundings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith("quick: mirrored")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert "1 of 2 packages complete" in out
        assert "slow: not done: it was interrupted" in err
        assert "stopping: what is in work is brought to its end; Ctrl-C again stops at once" in err
        assert err.endswith("what is done is kept; the same command goes on from there\n")
        assert "Traceback" not in err
        assert program("sync", "quick", "slow").returncode == 0


def test_a_list_of_names(program: Program, configured: Path, tmp_path: Path) -> None:
    """`--file`: one a line, comments and empty lines left out; a missing file is bad usage."""
    (tmp_path / "names").write_text("# ours\n\n  left-pad@^1  \n", encoding="utf-8")
    assert program("sync", "--file", "names").returncode == 0
    assert (configured / "packages").is_dir()
    assert_told(program("sync", "--file", "nowhere"), 2, "cannot read the list nowhere")


@pytest.mark.parametrize("spec", ["git+https://code.example/x.git", "@scope"])
def test_a_spec_that_is_none(program: Program, configured: Path, spec: str) -> None:
    """Bad usage; nothing is opened."""
    assert program("sync", spec).returncode == 2
    assert not configured.exists()


def test_one_failing_among_several(program: Program, configured: Path) -> None:
    """The others are there, the exit status says that not all are."""
    told = program("sync", "left-pad", "nowhere", "left-pad@7")
    assert told.returncode == 1
    assert "nowhere: not_found" in told.stderr
    assert "left-pad: no_such_version (7)" in told.stderr
    assert list((configured / "packages").rglob("*.tgz"))
