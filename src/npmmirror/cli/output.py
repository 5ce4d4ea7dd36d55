"""What commands write for people and scripts: plain lines, columns, JSON, colour on terminals."""

import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Literal, TextIO

from npmmirror.cli.journal import is_journal, prefixed

Colour = Literal["red", "green", "yellow", "bold", "dim"]

WIDTH = 80
"""Columns where no terminal and no `COLUMNS` tells another number."""
NARROWEST = 40
"""Lines are not made for terminals that are narrower: those wrap by themselves."""
_LEAST_CELL = 8
_CODES: dict[Colour, str] = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "bold": "1",
    "dim": "2",
}


def say(text: str = "") -> None:
    """A line on the standard output."""
    print(text, flush=True)  # noqa: T201 - this is the place that prints


def complain(text: str) -> None:
    """A line on the standard error output; the journal gets it as an error."""
    told = prefixed(text, "error") if is_journal(sys.stderr) else text
    print(told, file=sys.stderr, flush=True)  # noqa: T201 - as above


def say_json(value: Any, *, line: bool = False) -> None:
    """A value as JSON on the standard output, indented or in a `line`; keys keep their order."""
    import orjson  # noqa: PLC0415 - only where JSON is asked for

    options = orjson.OPT_NON_STR_KEYS | (0 if line else orjson.OPT_INDENT_2)
    _say_whole(orjson.dumps(value, default=str, option=options | orjson.OPT_APPEND_NEWLINE))


def _say_whole(text: bytes) -> None:
    """Write all of it: unbuffered, a process that is stopped in the midst of a write writes less."""
    sys.stdout.flush()
    rest = memoryview(text)
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) :]
    sys.stdout.buffer.flush()


def visible(text: str) -> str:
    """Text from outside, safe on a terminal: what is not printable is escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def is_live(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which lines can be written over."""
    return stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def wants_colour(stream: TextIO) -> bool:
    """Whether a stream gets colours: terminals do, unless NO_COLOR or FORCE_COLOR say otherwise."""
    if os.environ.get("NO_COLOR"):
        return False
    return os.environ.get("FORCE_COLOR", "0") not in {"", "0"} or is_live(stream)


def paint(text: str, colour: Colour, stream: TextIO | None = None) -> str:
    """The text in a colour, where the stream (standard output) wants colours."""
    if not wants_colour(stream or sys.stdout):
        return text
    return f"\033[{_CODES[colour]}m{text}\033[0m"


def width() -> int:
    """How many columns a line may have: those of the terminal, or of `COLUMNS`, else 80."""
    return max(shutil.get_terminal_size((WIDTH, 24)).columns, NARROWEST)


def cells(text: str) -> int:
    """How many columns a text takes on a terminal; some characters take two, some none."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def _cells_of(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def shortened(text: str, most: int, *, middle: bool = False) -> str:
    """A text cut to so many columns, at its end or in its middle, where a name says least."""
    if cells(text) <= most:
        return text
    head = (most - 1) // 2 if middle else most - 1
    return f"{_first(text, head)}…{_first(text[::-1], most - 1 - head)[::-1]}"


def _first(text: str, most: int) -> str:
    taken = 0
    for place, char in enumerate(text):
        taken += _cells_of(char)
        if taken > most:
            return text[:place]
    return text


def columns(
    rows: Sequence[Sequence[object]], indent: str = "", *, whole: bool = False
) -> list[str]:
    """Rows as lines with their cells aligned, no wider than `width`; cells are made `visible`.

    Where a line would be too wide, the widest column is cut: in the middle, the last at its end.
    `whole` ones are not cut, and may be wider.
    """
    shown = [[visible(str(cell)) for cell in row] for row in rows]
    natural = [max(map(cells, column)) for column in zip_longest(*shown, fillvalue="")]
    room = width() - len(indent) - 2 * (len(natural) - 1)
    widths = natural if whole else _fitted(natural, room)
    return [(indent + "  ".join(_line(row, widths))).rstrip() for row in shown]


def _line(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for place, cell in enumerate(row):
        cut = shortened(cell, widths[place], middle=place < len(widths) - 1)
        yield cut + " " * (widths[place] - cells(cut))


def _fitted(natural: Sequence[int], room: int) -> list[int]:
    """The widths of columns that have so much room together: the widest give way."""
    widths = list(natural)
    while sum(widths) > room and max(widths) > _LEAST_CELL:
        widths[widths.index(max(widths))] -= 1
    return widths


def facts(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Labelled lines, wrapped at `width`. The texts may be painted; nothing is made `visible`."""
    label = max((len(name) for name, _ in rows), default=0) + 2
    for name, text in rows:
        yield from wrapped(text, " " * label, name.ljust(label))


def wrapped(text: str, indent: str = "", first: str | None = None) -> list[str]:
    """Lines no wider than `width`; what is longer than a line (a digest, a URL) is never cut."""
    return textwrap.wrap(
        text,
        width(),
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def plural(count: int, noun: str) -> str:
    """`1 tarball`, `2,000 tarballs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shown_bytes(count: int) -> str:
    """A size as people read it, in binary units: `12.3 MiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{count:,} B" if unit == "B" else f"{size:,.1f} {unit}"
