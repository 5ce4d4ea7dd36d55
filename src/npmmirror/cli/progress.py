"""How far a long command is: a bar that changes on a terminal, else a line now and then."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO, cast

from npmmirror.cli.output import complain, is_live, shown_bytes
from npmmirror.cli.times import duration

if TYPE_CHECKING:
    from rich.progress import Progress

Report = dict[str, Any]

LINE_SECONDS = 10.0
"""Between two lines where nobody watches."""


class Meter:
    """Writes progress to the standard error output. A context manager.

    The rate and the time that is left are those since the phase began here, so that what an
    earlier start did does not count. A `quiet` one writes nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar = _bar() if not quiet and is_live(sys.stderr) else None
        self._phase: str | None = None
        self._start: Report = {}
        self._started = self._written = 0.0

    def show(self, report: Report) -> None:
        """Tell of `phase`, `done`, `total`, `bytes` and `total_bytes`; totals may be None.

        Of a total that is `growing` the time that is left is not told.
        """
        if self.quiet:
            return
        now = time.monotonic()
        if report["phase"] != self._phase:
            self._phase, self._start, self._started = report["phase"], report, now
            self._written = now
        told = line_of(self._start, report, now - self._started)
        if self._bar is not None:
            _draw(self._bar, report, told)
        elif now - self._written >= LINE_SECONDS:
            self._written = now
            complain(f"{report['phase']}: {told}")

    def clear(self) -> None:
        """Take the bar away, before something else is written."""
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> Self:
        """The meter itself, which writes nothing before the first report."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self.clear()


def around_bar() -> TextIO:
    """The standard error output for others that write while a bar is drawn: their lines go above.

    Without it the terminal's own descriptor would be written to, in the midst of the bar.
    """
    return cast("TextIO", _Around()) if is_live(sys.stderr) else sys.stderr


class _Around:
    """Whatever the standard error output is at the moment; it has no descriptor."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("what is written here is not written at once")


def _bar() -> "Progress":
    """A line of rich's, above which others may be written; it is gone in the end."""
    from rich.console import Console  # noqa: PLC0415 - only where somebody watches
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn  # noqa: PLC0415 - as above
    from rich.table import Column  # noqa: PLC0415 - as above

    console = Console(stderr=True, highlight=False)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=max(5, min(20, console.width - 60))),
        TextColumn("{task.fields[told]}", markup=False, table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
        # else lines that go to a file would be written to the terminal
        redirect_stdout=sys.stdout.isatty(),
    )


def _draw(bar: "Progress", report: Report, told: str) -> None:
    done, total = ("bytes", "total_bytes") if report["total_bytes"] else ("done", "total")
    changed: Report = {"total": report[total], "completed": report[done], "told": told}
    if not bar.live.is_started:
        bar.start()
    if bar.tasks and bar.tasks[0].description == report["phase"]:
        bar.update(bar.task_ids[0], **changed)
        return
    for before in bar.task_ids:
        bar.remove_task(before)
    bar.add_task(report["phase"], **changed)


def line_of(start: Report, now: Report, seconds: float) -> str:
    """So many of so many, how fast, and how long still."""
    text = f"{now['done']:,}"
    if now["total"] is not None:
        text += f" of {now['total']:,}"
    if now["bytes"]:
        text += f", {shown_bytes(now['bytes'])}"
        if seconds >= 1:
            text += f", {shown_bytes(round((now['bytes'] - start['bytes']) / seconds))}/s"
    left = _left(start, now, seconds)
    return text if left is None else f"{text}, {duration(left)} left"


def _left(start: Report, now: Report, seconds: float) -> float | None:
    """Seconds, by the bytes where their sum is known, else by the number."""
    done, total = ("bytes", "total_bytes") if now["total_bytes"] else ("done", "total")
    moved = now[done] - start[done]
    if now.get("growing") or not now[total] or moved <= 0 or seconds < 1:
        return None
    return float(max(now[total] - now[done], 0)) * seconds / float(moved)
