"""How far a long command is: one line that changes on a terminal, else a line now and then."""

import sys
import time
from typing import Any

from npmmirror.cli.output import complain, shown_bytes

Report = dict[str, Any]

LINE_SECONDS = 10.0
"""Between two lines where nobody watches."""
_WIDTH = 79


class Meter:
    """Writes progress to the standard error output.

    The rate and the time that is left are those since the phase began here, so that what an
    earlier start did does not count.
    """

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._phase: str | None = None
        self._start: Report = {}
        self._started = self._written = 0.0
        self._drawn = False

    def show(self, report: Report) -> None:
        """Tell of `phase`, `done`, `total`, `bytes` and `total_bytes`; totals may be None."""
        now = time.monotonic()
        if report["phase"] != self._phase:
            self._phase, self._start, self._started = report["phase"], report, now
            self._written = now
        seconds = now - self._started
        line = f"{report['phase']}: {line_of(self._start, report, seconds)}"
        if self._live:
            sys.stderr.write(f"\r{line[:_WIDTH]:<{_WIDTH}}")
            sys.stderr.flush()
            self._drawn = True
        elif now - self._written >= LINE_SECONDS:
            self._written = now
            complain(line)

    def clear(self) -> None:
        """Take the line away, before something else is written."""
        if self._drawn:
            sys.stderr.write(f"\r{'':<{_WIDTH}}\r")
            sys.stderr.flush()
            self._drawn = False


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
    return text if left is None else f"{text}, {_duration(left)} left"


def _left(start: Report, now: Report, seconds: float) -> float | None:
    """Seconds, by the bytes where their sum is known, else by the number."""
    done, total = ("bytes", "total_bytes") if now["total_bytes"] else ("done", "total")
    moved = now[done] - start[done]
    if not now[total] or moved <= 0 or seconds < 1:
        return None
    return float(max(now[total] - now[done], 0)) * seconds / float(moved)


def _duration(seconds: float) -> str:
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole:02} s" if minutes else f"{whole} s"
