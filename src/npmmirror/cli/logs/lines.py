"""How an event becomes a line: JSON for programs, or columns for people.

Values come from outside. Whatever they hold, a line stays one line, and says nothing to the
terminal that it is looked at with.
"""

import json
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import orjson
import structlog

from npmmirror.cli.journal import prefixed
from npmmirror.cli.output import visible

Event = MutableMapping[str, Any]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

LONGEST_VALUE = 2_000
LONGEST_TRACEBACK = 16_000
LONGEST_LINE = 40_000
"""In bytes. The journal cuts what is longer than 48 KiB into pieces, and those are no JSON."""
FRAMES = 40
_FIRST = ("timestamp", "level", "event", "package", "seq")


def with_traceback(exc_info: ExcInfo) -> str:
    """An exception as text: where it is too long, its end, which tells what went wrong."""
    told = "".join(traceback.format_exception(exc_info[1], limit=-FRAMES)).rstrip()
    return told if len(told) <= LONGEST_TRACEBACK else f"[…]{told[-LONGEST_TRACEBACK:]}"


def in_order(_logger: Any, _method: str, event: Event) -> Event:
    """The fields as they are read, without those that do not apply; long texts are cut."""
    ordered = {key: _cut(event.pop(key)) for key in _FIRST if event.get(key) is not None}
    for key, value in event.items():
        if value is not None:
            ordered[key] = value if key == "exception" else _cut(value)
    return ordered


def json_line(_logger: Any, _method: str, event: Event) -> str:
    """An object in a line. Whatever is not printable is escaped, in a way that JSON has."""
    line = _escaped(_encoded(event))
    if len(line) * 4 <= LONGEST_LINE or len(line.encode()) <= LONGEST_LINE:
        return line
    kept = {key: event[key] for key in _FIRST if key in event}
    return _escaped(_encoded({**kept, "cut": len(line)}))


class ConsoleLine:
    """Columns, in colours where they are wanted; a traceback is indented below its line."""

    def __init__(self, *, colours: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(
            colors=colours, sort_keys=False, pad_event_to=18, repr_native_str=True
        )

    def __call__(self, logger: Any, method: str, event: Event) -> str:
        """The line."""
        traced = event.pop("exception", "")
        plain = {key: _worded(key, value) for key, value in event.items()}
        told = [self._render(logger, method, plain)]
        return "\n".join(told + [f"    {visible(line)}" for line in traced.splitlines()])


class JournalLine:
    """Another form of line with the journal's priority in front."""

    def __init__(self, render: structlog.typing.Processor) -> None:
        self._render = render

    def __call__(self, logger: Any, method: str, event: Event) -> str:
        """The line, or lines."""
        level = str(event.get("level", "info"))
        return prefixed(str(self._render(logger, method, event)), level)


def _cut(value: Any) -> Any:
    """A value of a length that a line can hold."""
    if not isinstance(value, str) or len(value) <= LONGEST_VALUE:
        return value
    return f"{value[:LONGEST_VALUE]}… ({len(value):,} characters)"


class _Worded:
    """A value as it stands in a column: in quotes where it could be taken for something else."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        """What the renderer writes."""
        value = self._value
        if not isinstance(value, str) or not value or " " in value or not value.isprintable():
            return repr(value)
        return value


def _worded(key: str, value: Any) -> Any:
    if key in {"timestamp", "level"}:
        return value
    return visible(value) if key == "event" and isinstance(value, str) else _Worded(value)


def _encoded(event: Event) -> str:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a lone surrogate, or a number of more than 64 bits
        return orjson.dumps({key: _tame(value) for key, value in event.items()}).decode()


def _tame(value: Any) -> Any:
    """What JSON can hold of a value."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value if isinstance(value, int) and value.bit_length() < 64 else ascii(value)


def _escaped(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)
