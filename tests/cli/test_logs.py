"""What the log looks like."""

import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

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
    logging.captureWarnings(capture=False)
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
    """A bug's traceback is one field of the line, without the values of variables."""
    configure(LogSection(), stream=(stream := io.StringIO()))
    try:
        int("boom")
    except ValueError:
        structlog.get_logger().exception("job_failed")
    [line] = lines(stream)
    told = str(line["exception"])
    assert told.startswith("Traceback")
    assert told.endswith("ValueError: invalid literal for int() with base 10: 'boom'")
    assert "test_exceptions_are_told" in told


def test_a_traceback_on_a_terminal_is_indented_and_escaped() -> None:
    """A message of an exception cannot look like a line of the log, or steer the terminal."""
    configure(LogSection(), stream=(stream := Terminal()))
    error = ValueError("\x1b[2Jgone\n2026-01-01 00:00:00 [info] started")
    structlog.get_logger().error("job_failed", exc_info=error)
    first, *rest = stream.getvalue().splitlines()
    assert "job_failed" in first
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b[2J" not in stream.getvalue()


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


HOSTILE = "\x1b[31m\r\n\x00\x7f\x9b2J\u202e\u2028"


def test_json_escapes_what_is_not_printable() -> None:
    """The line is printable as it is, and still says exactly what was given."""
    configure(LogSection(), stream=(stream := io.StringIO()))
    structlog.get_logger().info("odd", value=HOSTILE, nested=[{"a": HOSTILE}])
    [text] = stream.getvalue().splitlines()
    assert text.isprintable()
    [line] = lines(stream)
    assert (line["value"], line["nested"]) == (HOSTILE, [{"a": HOSTILE}])


@pytest.mark.parametrize("value", [HOSTILE, "a b=c", "", "\ud800"])
def test_a_value_on_a_terminal_stands_in_quotes_where_it_must(value: str) -> None:
    """What could be taken for something else is written as Python writes it."""
    configure(LogSection(), stream=(stream := Terminal()))
    structlog.get_logger().info("odd", value=value)
    [text] = stream.getvalue().splitlines()
    assert repr(value) in text


def test_a_librarys_message_cannot_break_a_line_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its newlines and escapes are shown, not done."""
    monkeypatch.setenv("NO_COLOR", "1")
    configure(LogSection(), stream=(stream := Terminal()))
    logging.getLogger("aiohttp").error("bad answer %s", HOSTILE)
    assert stream.getvalue()[:-1].isprintable()


def test_fields_come_in_the_order_in_which_they_are_read() -> None:
    """Time, level, event, package and seq first; what does not apply is left out."""
    configure(LogSection(), stream=(stream := io.StringIO()))
    structlog.get_logger().info("mirrored", rev="1-a", reason=None, seq=7, package="a")
    [line] = lines(stream)
    assert list(line) == ["timestamp", "level", "event", "package", "seq", "rev"]


def test_long_values_are_cut() -> None:
    """A text of a million characters says how long it was."""
    configure(LogSection(), stream=(stream := io.StringIO()))
    structlog.get_logger().info("odd", value="x" * 1_000_000)
    [line] = lines(stream)
    assert str(line["value"]).endswith("x… (1,000,000 characters)")


def test_a_line_has_a_length_that_the_journal_takes() -> None:
    """One that is too long all the same keeps what it is about."""
    configure(LogSection(), stream=(stream := io.StringIO()))
    structlog.get_logger().info("odd", package="a", values=["ü" * 1_000] * 1_000)
    assert len(stream.getvalue().encode()) < 48 * 1024
    [line] = lines(stream)
    assert (line["event"], line["package"]) == ("odd", "a")
    assert "values" not in line


def test_a_lone_surrogate_spoils_no_other_field() -> None:
    """Numbers stay numbers beside it."""
    configure(LogSection(), stream=(stream := io.StringIO()))
    structlog.get_logger().info("odd", name="\ud800", rows=3)
    [line] = lines(stream)
    assert (line["name"], line["rows"]) == ("\\ud800", 3)


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only where nobody said no."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[" in told_in_console(Terminal())
    assert "\x1b[" not in told_in_console(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[" not in told_in_console(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in told_in_console(Terminal())


def told_in_console(stream: io.StringIO) -> str:
    """A line for people."""
    configure(LogSection(format="console"), stream=stream)
    structlog.get_logger().info("started", version="1")
    return stream.getvalue()


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """A file in the place of the stream that systemd connects to the journal."""
    with (tmp_path / "journal").open("w+", encoding="utf-8") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        yield stream


def written(stream: TextIO) -> str:
    """What is in the file."""
    stream.seek(0)
    return stream.read()


def test_the_journal_gets_priorities(journal: TextIO) -> None:
    """In front of the JSON; of libraries' lines, too."""
    configure(LogSection(level="debug"), stream=journal)
    log = structlog.get_logger()
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(log, level)("said")
    logging.getLogger("asyncio").warning("slow")
    told = written(journal).splitlines()
    assert [line[:4] for line in told] == ["<7>{", "<6>{", "<4>{", "<3>{", "<2>{", "<4>{"]
    assert all(json.loads(line[3:]) for line in told)


def test_every_line_of_a_traceback_has_its_priority(journal: TextIO) -> None:
    """Where somebody wants the console's form in the journal."""
    configure(LogSection(format="console"), stream=journal)
    try:
        int("boom")
    except ValueError:
        structlog.get_logger().exception("job_failed")
    told = written(journal).splitlines()
    assert len(told) > 2
    assert all(line.startswith("<3>") for line in told)


def test_a_stream_that_is_not_the_journals_gets_none(
    journal: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service's child inherits the variable, with its output sent elsewhere."""
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    configure(LogSection(), stream=journal)
    structlog.get_logger().info("said")
    assert written(journal).startswith("{")


def test_pythons_warnings_are_lines() -> None:
    """Not texts of two lines in between."""
    configure(LogSection(), stream=(stream := io.StringIO()))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    [line] = lines(stream)
    assert line["logger"] == "py.warnings"
    assert "old ways" in str(line["event"])


def test_what_is_below_the_level_is_not_even_rendered() -> None:
    """Nor is any processor asked."""
    configure(LogSection(level="info"), stream=io.StringIO())

    class Costly:
        """Something that must not be looked at."""

        def __repr__(self) -> str:
            raise AssertionError("it was rendered")

    structlog.get_logger().debug("page", rows=Costly())
