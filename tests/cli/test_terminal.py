"""Colours, progress, questions and Ctrl-C on a terminal."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from npmmirror.testing.remote import RemoteUpstream
from tests.cli.conftest import Program
from tests.cli.pseudo import CTRL_C, Pseudo

LONG = "a-package-whose-name-has-as-many-letters-as-the-registry-allows-and-that-is-not-few"
CONFIG = """
[upstream]
feed = "{feed}"
registry = "{url}"
max_attempts = 1
[follow]
since = 0
[fetch]
drain_seconds = 30.0
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[RemoteUpstream]:
    """A registry with two packages."""
    with RemoteUpstream("--living", "0") as remote:
        for name in ("left-pad", LONG):
            remote.do("publish", name=name, version="1.0.0")
        yield remote


@pytest.fixture
def here(tmp_path: Path, upstream: RemoteUpstream) -> Path:
    """A directory with a configuration."""
    configure(tmp_path, upstream)
    return tmp_path


def configure(directory: Path, upstream: RemoteUpstream) -> None:
    """Write mirror.toml."""
    text = CONFIG.format(feed=upstream.feed, url=upstream.url)
    (directory / "mirror.toml").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def synced(upstream: RemoteUpstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the packages mirrored."""
    directory = tmp_path_factory.mktemp("synced")
    configure(directory, upstream)
    command = [sys.executable, "-m", "npmmirror", "sync", "left-pad", LONG]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return directory / "data"


@pytest.fixture
def mirrored(here: Path, synced: Path) -> Path:
    """A directory with a configuration and a mirror."""
    shutil.copytree(synced, here / "data")
    return here


def test_a_terminal_gets_colours_unless_it_wants_none(
    mirrored: Path, surroundings: dict[str, str]
) -> None:
    """NO_COLOR and TERM=dumb keep it plain."""
    for more, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        with Pseudo(mirrored, surroundings | more, "show", "left-pad") as terminal:
            assert terminal.end() == 0
        assert ("\x1b[1mleft-pad\x1b[0m" in terminal.written) == coloured
        assert terminal.plain.startswith("left-pad: live\n")


@pytest.mark.usefixtures("mirrored")
def test_colours_can_be_forced(program: Program) -> None:
    """For those who page through it."""
    assert program("show", "left-pad").stdout.startswith("left-pad: live")
    forced = program("show", "left-pad", environment={"FORCE_COLOR": "1"})
    assert forced.stdout.startswith("\x1b[1mleft-pad\x1b[0m: live")


@pytest.mark.parametrize("columns", [40, 80, 132])
@pytest.mark.parametrize("words", [("status",), ("show", LONG), ("config", "check")])
def test_lines_fit_the_terminal(
    mirrored: Path, surroundings: dict[str, str], columns: int, words: tuple[str, ...]
) -> None:
    """Narrow ones too; but for words (a name, a URL) that are longer than a line."""
    with Pseudo(mirrored, surroundings, *words, columns=columns) as terminal:
        assert terminal.end() == 0
    for line in terminal.lines:
        assert len(line) <= columns or len(max(line.split(), key=len)) > columns - 20, line


def test_progress_is_drawn_and_taken_away(
    here: Path, upstream: RemoteUpstream, surroundings: dict[str, str]
) -> None:
    """A bar below the lines, with number, rate and what is left; nothing of it stays."""
    upstream.do("fault", scope="tarball", name=LONG, fault={"kind": "stall"}, times=1)
    with Pseudo(here, surroundings, "sync", "left-pad", LONG) as terminal:
        terminal.until("sync")
        terminal.until("1 of 2, ")
        upstream.do("release")
        assert terminal.end() == 0
    assert "left-pad: mirrored, 1 tarball" in terminal.plain
    assert terminal.written.count("\x1b[?25l") == terminal.written.count("\x1b[?25h") > 0
    assert all(len(line) <= 80 for line in terminal.lines if "of 2" in line)


def test_results_go_to_a_file_while_progress_is_on_the_terminal(
    here: Path, surroundings: dict[str, str]
) -> None:
    """`npmmirror sync … > file` loses no line to the bar."""
    with Pseudo(here, surroundings, "sync", "left-pad", aside="stdout") as terminal:
        assert terminal.end() == 0
    lines = (here / "stdout").read_text("utf-8").splitlines()
    assert lines[0].startswith("left-pad: mirrored")
    assert lines[-1].startswith("1 of 1 package complete")
    assert "mirrored" not in terminal.plain


def test_the_first_ctrl_c_is_orderly_and_the_second_at_once(
    here: Path, upstream: RemoteUpstream, surroundings: dict[str, str]
) -> None:
    """The first says what happens; the second leaves the rest as a kill would."""
    upstream.do("fault", scope="tarball", name=LONG, fault={"kind": "stall"}, times=1)
    with Pseudo(here, surroundings, "sync", "left-pad", LONG) as terminal:
        terminal.until("1 of 2, ")
        terminal.press(CTRL_C)
        terminal.until("Ctrl-C again stops at once")
        terminal.press(CTRL_C)
        assert terminal.end() == 130
    upstream.do("release")
    assert "Traceback" not in terminal.plain
    assert terminal.written.rindex("\x1b[?25h") > terminal.written.rindex("\x1b[?25l")


def test_watch_refreshes_in_place_until_ctrl_c(
    mirrored: Path, surroundings: dict[str, str]
) -> None:
    """That is the way to end it: exit status 0, the last state stays."""
    words = ("status", "--watch", "--interval", "0.2")
    with Pseudo(mirrored, surroundings, *words) as terminal:
        terminal.until("Ctrl-C ends it", times=3)
        terminal.press(CTRL_C)
        assert terminal.end() == 0
    assert "\x1b[2K" in terminal.written
    assert "Traceback" not in terminal.plain


def test_watch_in_a_pipe_writes_a_line_of_json_each_time(
    mirrored: Path, surroundings: dict[str, str]
) -> None:
    """For programs that follow it."""
    words = ("status", "--watch", "--interval", "0.1", "--json")
    with Pseudo(mirrored, surroundings, *words, aside="stdout") as terminal:
        while (mirrored / "stdout").read_text("utf-8").count("\n") < 2:
            assert terminal.process.poll() is None
        terminal.press(CTRL_C)
        assert terminal.end() == 0
    for line in (mirrored / "stdout").read_text("utf-8").splitlines():
        assert json.loads(line)["totals"]["tarballs"] == 2


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [("y\n", 0, "done; next: `npmmirror reindex`"), ("\n", 1, "nothing was deleted")],
)
def test_a_reset_asks(
    mirrored: Path, surroundings: dict[str, str], answer: str, status: int, said: str
) -> None:
    """No answer is a no."""
    with Pseudo(mirrored, surroundings, "reset", "--index") as terminal:
        terminal.until("Delete it? [y/N]")
        terminal.press(answer)
        assert terminal.end() == status
    assert said in terminal.plain
    assert (mirrored / "data" / "index.db").exists() == (status == 1)


def test_the_archive_goes_only_by_its_name(mirrored: Path, surroundings: dict[str, str]) -> None:
    """What one types by habit is not enough; the directory's path is."""
    data = mirrored / "data"
    for answer, status in (("y", 1), (str(data), 0)):
        with Pseudo(mirrored, surroundings, "reset", "--archive", columns=200) as terminal:
            terminal.until(f"type {data}\n>")
            terminal.press(f"{answer}\n")
            assert terminal.end() == status
        assert (data / "captures").exists() == (status == 1)


@pytest.mark.parametrize("words", [("reset", "--index"), ("erase", "left-pad", "--reason", "law")])
def test_ctrl_c_at_a_question_leaves_everything(
    mirrored: Path, surroundings: dict[str, str], words: tuple[str, ...]
) -> None:
    """Exit status 130 and a sentence."""
    with Pseudo(mirrored, surroundings, *words) as terminal:
        terminal.until("[y/N]")
        terminal.press(CTRL_C)
        assert terminal.end() == 130
    assert "npmmirror: interrupted; nothing was " in terminal.plain
    assert (mirrored / "data" / "index.db").exists()
