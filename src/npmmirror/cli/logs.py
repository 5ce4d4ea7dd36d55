"""Sets up the log: a stable event name and fields, a line each, on the standard error output."""

import logging
import sys
from typing import Any, TextIO

import orjson
import structlog

from npmmirror.config import LogSection


def configure(section: LogSection, *, verbose: bool = False, stream: TextIO | None = None) -> None:
    """Send the log of this program and of its libraries to `stream` (standard error output).

    `verbose` writes everything, whatever the section's level.
    """
    stream = stream or sys.stderr
    level = logging.DEBUG if verbose else logging.getLevelNamesMapping()[section.level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, *_ending(section, stream)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_ending(section, stream),
            ],
        )
    )
    # libraries tell at "info" what only their developers want to know
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _ending(section: LogSection, stream: TextIO) -> list[Any]:
    """How an event becomes a line."""
    is_console = section.format == "console" or (section.format == "auto" and stream.isatty())
    if is_console:
        # values come from outside: repr() keeps their control characters off the terminal
        return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), repr_native_str=True)]
    return [
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ),
        structlog.processors.JSONRenderer(serializer=_json),
    ]


def _json(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a lone surrogate, or a number of more than 64 bits
        return orjson.dumps({key: ascii(value) for key, value in event.items()}).decode()
