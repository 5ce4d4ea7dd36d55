"""What commands write."""

import io
import json
from typing import Any

import pytest

from npmmirror.cli.output import (
    cells,
    columns,
    paint,
    say_json,
    shortened,
    shown_bytes,
    visible,
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and pipes get plain text."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paint("x", "red", Terminal()) == "\033[31mx\033[0m"
    assert paint("x", "red", io.StringIO()) == "x"


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR keeps a terminal plain."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "red", Terminal()) == "x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcödé 📦", "plain text, ünïcödé 📦"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines", "two\\nlines"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("lone \ud800", "lone \\ud800"),
    ],
)
def test_text_from_outside_cannot_steer_a_terminal(text: str, shown: str) -> None:
    """Control characters, line ends and marks that reverse text are escaped."""
    assert visible(text) == shown


def test_columns_are_aligned() -> None:
    """Cells of a column begin at the same place; no line ends in spaces."""
    assert columns([("a", 1), ("long", 22, "x"), ()], indent=" ") == [
        " a     1",
        " long  22  x",
        "",
    ]


def test_columns_give_way_to_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """The widest are cut: a name in its middle, the last cell at its end."""
    monkeypatch.setenv("COLUMNS", "44")
    name = "@some-scope/some-quite-long-name-of-a-package"
    [line] = columns([(name, "tried 2x", "the detail is longer than there is room for")])
    assert len(line) <= 44
    assert line.startswith("@some-s")
    assert line.endswith("…")
    assert "tried 2x" in line
    assert "package  tried" in line


def test_wide_characters_take_two_columns() -> None:
    """As terminals draw them."""
    assert cells("包装") == 4
    assert shortened("包装包装", 5) == "包装…"


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 B"), (1023, "1,023 B"), (12_897_485, "12.3 MiB"), (5 << 50, "5,120.0 TiB")],
)
def test_sizes_are_binary(count: int, told: str) -> None:
    """With the unit's name."""
    assert shown_bytes(count) == told


def test_json_is_indented_and_keeps_its_order(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts parse it, people can read it."""
    say_json({"b": 1, "a": [None, "ü"]})
    written = capsys.readouterr().out
    assert written.startswith('{\n  "b": 1')
    assert json.loads(written) == {"b": 1, "a": [None, "ü"]}


class Reluctant(io.RawIOBase):
    """A pipe to which a process writes that is stopped in the midst of each write."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """A few bytes of what is given."""
        few = bytes(data)[:7]
        self.written += few
        return len(few)


def test_unbuffered_json_is_not_cut_short_by_a_stopped_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With PYTHONUNBUFFERED the rest of a long answer was lost, and the exit status 0."""
    pipe = Reluctant()
    # As Python makes it then: the text goes to the pipe itself.
    stream = io.TextIOWrapper(pipe, write_through=True)  # type: ignore[type-var]  # typeshed wants a buffered one
    monkeypatch.setattr("sys.stdout", stream)
    say_json({"a": "x" * 1000})
    assert json.loads(pipe.written) == {"a": "x" * 1000}
