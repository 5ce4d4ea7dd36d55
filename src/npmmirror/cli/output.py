"""What commands write for people and scripts: plain lines, columns, JSON, colour on terminals."""

import os
import sys
from collections.abc import Sequence
from typing import Any, Literal, TextIO

from npmmirror.cli.journal import is_journal, prefixed

Colour = Literal["red", "green", "yellow", "bold"]

_CODES: dict[Colour, str] = {"red": "31", "green": "32", "yellow": "33", "bold": "1"}


def say(text: str = "") -> None:
    """A line on the standard output."""
    print(text, flush=True)  # noqa: T201 - this is the place that prints


def complain(text: str) -> None:
    """A line on the standard error output; the journal gets it as an error."""
    told = prefixed(text, "error") if is_journal(sys.stderr) else text
    print(told, file=sys.stderr, flush=True)  # noqa: T201 - as above


def say_json(value: Any) -> None:
    """A value as indented JSON on the standard output; keys keep their order."""
    import orjson  # noqa: PLC0415 - only where JSON is asked for

    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    say(orjson.dumps(value, default=str, option=options).decode())


def visible(text: str) -> str:
    """Text from outside, safe on a terminal: what is not printable is escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def paint(text: str, colour: Colour, stream: TextIO | None = None) -> str:
    """The text in a colour, where the stream (standard output) is a terminal that wants colours."""
    if os.environ.get("NO_COLOR") or not (stream or sys.stdout).isatty():
        return text
    return f"\033[{_CODES[colour]}m{text}\033[0m"


def columns(rows: Sequence[Sequence[object]], indent: str = "") -> list[str]:
    """Rows as lines with their cells aligned; cells are made `visible`, the last is as long as it is."""
    cells = [[visible(str(cell)) for cell in row] for row in rows]
    count = max(map(len, cells), default=0)
    widths = [max(len(row[place]) for row in cells if place < len(row)) for place in range(count)]
    return [
        (indent + "  ".join(cell.ljust(widths[place]) for place, cell in enumerate(row))).rstrip()
        for row in cells
    ]


def plural(count: int, noun: str) -> str:
    """`1 tarball`, `2,000 tarballs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shown_bytes(count: int) -> str:
    """A size as people read it, in decimal units: `2.5 kB`."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{count:,} B" if unit == "B" else f"{size:,.1f} {unit}"
