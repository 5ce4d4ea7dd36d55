"""`npmmirror demo` as a newcomer plays it: to its end, and interrupted."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from npmmirror.cli.configuration import load
from npmmirror.cli.demo.proof import prove
from tests.demo.conftest import Played, surroundings

DEADLINE_SECONDS = 60.0
DEMO = [sys.executable, "-m", "npmmirror", "demo"]
ON_A_TERMINAL = [sys.executable, "-c", f"import pty, sys; sys.exit(pty.spawn({DEMO}) >> 8)"]


def plain(text: str) -> str:
    """The text in one line, however it was wrapped."""
    return " ".join(text.split())


def test_it_ends_well_and_keeps_its_promises(played: Played) -> None:
    """Everything that it is to show is in its output."""
    assert played.status == 0, played.output + played.complaints
    told = plain(played.output)
    for promise in (
        r"300 invented packages with [\d,]+ versions",
        r"SIGKILL to process \d+, with \d+ packages? in work",
        r"[\d,]+ packages and [\d,]+ tarballs on record",
        r"started as process \d+; .* changes? left in its buffer",
        r"300 of 300 packages",
        r"unpublish .* are taken back",
        r"upstream answers everything with 429",
        r"recovered after \d+ refusals?",
        r"ended with status 0",
        r"The SIGKILL cost nothing",
        r"their \d+ tarballs are still here",
        r'feed = "https://replicate.npmjs.com/registry"',
    ):
        assert re.search(promise, told), promise
    promised, came = re.findall(r"sha512-[A-Za-z0-9+/]{20,}", re.sub(r"\n\s+", "", played.output))
    assert promised != came


def test_without_a_registry_it_says_so_in_a_sentence(played: Played, nobody: str) -> None:
    """The second act is left out, with the registry that was asked and how to name another."""
    told = plain(played.output)
    assert f"nothing could be had of the registry at {nobody} (refused)" in told
    assert "NPM_CONFIG_REGISTRY=URL names another" in told


def test_not_on_a_terminal_it_writes_plain_lines(played: Played) -> None:
    """No colours, nothing drawn over, no line wider than 80 columns but what is to be copied."""
    assert "\033" not in played.output
    wide = [line for line in played.output.splitlines() if len(line) > 80]
    assert [line for line in wide if "--config" not in line] == []
    assert [line for line in played.output.splitlines() if line != line.rstrip()] == []


def test_the_commands_that_it_names_work_as_they_are(played: Played) -> None:
    """Each is typed in the directory in which the demo was."""
    commands = re.findall(r"(?m)^  (python3 -m npmmirror --config .*)$", played.output)
    assert [command.split()[5] for command in commands] == ["status", "show", "verify"]
    for command in commands:
        done = subprocess.run(
            [sys.executable, *shlex.split(command)[1:]],
            cwd=played.cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_it_stays_in_its_directory(played: Played) -> None:
    """Whatever other mirror the environment names is left alone."""
    assert [path.name for path in played.cwd.iterdir()] == ["npmmirror-demo"]


def test_the_proof_finds_what_is_wrong(played: Played) -> None:
    """Files that nobody promised, and packages that are not there."""
    config = load(played.cwd / "npmmirror-demo" / "one.toml", {}).config
    truth = {"nobody": {"state": "live", "rev": "1-a", "versions": {"1.0.0": "00"}}}
    proof = prove(config, truth, gone={}, refused=set())
    assert "nobody is not mirrored" in proof.wrong
    assert any(sentence.startswith("a tarball is missing: ") for sentence in proof.wrong)
    assert any("that must not be" in sentence for sentence in proof.wrong)


class Interrupted:
    """A demo that is to be interrupted. A context manager."""

    def __init__(self, command: list[str], cwd: Path, registry: str) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**surroundings(cwd, registry), "NO_COLOR": "1", "TERM": "xterm-256color"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.output = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Leave nothing behind, whatever happened."""
        self.process.kill()
        self.process.communicate()

    def read_until(self, pattern: bytes) -> None:
        """Read on until the output has it, or ends."""
        assert self.process.stdout is not None
        while not re.search(pattern, self.output):
            piece = os.read(self.process.stdout.fileno(), 65_536)
            if not piece:
                return
            self.output += piece

    def end(self) -> int:
        """Read to the end; the exit status."""
        self.read_until(rb"(?!)")
        return self.process.wait(DEADLINE_SECONDS)


def below(pid: int) -> Iterator[int]:
    """All processes that a process and its descendants started."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child)
        yield from below(int(child))


def wait_for_the_end_of(pids: list[int]) -> None:
    """Wait until none of them is there, but as a zombie of whoever adopted it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while left := [pid for pid in pids if _lives(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_ctrl_c_on_a_terminal_leaves_nothing(tmp_path: Path, nobody: str) -> None:
    """In the midst of the mirror's work: no process, no directory, the cursor is back."""
    with Interrupted(ON_A_TERMINAL, tmp_path, nobody) as demo:
        demo.read_until(rb"in work")
        demo.read_until(rb"\033\[\d*A")  # a frame was drawn over the one before
        started = list(below(demo.process.pid))
        assert len(started) >= 3  # the demo, its upstream, its daemon
        assert demo.process.stdin is not None
        demo.process.stdin.write(b"\x03")
        demo.process.stdin.flush()
        assert demo.end() == 130, demo.output
        assert b"stopped; nothing of the demo is left" in demo.output
        assert demo.output.rfind(b"\033[?25h") > demo.output.rfind(b"\033[?25l")
        assert not re.search(rb"\033\[[0-9;]*3[0-9]", demo.output)  # NO_COLOR
        wait_for_the_end_of(started)
        assert list(tmp_path.iterdir()) == []


def test_sigterm_leaves_nothing(tmp_path: Path, nobody: str) -> None:
    """As of a scheduler that has waited long enough."""
    with Interrupted(DEMO, tmp_path, nobody) as demo:
        demo.read_until(rb"npmmirror run, process \d+")
        started = list(below(demo.process.pid))
        assert len(started) == 2
        demo.process.send_signal(signal.SIGTERM)
        assert demo.end() == 128 + signal.SIGTERM
        wait_for_the_end_of(started)
        assert list(tmp_path.iterdir()) == []
