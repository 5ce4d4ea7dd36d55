"""Writing the log: nobody who reads it, or does not, can stop the program."""

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import IO

import pytest
import structlog

from npmmirror.cli.logs.sink import Sink, sink_factory

LINE = "x" * 999
PIPE_BYTES = 65536


class Pipe:
    """A pipe whose writing end is a text stream."""

    def __init__(self, stack: ExitStack) -> None:
        reading, writing = os.pipe()
        self.reader: IO[bytes] = stack.enter_context(os.fdopen(reading, "rb", buffering=0))
        self.writer = os.fdopen(writing, "w", encoding="utf-8")
        stack.callback(self._close)
        os.set_blocking(reading, False)

    def _close(self) -> None:
        with suppress(OSError):
            self.writer.close()

    def read(self) -> list[str]:
        """The lines that are in it."""
        return self.text().splitlines()

    def text(self) -> str:
        """All that is in it."""
        return (self.reader.read(10 * PIPE_BYTES) or b"").decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A fresh one, that holds 64 KiB."""
    with ExitStack() as stack:
        yield Pipe(stack)


def sink_on(pipe: Pipe) -> Sink:
    """A sink that waits for nobody, for its own lines, too."""
    sink = Sink(pipe.writer, patience=0.0)
    structlog.configure(
        processors=[lambda _log, _name, event: f"{event['event']} {event['lines']}"],
        logger_factory=sink_factory(sink),
    )
    return sink


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leaves the process's logging as it was."""
    yield
    structlog.reset_defaults()


def test_a_line_is_written_at_once(pipe: Pipe) -> None:
    """With its newline, and with lone surrogates made visible."""
    sink_on(pipe).msg("a\ud800ü")
    assert pipe.read() == ["a\\ud800ü"]


def test_a_pipe_that_nobody_reads_costs_lines(pipe: Pipe) -> None:
    """Writing returns; what did not go in is counted and told once there is room again."""
    sink = sink_on(pipe)
    for _ in range(100):
        sink.msg(LINE)
    kept = [line for line in pipe.read() if line == LINE]
    assert 0 < len(kept) < 100
    sink.msg("again")
    assert pipe.read()[-2:] == ["again", f"log_lines_lost {100 - len(kept)}"]
    sink.msg("and again")
    assert pipe.read() == ["and again"]


def test_a_line_that_was_cut_off_does_not_spoil_the_next(pipe: Pipe) -> None:
    """A line that went in by half is ended before another one begins."""
    sink = sink_on(pipe)
    sink.msg("y" * 2 * PIPE_BYTES)
    read = pipe.text()
    sink.msg("whole")
    assert (read + pipe.text()).splitlines()[-2:] == ["whole", "log_lines_lost 1"]


def test_a_reader_that_is_waited_for_once(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The patience is spent at the first line that finds no room, not at each."""
    waits: list[float] = []

    class Full:
        """A descriptor that never has room."""

        def poll(self, milliseconds: float) -> list[tuple[int, int]]:
            waits.append(milliseconds)
            return []

    sink = Sink(pipe.writer, patience=1.0)
    monkeypatch.setattr(sink, "_poll", Full())
    for _ in range(3):
        sink.msg("lost")
    assert waits == [1000.0, 0.0, 0.0]


def test_a_reader_that_went_away_costs_nothing_else(pipe: Pipe) -> None:
    """EPIPE is no exception."""
    sink = sink_on(pipe)
    pipe.reader.close()
    sink.msg("into nowhere")
    sink.msg("into nowhere")


def test_a_stream_in_memory_does() -> None:
    """What has no descriptor is written to as a stream; one that was closed is nobody's error."""
    stream = io.StringIO()
    Sink(stream).msg("a")
    assert stream.getvalue() == "a\n"
    sink = Sink(stream)
    stream.close()
    sink.msg("b")
