"""What the reader of the demo sees: on a terminal, in plain lines elsewhere, and in a picture."""

import io
import re
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from npmmirror.cli.demo.gauge import Reading
from npmmirror.cli.output import plural, shown_bytes, visible

WIDTH = 80
LINE_SECONDS = 2.0
"""Between two lines of progress where it is no terminal."""
_LEAST_BAR = 26
_BESIDE_BAR = 46
"""What the label and the numbers beside the bar take."""
_LABEL = 11
_MARGIN = "  "
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


class Stage:
    """Tells the story. On a terminal progress is drawn in place; elsewhere it is a line now and then.

    Args:
        pictured: keep what is shown, for `draw`.
    """

    def __init__(self, *, pictured: bool = False) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._console.width = min(WIDTH, self._console.width)
        self._width = self._console.width
        self._alive = self._console.is_terminal and not self._console.is_dumb_terminal
        self._picture = _canvas() if pictured else None
        self._live: Live | None = None
        self._shown: Reading | None = None
        self._told_at = 0.0

    def title(self, text: str) -> None:
        """The headline of a part."""
        self._print(Text())
        self._print(Text(text, style="bold"))

    def say(self, text: str, style: str = "") -> None:
        """A sentence of the story."""
        for line in textwrap.wrap(visible(text), self._width - len(_MARGIN)):
            self._print(Text(_MARGIN + line, style=style))

    def item(self, label: str, text: str, style: str = "") -> None:
        """A labelled sentence; what is longer than the line goes on below its beginning."""
        label = f"{label:<{_LABEL}} "
        room = self._width - len(_MARGIN) - len(label)
        for line in textwrap.wrap(visible(text), room, break_on_hyphens=False):
            self._print(Text.assemble(_MARGIN, (label, style), line))
            label = " " * len(label)

    def verbatim(self, text: str) -> None:
        """A line to be typed or copied, which is never wrapped."""
        self._print(Text(f"{_MARGIN}{text}", style="cyan"))

    @contextmanager
    def unpictured(self) -> Iterator[None]:
        """Keep what is shown now out of the picture."""
        picture, self._picture = self._picture, None
        try:
            yield
        finally:
            self._picture = picture

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Say on a terminal what is waited for, as long as it is."""
        if not self._alive:
            yield
            return
        with self._console.status(f"  {text}", spinner="line"):  # one of ASCII
            yield

    def progress(self, reading: Reading) -> None:
        """How far the daemon is now."""
        self._shown = reading
        if self._alive:
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False)
                self._live.start()
            self._live.update(_frame(reading, self._width), refresh=True)
        elif time.monotonic() - self._told_at >= LINE_SECONDS:
            self._tell(reading)

    def settle(self) -> None:
        """Leave the last progress standing as it is."""
        if self._shown is not None and not self._alive:
            self._tell(self._shown)
        if self._shown is not None and self._picture is not None:
            self._picture.print(_frame(self._shown, WIDTH))
        self.close()

    def close(self) -> None:
        """Give the terminal back."""
        self._shown = None
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def draw(self, file: Path) -> None:
        """Write what was shown as an SVG."""
        if self._picture is not None:
            drawn = self._picture.export_svg(title="npmmirror demo", unique_id="demo")
            # A picture must not fetch its font from somebody else's machine.
            file.write_text(_FONT.sub("", drawn), encoding="utf-8")

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)
        if self._picture is not None:
            self._picture.print(line, soft_wrap=True)

    def _tell(self, reading: Reading) -> None:
        self._told_at = time.monotonic()
        for line in textwrap.wrap(_line(reading), self._width - 2 * len(_MARGIN)):
            self._console.print(Text(f"{_MARGIN * 2}{line}"), soft_wrap=True)


def _canvas() -> Console:
    return Console(
        record=True,
        width=WIDTH,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        markup=False,
        emoji=False,
    )


def _frame(reading: Reading, width: int) -> RenderableType:
    """The progress as it is drawn, a few lines."""
    bar = max(_LEAST_BAR, width - _BESIDE_BAR)
    done: RenderableType = Text(f"{reading.packages:,}")
    beside = f"{reading.packages_rate:,.0f}/s"
    if reading.total is not None:
        done = ProgressBar(
            reading.total,
            reading.packages,
            width=bar,
            complete_style="green",
            finished_style="green",
        )
        beside = f"{reading.packages:,} of {reading.total:,}, {beside}"
    upper = _grid(bar)
    upper.add_row("packages", done, beside)
    size = shown_bytes(reading.tarball_bytes)
    upper.add_row("tarballs", f"{reading.tarballs:,} held, {size}", _bytes_rate(reading))
    lower = _grid(None)
    lower.add_row("behind", _behind(reading))
    if reading.paused:
        lower.add_row("paused", Text(visible(reading.paused), style="yellow"))
    else:
        lower.add_row("newest", visible(reading.newest or "-"))
    return Padding(Group(upper, lower), (0, 0, 0, 2 * len(_MARGIN)))


def _grid(bar: int | None) -> Table:
    """A label, then a column as wide as the bar. What is too long is cut, with no sign beyond ASCII."""
    table = Table.grid(padding=(0, 1))
    for width in (_LABEL - len(_MARGIN), bar, None):
        table.add_column(width=width, min_width=width, no_wrap=True, overflow="crop")
    return table


def _line(reading: Reading) -> str:
    """The progress as a plain line."""
    of = "" if reading.total is None else f" of {reading.total:,}"
    text = (
        f"{reading.packages:,}{of} packages, {plural(reading.tarballs, 'tarball')} "
        f"({shown_bytes(reading.tarball_bytes)}), mirror lag {_told(reading.mirror_lag)}, "
        f"{_told(reading.buffered)} buffered"
    )
    return f"{text}; paused: {visible(reading.paused)}" if reading.paused else text


def _behind(reading: Reading) -> str:
    return (
        f"follow lag {_told(reading.follow_lag)}, mirror lag {_told(reading.mirror_lag)}; "
        f"{_told(reading.buffered)} buffered, {reading.in_work:,} in work"
    )


def _told(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _bytes_rate(reading: Reading) -> str:
    return f"{shown_bytes(max(0, round(reading.bytes_rate)))}/s"
