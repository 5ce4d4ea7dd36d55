"""What repeats is told at once, and then summed up."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from npmmirror.cli.logs.lines import json_line
from npmmirror.cli.logs.repeats import MOST_WINDOWS, WINDOW_SECONDS, Repeats
from npmmirror.cli.logs.sink import Sink, sink_factory


class Log:
    """A log with `Repeats` in it, whose time is moved."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stream = io.StringIO()
        self.repeats = Repeats(lambda: self.now)
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                self.repeats,
                json_line,
            ],
            logger_factory=sink_factory(Sink(self.stream)),
        )

    def say(self, level: str, event: str, **fields: Any) -> None:
        """Write a line."""
        getattr(structlog.get_logger(), level)(event, **fields)

    def lines(self) -> list[dict[str, Any]]:
        """What was written since the last look."""
        told = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        self.stream.seek(0)
        self.stream.truncate()
        return told


@pytest.fixture
def log() -> Iterator[Log]:
    """A fresh one; the process's logging is left as it was."""
    yield Log()
    structlog.reset_defaults()


def events(lines: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Names, and of sums how often it was."""
    return [(line["event"], line.get("times")) for line in lines]


def test_the_first_is_told_at_once_and_the_rest_as_a_sum(log: Log) -> None:
    """312 more of the same within a minute are one line, at the level of the event."""
    for _ in range(313):
        log.say("warning", "failed", reason="http_500", package="a")
    assert events(log.lines()) == [("failed", None)]
    log.now = WINDOW_SECONDS
    log.say("info", "progress")
    [sum_, progress] = log.lines()
    assert sum_ == {
        "level": "warning",
        "event": "repeated",
        "of": "failed",
        "reason": "http_500",
        "times": 312,
        "seconds": 60,
        "packages": ["a"],
    }
    assert progress["event"] == "progress"


def test_a_trouble_that_goes_on_is_a_line_a_minute(log: Log) -> None:
    """After a sum the next minute is counted, and the event itself does not come again."""
    for second in range(181):
        log.now = float(second)
        log.say("error", "bug", reason="KeyError")
    assert events(log.lines()) == [
        ("bug", None),
        ("repeated", 59),
        ("repeated", 60),
        ("repeated", 60),
    ]


def test_a_trouble_that_comes_back_later_is_told_anew(log: Log) -> None:
    """A minute without it ends it, without a sum of nothing."""
    log.say("warning", "failed", reason="timeout")
    log.now = WINDOW_SECONDS
    log.say("warning", "failed", reason="timeout")
    assert events(log.lines()) == [("failed", None), ("failed", None)]


def test_another_reason_is_another_trouble(log: Log) -> None:
    """And so is another error, where there is no reason."""
    log.say("warning", "failed", reason="timeout")
    log.say("warning", "failed", reason="http_500")
    log.say("error", "capture_damaged", error="record 7")
    log.say("error", "capture_damaged", error="record 8")
    assert len(log.lines()) == 4


def test_what_is_no_trouble_is_never_summed_up(log: Log) -> None:
    """Lines at info pass, but for those that belong to a trouble."""
    for _ in range(2):
        log.say("info", "skipped_change", reason="unchanged")
        log.say("info", "request_retried", reason="http_500")
    assert events(log.lines()) == [
        ("skipped_change", None),
        ("request_retried", None),
        ("skipped_change", None),
    ]


def test_the_end_tells_what_is_summed_up(log: Log) -> None:
    """Once."""
    for _ in range(3):
        log.say("warning", "failed", reason="timeout")
    log.lines()
    log.repeats.finish()
    log.repeats.finish()
    assert events(log.lines()) == [("repeated", 2)]


def test_a_sum_has_no_context_of_another_line(log: Log) -> None:
    """The package of the job whose line brings the sum is not in it."""
    log.say("warning", "buffer_away", error="x")
    log.say("warning", "buffer_away", error="x")
    log.now = WINDOW_SECONDS
    with structlog.contextvars.bound_contextvars(package="innocent"):
        log.say("info", "progress")
    assert "package" not in next(line for line in log.lines() if line["event"] == "repeated")


def test_troubles_told_apart_are_bounded(log: Log) -> None:
    """The oldest is summed up where there are too many."""
    log.say("warning", "failed", reason="first")
    log.say("warning", "failed", reason="first")
    for number in range(MOST_WINDOWS):
        log.say("warning", "failed", reason=f"r{number}")
    sums = [line for line in log.lines() if line["event"] == "repeated"]
    assert [line["reason"] for line in sums] == ["first"]
