"""Sets up the log of a process, once, for this program and for its libraries."""

import logging
import os
import sys
import time
from types import TracebackType
from typing import Any, TextIO

import structlog

from npmmirror.cli.journal import is_journal
from npmmirror.cli.logs.lines import (
    ConsoleLine,
    JournalLine,
    in_order,
    json_line,
    with_traceback,
)
from npmmirror.cli.logs.repeats import Repeats
from npmmirror.cli.logs.sink import Sink, SinkHandler, sink_factory
from npmmirror.cli.output import wants_colour
from npmmirror.config import LogSection
from npmmirror.upstream.retry import tell_retries

log = structlog.get_logger(__name__)

_repeats = Repeats(time.monotonic)


def configure(
    section: LogSection,
    *,
    verbose: bool = False,
    daemon: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Send the log of this program and of its libraries to `stream` (standard error output).

    `verbose` writes everything, whatever the section's level. A `daemon` sums up what repeats
    (`finish` tells the last sums), has its crash in the log, and keeps to this configuration:
    a second one would not reach loggers that are in use.
    """
    stream = stream or sys.stderr or _nowhere()
    level = logging.DEBUG if verbose else logging.getLevelNamesMapping()[section.level.upper()]
    sink = Sink(stream)
    shared = [*_common(sums_up=daemon and level > logging.DEBUG), _time(section, stream)]
    ending = [
        structlog.processors.ExceptionRenderer(with_traceback),
        in_order,
        _line(section, stream),
    ]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=sink_factory(sink),
        cache_logger_on_first_use=daemon,
    )
    _take_over_libraries(sink, shared, ending, level)
    tell_retries()
    if daemon:
        sys.excepthook = _tell_crash


def finish() -> None:
    """Tell what is summed up and not told yet."""
    _repeats.finish()


def _nowhere() -> TextIO:
    """In place of a standard error output that was closed before the start.

    Its descriptor is taken, too: a file of ours must not get it, for C libraries write there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 2:
        pass
    return os.fdopen(descriptor, "w", encoding="utf-8")


def _common(*, sums_up: bool) -> list[Any]:
    common: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
    ]
    return [*common, _repeats] if sums_up else common


def _time(section: LogSection, stream: TextIO) -> Any:
    if _is_console(section, stream):
        return structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)
    return structlog.processors.TimeStamper(fmt="iso", utc=True)


def _line(section: LogSection, stream: TextIO) -> Any:
    """How an event becomes a line."""
    line: Any = json_line
    if _is_console(section, stream):
        line = ConsoleLine(colours=wants_colour(stream))
    return JournalLine(line) if is_journal(stream) else line


def _is_console(section: LogSection, stream: TextIO) -> bool:
    return section.format == "console" or (section.format == "auto" and stream.isatty())


def _take_over_libraries(sink: Sink, shared: list[Any], ending: list[Any], level: int) -> None:
    handler = SinkHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    # libraries tell at "info" what only their developers want to know
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)


def _tell_crash(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, Exception):
        log.critical("crashed", exc_info=(kind, error, trace))
    else:
        sys.__excepthook__(kind, error, trace)
