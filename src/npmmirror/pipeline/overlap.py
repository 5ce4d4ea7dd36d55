"""Reads the feed's trailing window again, for rows that were inserted behind the cursor."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

import anyio.lowlevel
import structlog

from npmmirror.change import Change, Page, Seq, distance
from npmmirror.clock import Clock, timestamp
from npmmirror.index import FeedNotes, IndexReader, IndexUnavailableError, SeenCursor
from npmmirror.pipeline.trail import Trail
from npmmirror.upstream import Upstream, UpstreamError

REMEMBERED: Final = 50_000
"""Packages whose last change appended is remembered at least, and changes that may wait in the
buffer while the window is read: more of them is catching up."""
TURN_ROWS: Final = 500
"""Rows that are looked at before the event loop has its turn: some hundred microseconds."""
FIRST_SECONDS: Final = 60.0
"""The first pass comes so long after the start, at the latest."""
MOST_PAGES: Final = 2_000
"""No window is so long; a feed that gives pages without end is left alone."""
NAMES_TOLD: Final = 10

log = structlog.get_logger(__name__)


class Recent:
    """The last change of each of very many packages: what is known without asking anybody.

    All of a time are forgotten together: to take the oldest out of a dictionary again and again
    costs as much as the dictionary is long.
    """

    def __init__(self) -> None:
        self._newer: dict[str, tuple[str | None, bool]] = {}
        self._older: dict[str, tuple[str | None, bool]] = {}

    async def add(self, changes: Sequence[Change]) -> None:
        """These are in the buffer."""
        for rows in slices(changes):
            self._newer.update((row.id, (row.rev, row.deleted)) for row in rows)
            if len(self._newer) >= REMEMBERED:
                self._older, self._newer = self._newer, {}
            await anyio.lowlevel.checkpoint()

    def has(self, change: Change) -> bool:
        """Whether this was the last of its package."""
        last = self._newer.get(change.id) or self._older.get(change.id)
        return last == (change.rev, change.deleted)


def slices(rows: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """A page in slices, between which the event loop is to have its turn."""
    for start in range(0, len(rows), TURN_ROWS):
        yield rows[start : start + TURN_ROWS]


class Overlap:
    """Passes over the window, a page at a time, while the follower is at the head.

    What a page shows that is neither finished nor in the buffer is late only if the next look at
    the head does not bring it, too: it may have come between the two.

    Args:
        upstream: whose feed it is.
        index: knows what is finished.
        notes: keep the window through restarts.
        clock: the time.
        seqs: how far back the window reaches at least, where seqs are numbers.
        minutes: how old each stretch of the feed is when it is read for the last time.
        every_minutes: how often.
        page_rows: as the follower's.
        ready: whether what was in the buffer at the start is finished, and no more than
            `REMEMBERED` changes wait there now.
    """

    def __init__(
        self,
        upstream: Upstream,
        index: IndexReader,
        notes: FeedNotes,
        clock: Clock,
        *,
        seqs: int,
        minutes: float,
        every_minutes: float,
        page_rows: int,
        ready: Callable[[], Awaitable[bool]],
    ) -> None:
        self._upstream = upstream
        self._index = index
        self._notes = notes
        self._clock = clock
        self._seqs = seqs
        self._minutes = minutes
        self._every_seconds = every_minutes * 60
        self._page_rows = page_rows
        self._ready = ready
        self.late_rows = 0
        """Since the start."""
        self.read_at: str | None = None
        """When the window was last read to its end."""
        self._floor: Seq = 0
        self._recent, self._late = Recent(), Recent()
        self._trail = Trail((), minutes)
        self._due = 0.0
        self._pass: _Pass | None = None

    async def begin(self, cursor: Seq, floor: Seq) -> None:
        """Following goes on from a cursor; what comes before `floor` was never to be followed."""
        self._floor = floor
        self._recent, self._late = Recent(), Recent()
        self._trail = Trail(await self._notes.cursors() if self._minutes else (), self._minutes)
        self._due = self._clock.monotonic() + min(FIRST_SECONDS, self._every_seconds)
        self._pass = None
        if self._trail.start is None:
            await self.appended((), cursor)

    async def appended(self, changes: Sequence[Change], cursor: Seq) -> None:
        """These are in the buffer, and the cursor is behind them."""
        await self._recent.add(changes)
        if not self._minutes:
            return
        place = self._trail.pass_on(cursor, len(changes), self._clock.now())
        if place is not None and await self._noted(place):
            self._trail.remember(place)

    async def late(self) -> list[Change]:
        """What the last page showed, and no look at the head since."""
        shown = self._pass.shown if self._pass is not None else ()
        return await self._not_recent(shown)

    async def kept(self, late: Sequence[Change], cursor: Seq) -> None:
        """These, which were late, are in the buffer now."""
        if self._pass is None:
            return
        self._pass.shown = ()
        if late:
            await self._recent.add(late)
            await self._late.add(late)
            self.late_rows += len(late)
            self._pass.found += len(late)
            names = [change.id for change in late[:NAMES_TOLD]]
            log.info("late_rows", rows=len(late), packages=names, cursor=cursor)

    async def step(self, cursor: Seq) -> bool:
        """Read a page of the window where it is its time; whether there is more to do at once.

        To be called at the head, behind `late` and `kept`.
        """
        if self._pass is not None and self._pass.place is None:
            await self._settle(self._pass)
        if not await self._may_go_on():
            self._pass = None
            return False
        if self._pass is None:
            self._pass = self._begun(cursor)
        if self._pass is None:
            return False
        try:
            await self._read(self._pass, cursor)
        except (UpstreamError, IndexUnavailableError) as error:
            # The follower meets the same, and says so; a window that cannot be read stops nobody.
            log.debug("window_given_up", error=str(error))
            self._pass = None
            return False
        return True

    async def _may_go_on(self) -> bool:
        """Whether a pass is under way or due, and it is known of each row what became of it."""
        return (self._pass is not None or self._clock.monotonic() >= self._due) and (
            await self._ready()
        )

    def _begun(self, cursor: Seq) -> "_Pass | None":
        now = self._clock.monotonic()
        if now < self._due:
            return None
        self._due = now + self._every_seconds
        start = self._start(cursor)
        return _Pass(start, self._clock.now()) if start is not None and start != cursor else None

    def _start(self, cursor: Seq) -> Seq | None:
        """Where the window begins; None where there is none."""
        start = self._trail.start
        if not self._seqs or not isinstance(cursor, int):
            return start
        # Behind a head that fell the floor is a seq of another feed.
        floor = self._floor if isinstance(self._floor, int) and self._floor <= cursor else cursor
        back = max(cursor - self._seqs, floor)
        return min(start, back) if isinstance(start, int) else back

    async def _read(self, now: "_Pass", cursor: Seq) -> None:
        if now.place is None:
            return
        page = await self._upstream.changes(now.place, self._page_rows)
        now.shown = await self._unknown(now, page)
        now.pages += 1
        full = len(page.changes) + len(page.odd) >= self._page_rows
        left = distance(cursor, page.last_seq)
        more = full and page.last_seq != now.place and now.pages < MOST_PAGES
        now.place = page.last_seq if more and (left is None or left > 0) else None

    async def _unknown(self, now: "_Pass", page: Page) -> list[Change]:
        """What is neither finished nor in the buffer. A row without a rev cannot be told apart."""
        left: list[Change] = []
        for shown in slices(page.changes):
            rows = [row for row in shown if row.rev is not None and not row.id.startswith("_")]
            now.rows += len(rows)
            finished = await self._index.finished(list({row.id for row in rows}))
            open_ = [row for row in rows if finished.get(row.id) != (row.rev, row.deleted)]
            now.unsettled = now.unsettled or any(map(self._late.has, open_))
            left += open_
            await anyio.lowlevel.checkpoint()
        return await self._not_recent(left)

    async def _not_recent(self, rows: Sequence[Change]) -> list[Change]:
        found: list[Change] = []
        for some in slices(rows):
            found += [row for row in some if not self._recent.has(row)]
            await anyio.lowlevel.checkpoint()
        return found

    async def _settle(self, done: "_Pass") -> None:
        """The end of a pass: the window gets shorter, unless it held something that may be lost.

        Nothing but the window would find late rows again, should the buffer be lost before they are
        finished.
        """
        self._pass = None
        self.read_at = timestamp(self._clock.now())
        log.debug(
            "window_read", since=done.since, pages=done.pages, rows=done.rows, late=done.found
        )
        if done.found or done.unsettled or not self._minutes:
            return
        number = self._trail.settle(done.began)
        try:
            if number is not None:
                await self._notes.forget_before(number)
        except IndexUnavailableError as error:
            log.debug("cursor_not_noted", error=str(error))  # a longer window does no harm

    async def _noted(self, place: SeenCursor) -> bool:
        try:
            await self._notes.remember(place)
        except IndexUnavailableError as error:
            log.debug("cursor_not_noted", error=str(error))
            return False
        return True


class _Pass:
    """A reading of the window. `place` is where the next page begins; None: there is none."""

    __slots__ = ("began", "found", "pages", "place", "rows", "shown", "since", "unsettled")

    def __init__(self, start: Seq, began: datetime) -> None:
        self.since = start
        self.place: Seq | None = start
        self.began = began
        self.shown: Sequence[Change] = ()
        self.unsettled = False
        self.pages = self.rows = self.found = 0
