"""The real program on a pseudo-terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 60.0
CTRL_C = "\x03"
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Pseudo:
    """`npmmirror` with these words on a terminal of this size. A context manager.

    Args:
        aside: what goes to a file instead: "stdout" or nothing.
    """

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        *words: str,
        columns: int = 80,
        rows: int = 40,
        aside: str = "",
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.written = ""
        self._directory = directory
        with (directory / "stdout").open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "npmmirror", *words],
                cwd=directory,
                env={"TERM": "xterm-256color", **environment, "COLUMNS": "", "LINES": ""},
                stdin=theirs,
                stdout=file if aside == "stdout" else theirs,
                stderr=theirs,
                start_new_session=True,
                preexec_fn=_take_terminal,  # noqa: PLW1509 - Ctrl-C comes through the terminal
            )
        os.close(theirs)

    def until(self, text: str, *, times: int = 1) -> str:
        """Read until the text was written so often; everything until then, without codes."""
        deadline = time.monotonic() + PATIENCE
        while self.plain.count(text) < times:
            assert time.monotonic() < deadline, f"no {text!r} in {self.written!r}"
            if not self._read():
                break
        assert self.plain.count(text) >= times, f"no {text!r} in {self.written!r}"
        return self.plain

    def press(self, keys: str) -> None:
        """Type on the keyboard; `CTRL_C` is a key, too."""
        os.write(self._ours, keys.encode())

    def end(self) -> int:
        """Read to the end; the exit status."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < deadline, f"it does not end: {self.written!r}"
        return self.process.wait(PATIENCE)

    @property
    def plain(self) -> str:
        """What was written, without the codes of colours and places."""
        return _CODES.sub("", self.written).replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """The same, line by line; what was written over counts as a line."""
        return re.split(r"[\r\n]+", self.plain)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)
        os.close(self._ours)

    def _read(self) -> bool:
        """Take what is there; False once the program has closed the terminal."""
        ready, _, _ = select.select([self._ours], [], [], 1.0)
        if not ready:
            return True
        try:
            taken = os.read(self._ours, 65536)
        except OSError:  # EIO: nobody is at the other end any more
            return False
        self.written += taken.decode("utf-8", "replace")
        return bool(taken)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
