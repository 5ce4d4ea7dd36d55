"""Where the cursor was lately: the start of the window that is read again. Pure."""

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from npmmirror.change import Seq
from npmmirror.clock import moment, timestamp
from npmmirror.index import SeenCursor

EVERY_SECONDS: Final = 60.0
EVERY_ROWS: Final = 10_000
"""A place is remembered once a minute, or where so many rows were passed."""
MOST_ROWS: Final = 1_000_000
"""The longest window: what was read behind an outage of days is read again once."""
SETTLED_ROWS: Final = 100_000
"""The longest window otherwise: a day and more of npm's feed, and rows come late by hours."""


class Trail:
    """Places that the feed was read to, oldest first; the window begins at the oldest.

    A place leaves only behind a whole pass over the window, and when the next one is older than
    `minutes`, too. So each stretch of the feed is read again when it is old enough, however long
    the mirror was down in between, and seqs need not be numbers.
    """

    def __init__(self, seen: Iterable[SeenCursor], minutes: float) -> None:
        self._seen = deque(seen)
        self._minutes = minutes
        self._since = 0
        """Rows read since the newest place."""
        self._shorten(MOST_ROWS)

    @property
    def start(self) -> Seq | None:
        """Where the window begins; None before the first place."""
        return self._seen[0].cursor if self._seen else None

    def pass_on(self, cursor: Seq, rows: int, now: datetime) -> SeenCursor | None:
        """The feed was read to here, so many rows further; a place to remember, where it is one."""
        self._since += rows
        if self._seen and not self._is_far(now):
            return None
        number = self._seen[-1].number + 1 if self._seen else 1
        return SeenCursor(number, timestamp(now), cursor, self._since)

    def remember(self, place: SeenCursor) -> None:
        """A place that is noted durably."""
        self._since = 0
        self._seen.append(place)
        self._shorten(MOST_ROWS)

    def settle(self, began: datetime) -> int | None:
        """Shorten the window behind a whole pass that began then; where it starts now, if moved."""
        before = self._seen[0].number if self._seen else None
        latest = timestamp(began - timedelta(minutes=self._minutes))
        while len(self._seen) > 1 and self._seen[1].at <= latest:
            self._seen.popleft()
        self._shorten(SETTLED_ROWS)
        after = self._seen[0].number if self._seen else None
        return after if after != before else None

    def _is_far(self, now: datetime) -> bool:
        # A clock that was put back would otherwise remember nothing for a long time.
        seconds = (now - moment(self._seen[-1].at)).total_seconds()
        return self._since >= EVERY_ROWS or not 0 <= seconds < EVERY_SECONDS

    def _shorten(self, most: int) -> None:
        rows = self._since + sum(place.rows for place in self._seen) - self._first_rows()
        while len(self._seen) > 1 and rows > most:
            self._seen.popleft()
            rows -= self._first_rows()

    def _first_rows(self) -> int:
        """Those of the first place lie before the window."""
        return self._seen[0].rows if self._seen else 0
