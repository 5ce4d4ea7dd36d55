"""Times and durations as people read them."""

from datetime import UTC, datetime

from npmmirror.cli.output import visible

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_DAYS_TOLD = 60
"""Days after which a date says more than their number."""


class Times:
    """Tells times by their distance from now, or by the clock where `utc` asks for that."""

    def __init__(self, *, utc: bool = False, now: datetime | None = None) -> None:
        self.utc = utc
        self._now = now or datetime.now(UTC)

    def tell(self, text: str | None) -> str:
        """A time as `3 min ago`, `in 25 s` or `2016-10-02`; upstream's may be in any spelling."""
        if not text:
            return "unknown"
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return visible(text[:40])  # as the document spells it, whatever that is
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        if self.utc:
            return f"{moment:%Y-%m-%dT%H:%M:%S}Z"
        seconds = round((self._now - moment).total_seconds())
        if abs(seconds) >= _DAYS_TOLD * _DAY:
            return f"{moment:%Y-%m-%d}"
        return f"in {_rough(-seconds)}" if seconds < 0 else f"{_rough(seconds)} ago"

    def due(self, text: str | None) -> str:
        """When something is to be done: a time to come as `tell` has it, `now` for one gone by."""
        told = self.tell(text)
        return "now" if told.endswith(" ago") else told


def _rough(seconds: int) -> str:
    """A distance in its largest unit."""
    if seconds < 2 * _MINUTE:
        return f"{seconds} s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR} h"
    return f"{seconds // _DAY} d"


def duration(seconds: float) -> str:
    """A duration with its two largest units: `5 min 03 s`, `4 d 3 h`."""
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole:02} s" if minutes else f"{whole} s"


def shown_seconds(seconds: float) -> str:
    """A duration of which parts of a second matter, too: `0.045 s`, `3.2 s`, `5 min 03 s`."""
    if seconds < 1:
        return f"{seconds:.3f} s"
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
