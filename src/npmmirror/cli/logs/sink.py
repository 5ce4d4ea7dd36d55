"""Where lines go. Whoever reads there can be slow, or gone: it must not stop the mirror."""

import logging
import os
import select
import threading
from typing import Any, TextIO

import structlog

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 1.0
"""A reader that takes nothing for so long is not waited for any more, until it reads again."""
PIECE = select.PIPE_BUF
"""What a pipe that has any room takes at once."""


class Sink:
    """Writes each line in one go, whatever thread it comes from. A logger in structlog's sense.

    A write that would block (a pipe that nobody reads, a terminal stopped with Ctrl-S, a journal
    that hangs) is waited for `patience` seconds, once; then lines are lost until there is room
    again, and a line says how many. A reader that went away costs its lines and nothing else.
    """

    def __init__(self, stream: TextIO, patience: float = PATIENCE_SECONDS) -> None:
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._patience = patience
        self._poll = select.poll()
        if self._descriptor is not None:
            self._poll.register(self._descriptor, select.POLLOUT)
        self._lock = threading.Lock()
        self._stalled = False
        self._torn = False
        self._lost = 0

    def msg(self, text: str) -> None:
        """Write a line, or lose it."""
        with self._lock:
            written = self._write(text)
            lost = self._lost if written else 0
            self._lost = 0 if written else self._lost + 1
        if lost:
            log.warning("log_lines_lost", lines=lost)

    debug = info = warning = error = critical = msg

    def _write(self, text: str) -> bool:
        try:
            if self._descriptor is None:
                self._stream.write(f"{text}\n")
                self._stream.flush()
                return True
            data = f"{text}\n".encode("utf-8", "backslashreplace")
            return self._write_whole(self._descriptor, b"\n" + data if self._torn else data)
        except (OSError, ValueError):  # gone, full, or closed
            return False

    def _write_whole(self, descriptor: int, data: bytes) -> bool:
        rest = memoryview(data)
        while rest and self._has_room():
            rest = rest[os.write(descriptor, rest[:PIECE]) :]
            self._torn = bool(rest)
        return not rest

    def _has_room(self) -> bool:
        wait = 0.0 if self._stalled else self._patience
        self._stalled = not self._poll.poll(wait * 1000)
        return not self._stalled


class SinkHandler(logging.Handler):
    """Sends the lines of libraries the same way."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless a processor dropped it."""
        try:
            self._sink.msg(self.format(record))
        except structlog.DropEvent:
            return
        except Exception:  # noqa: BLE001 - logging's own way with whatever a record holds
            self.handleError(record)


def _descriptor(stream: TextIO) -> int | None:
    """The file below a stream; None where it is in memory."""
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def sink_factory(sink: Sink) -> Any:
    """What structlog asks for a logger: always the one."""
    return lambda *_: sink
