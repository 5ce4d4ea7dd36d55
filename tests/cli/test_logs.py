"""What the log looks like."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from npmmirror.cli.logs import configure
from npmmirror.config import LogSection


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leaves the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """The log as JSON objects."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_is_an_object_a_line() -> None:
    """Not on a terminal, each event is a line with its level and time."""
    configure(LogSection(), stream=(stream := io.StringIO()))
    structlog.get_logger().info("page_buffered", rows=3, package="a\nb")
    [line] = lines(stream)
    assert line.pop("timestamp")
    assert line == {"event": "page_buffered", "rows": 3, "package": "a\nb", "level": "info"}


def test_a_terminal_gets_lines_for_people() -> None:
    """On a terminal "auto" is console, and control characters of values are escaped."""
    configure(LogSection(), stream=(stream := Terminal()))
    structlog.get_logger().info("page_buffered", package="\x1b[2Jx")
    assert "page_buffered" in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()
    assert "\\x1b[2Jx" in stream.getvalue()


@pytest.mark.parametrize(("verbose", "count"), [(False, 1), (True, 2)])
def test_the_level_is_the_sections_unless_verbose(verbose: bool, count: int) -> None:
    """Below the level nothing is written; -v writes everything."""
    configure(LogSection(level="warning"), verbose=verbose, stream=(stream := io.StringIO()))
    structlog.get_logger().debug("small")
    structlog.get_logger().warning("big")
    assert len(lines(stream)) == count


def test_libraries_speak_through_the_same_log() -> None:
    """What asyncio or aiohttp warn of is a line of the same kind."""
    configure(LogSection(), stream=(stream := io.StringIO()))
    logging.getLogger("asyncio").error("task %s died", 7)
    logging.getLogger("asyncio").info("not worth a line")
    [line] = lines(stream)
    assert line["event"] == "task 7 died"
    assert line["logger"] == "asyncio"


def test_exceptions_are_told_with_their_traceback() -> None:
    """A bug's traceback is in the line, without the values of variables."""
    configure(LogSection(), stream=(stream := io.StringIO()))
    try:
        int("boom")
    except ValueError:
        structlog.get_logger().exception("job_failed")
    [line] = lines(stream)
    told = json.dumps(line["exception"])
    assert "ValueError" in told
    assert "test_exceptions_are_told" in told
    assert "locals" not in told


def test_context_is_bound_to_every_line() -> None:
    """Package and seq, bound once, are in what follows."""
    configure(LogSection(), stream=(stream := io.StringIO()))
    with structlog.contextvars.bound_contextvars(package="left-pad"):
        structlog.get_logger().info("a")
    assert lines(stream)[0]["package"] == "left-pad"


@pytest.mark.parametrize("value", ["\ud800", 1 << 70, object, {1: {2}}])
def test_no_value_is_too_odd_for_the_log(value: object) -> None:
    """What JSON cannot hold is written as text: a log line never raises."""
    configure(LogSection(), stream=(stream := io.StringIO()))
    structlog.get_logger().info("odd", value=value)
    assert len(lines(stream)) == 1
