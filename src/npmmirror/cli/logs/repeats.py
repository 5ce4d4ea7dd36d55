"""Sums up what repeats: a trouble is told at once, and then how often it was met again."""

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from npmmirror.cli.logs.lines import Event

log = structlog.get_logger(__name__)

WINDOW_SECONDS = 60.0
MOST_WINDOWS = 500
"""Troubles told apart at a time; the oldest is summed up to make room for a new one."""
NAMED = 5
"""Packages that a sum names; the work list has them all."""
LEVELS = frozenset({"warning", "error", "critical"})
SUMMED = frozenset({"request_retried", "fetching_resumed"})
"""Events below these levels that come as often as the trouble they belong to."""
NEVER = frozenset({"repeated"})


@dataclass(slots=True)
class _Window:
    """What was met again since a trouble was told, at what level, and of which packages."""

    level: str
    began: float
    times: int = 0
    packages: dict[str, None] = field(default_factory=dict)


class Repeats:
    """A processor: lets the first of a kind pass and drops those that follow within a minute.

    Of a kind are events of one name with the same `reason` (where there is none: `error`; for a
    library's message, its template). The sum is a line `repeated`, made by the first line of
    any kind that comes after the minute. `monotonic` are seconds that never go back.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._windows: dict[tuple[str, str], _Window] = {}
        self._lock = threading.Lock()

    def __call__(self, _logger: Any, _method: str, event: Event) -> Event:
        """The event, if it is to be told now."""
        level, name = str(event["level"]), str(event["event"])
        if name in NEVER:
            return event
        now = self._monotonic()
        kind = None
        if level in LEVELS or name in SUMMED:
            kind = _kind(name, event)
        with self._lock:
            sums = self._due(now)
            is_again = kind is not None and self._meet(kind, level, event, now)
            if len(self._windows) > MOST_WINDOWS:
                oldest = next(iter(self._windows))
                sums.append((oldest, self._windows.pop(oldest)))
        self._tell(sums, now)
        if is_again:
            raise structlog.DropEvent
        return event

    def finish(self) -> None:
        """Tell all sums now."""
        with self._lock:
            sums = list(self._windows.items())
            self._windows.clear()
        self._tell(sums, self._monotonic())

    def _due(self, now: float) -> list[tuple[tuple[str, str], _Window]]:
        """Sums whose minute is over. Where there were some, the next minute begins."""
        due = []
        for kind, window in list(self._windows.items()):
            if now - window.began < WINDOW_SECONDS:
                break  # they are in the order in which they began
            due.append((kind, self._windows.pop(kind)))
            if window.times:
                self._windows[kind] = _Window(window.level, now)
        return due

    def _meet(self, kind: tuple[str, str], level: str, event: Event, now: float) -> bool:
        window = self._windows.get(kind)
        if window is None:
            self._windows[kind] = _Window(level, now)
            return False
        window.times += 1
        package = event.get("package")
        if package is not None and len(window.packages) < NAMED:
            window.packages[str(package)] = None
        return True

    def _tell(self, sums: list[tuple[tuple[str, str], _Window]], now: float) -> None:
        for (name, reason), window in sums:
            if window.times:
                # Without the context of whoever happens to write the line that brings it.
                contextvars.Context().run(_sum_up, name, reason, window, now)


def _sum_up(name: str, reason: str, window: _Window, now: float) -> None:
    tell = getattr(log, window.level)
    tell(
        "repeated",
        of=name,
        reason=reason or None,
        times=window.times,
        seconds=round(now - window.began),
        packages=list(window.packages) or None,
    )


def _kind(name: str, event: Event) -> tuple[str, str]:
    record = event.get("_record")
    if record is not None:
        return str(record.msg), str(record.name)
    return name, str(event.get("reason") or event.get("error") or "")
