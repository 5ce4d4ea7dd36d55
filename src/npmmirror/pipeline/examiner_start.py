"""The examiner's process started, by whoever wants it ready first: imports nothing but Python's own.

It takes a quarter of a second of imports until it is ready, and the daemon takes a second until it
has work for it.
"""

import signal
import socket
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

PROGRAM: Final = "npmmirror.pipeline.examining"
CLOSE_SECONDS: Final = 10.0
"""How long the process may take to end."""

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


class StartedExaminer:
    """A process that examines, and the daemon's end of its connection.

    Left as a context manager, it is gone: killed, unless it has ended.
    """

    def __init__(self) -> None:
        """Start it.

        Raises:
            OSError: it cannot be started.
        """
        self.wire, theirs = socket.socketpair()
        with theirs:
            try:
                self.process = _spawned(theirs)
            except OSError:
                self.wire.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave nothing behind, whoever took it over or did not."""
        self.wire.close()
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):  # who waits for a disk does not even die
            self.process.wait(CLOSE_SECONDS)


def _spawned(wire: socket.socket) -> subprocess.Popen[bytes]:
    # What stops the daemon is sent to all processes of a service or a terminal. Until the child
    # ignores it, it is held up there; and here, where it arrives a moment later.
    held = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        command = [sys.executable, "-P", "-m", PROGRAM]
        return subprocess.Popen(command, stdin=wire.fileno())  # noqa: S603 - our own program
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
