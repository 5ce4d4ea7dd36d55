"""What commands write."""

import io
import json

import pytest

from npmmirror.cli.output import columns, paint, say_json, visible


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


def test_json_is_indented_and_keeps_its_order(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts parse it, people can read it."""
    say_json({"b": 1, "a": [None, "ü"]})
    written = capsys.readouterr().out
    assert written.startswith('{\n  "b": 1')
    assert json.loads(written) == {"b": 1, "a": [None, "ü"]}
