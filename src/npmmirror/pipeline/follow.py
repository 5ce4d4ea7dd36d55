"""Reads the changes feed into the buffer; a cursor moves only behind what is durable."""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from npmmirror.buffer.base import Buffer, BufferUnavailableError, Receipt
from npmmirror.change import Change, Page, Seq, distance
from npmmirror.clock import Clock, timestamp
from npmmirror.errors import FeedStalledError
from npmmirror.failpoints import reach
from npmmirror.liveness import at_rest
from npmmirror.pipeline.head_watch import Fallen, Finding, HeadWatch, Stalled
from npmmirror.pipeline.overlap import Overlap
from npmmirror.pipeline.pause import FIRST_SECONDS, LONGEST_SECONDS
from npmmirror.upstream import HostFault, Upstream, UpstreamError

BUFFER_SECONDS = 8.0
"""The longest pause before the buffer is tried again: a broker is ours, and may be asked often."""

log = structlog.get_logger(__name__)


class HeadFellError(Exception):
    """The feed's head went back below the cursor: following has to begin anew from `head`."""

    def __init__(self, cursor: Seq, head: int) -> None:
        super().__init__(f"the head of the feed went back from {cursor} to {head}")
        self.head = head


class Follower:
    """Keeps the buffer behind the feed.

    `receive` commits the page's receipt and the cursor to the index; only then the next page is
    asked for. What fails is tried again with growing pauses: nothing is skipped.

    `watch` judges whether the feed gets on, `overlap` reads its trailing window again; without them
    neither is done. After `most_rebuilds` new connections (0: any number) that bring no progress
    the follower gives up.
    """

    def __init__(
        self,
        upstream: Upstream,
        buffer: Buffer,
        receive: Callable[[Receipt], Awaitable[None]],
        clock: Clock,
        *,
        source: str,
        page_rows: int,
        poll_seconds: float,
        watch: HeadWatch | None = None,
        overlap: Overlap | None = None,
        most_rebuilds: int = 0,
    ) -> None:
        self._upstream = upstream
        self._buffer = buffer
        self._receive = receive
        self._clock = clock
        self._source = source
        self._page_rows = page_rows
        self._poll_seconds = poll_seconds
        self._watch = watch
        self.overlap = overlap
        self._most_rebuilds = most_rebuilds
        self._in_vain = 0
        self._told_old = False
        self._failures = 0
        self._told: str | None = None
        self._page: Page | None = None
        self.cursor: Seq | None = None
        self.head: Seq | None = None
        self.error: str | None = None
        self.rows = 0
        self.rebuilds = 0
        """Connections that were made anew because the feed stood still."""

    async def start_cursor(self, since: Seq, *, waits: Callable[[], None] = lambda: None) -> Seq:
        """The cursor to begin with: `since` itself, or the head of the feed for "now".

        `waits` is called where the feed cannot be read, and is waited for.
        """
        while since == "now":
            try:
                return (await self._upstream.head()).update_seq
            except UpstreamError as error:
                self.error = str(error)
                waits()
                await self._back_off(error)
        return since

    async def run(self, cursor: Seq, floor: Seq = 0) -> None:
        """Follow from a cursor on, for ever; what lies before `floor` was never to be followed.

        Raises:
            BufferChangedError: the buffer is not what it was.
            HeadFellError: the feed's head went back.
            FeedStalledError: the feed stands still, and new connections do not help.
        """
        self.cursor, self._page = cursor, None
        if self.overlap is not None:
            await self.overlap.begin(cursor, floor)
        if self._watch is not None:
            self._watch.begin(None)
            await self._tell_lag(self._watch, cursor)
        while True:
            try:
                again = await self._step() or await self._look_around()
            except (UpstreamError, BufferUnavailableError) as error:
                await self._fail(error)
                continue
            self._recovered()
            if not again:
                with at_rest():
                    await self._clock.sleep(self._poll_seconds)

    async def _tell_lag(self, watch: HeadWatch, cursor: Seq) -> None:
        """How far the mirror is behind at the start: what it drifts by is told against that."""
        await self._judge(await watch.look(cursor))
        if watch.known is not None:
            self.head = watch.known
            log.info("follow_lag", cursor=cursor, head=watch.known, lag=self.lag)

    async def _look_around(self) -> bool:
        """At the head: whether it went back or stands still, and what came late.

        Whether the head is to be looked at again at once.
        """
        cursor = self.cursor if self.cursor is not None else 0
        if self._watch is not None:
            await self._judge(await self._watch.look(cursor))
            self.head = self._watch.head or self.head
        if self.overlap is None:
            return False
        late = await self.overlap.late()
        if late:
            await self._append(late, cursor, cursor)
        await self.overlap.kept(late, cursor)
        return await self.overlap.step(cursor)

    async def _fail(self, error: UpstreamError | BufferUnavailableError) -> None:
        """What cannot be read may stand still; what cannot be reached is away."""
        if self._watch is not None:
            if isinstance(error, BufferUnavailableError | HostFault):
                self._watch.excuse()
            elif self.cursor is not None:
                finding = await self._watch.look(self.cursor)
                # Else what hangs would be at the head of what it told last.
                self.head = self._watch.head or self.head
                await self._judge(finding)
        await self._back_off(error)

    async def _judge(self, finding: Finding | None) -> None:
        if isinstance(finding, Fallen):
            raise HeadFellError(self.cursor or 0, finding.head)
        if isinstance(finding, Stalled) and self._watch is not None:
            await self._rebuild(finding, self._watch)

    async def _rebuild(self, stalled: Stalled, watch: HeadWatch) -> None:
        """Make the connection to the feed anew; give up where that was done in vain too often."""
        if 0 < self._most_rebuilds <= self._in_vain:
            raise FeedStalledError(
                f"The feed stands still at {self.cursor} while its head is at {stalled.head}, "
                f"after {self._in_vain} new connections."
            )
        self._in_vain += 1
        self.rebuilds += 1
        log.warning(
            "follow_stalled",
            rule=stalled.rule,
            cursor=self.cursor,
            head=stalled.head,
            drift=watch.drift,
            rebuilds=self._in_vain,
        )
        await self._upstream.reconnect_feed()
        watch.rebuilt()

    async def _step(self) -> bool:
        """One page; whether there is more at once."""
        before = self.cursor
        if self._page is None:
            self._page = await self._read_page(before if before is not None else 0)
        # Where the buffer does not take the page, upstream is not asked for it again.
        page = self._page
        if self._is_old(page, before):
            self._page = None
            return False
        await self._keep(page, before)
        self._page = None
        full = len(page.changes) + len(page.odd) >= self._page_rows
        self._advanced(page, before, full=full)
        if full:
            await self._look_at_head()
        else:
            # What was found above the cursor is not forgotten while the next look is under way.
            seen = self._watch.head if self._watch is not None else None
            self.head = page.last_seq if seen is None else seen
        return full

    def _is_old(self, page: Page, before: Seq | None) -> bool:
        """Whether the page leads nowhere: a cache or a replica that lags gave it. It is not kept."""
        if before is None:
            return False
        behind = distance(page.last_seq, before)
        old = behind is not None and behind < 0
        old = old or (page.last_seq == before and bool(page.changes))
        if old and not self._told_old:
            rows = len(page.changes)
            log.warning("old_page", cursor=before, last_seq=page.last_seq, rows=rows)
        self._told_old = old
        return old

    def _advanced(self, page: Page, before: Seq | None, *, full: bool) -> None:
        if page.last_seq == before:
            return
        self._in_vain = 0
        if self._watch is not None:
            newest = page.changes[-1] if page.changes else None
            self._watch.advanced(page.last_seq, newest, full=full)

    async def _read_page(self, since: Seq) -> Page:
        page = await self._upstream.changes(since, self._page_rows)
        reach("follow.page_read")
        for odd in page.odd:
            log.error("feed_row_unreadable", row=odd)
        return page

    async def _look_at_head(self) -> None:
        """Where the feed ends, for the lag alone: no word of it must not hold up the pages."""
        try:
            self.head = (await self._upstream.head()).update_seq
        except UpstreamError as error:
            log.debug("head_unknown", error=str(error))

    async def _keep(self, page: Page, before: Seq | None) -> None:
        if not page.changes and page.last_seq == before:
            return
        await self._append(page.changes, before, page.last_seq)
        self.cursor = page.last_seq
        if self.overlap is not None:
            await self.overlap.appended(page.changes, page.last_seq)
        log.debug("page", rows=len(page.changes), cursor=page.last_seq)

    async def _append(self, changes: Sequence[Change], before: Seq | None, after: Seq) -> None:
        """Rows into the buffer, then the receipt and the cursor behind them.

        Late rows leave the cursor where it is; their receipt proves where the buffer ends.
        """
        if changes:
            at = timestamp(self._clock.now())
            with at_rest():  # a broker may take its time; the buffer itself gives up one day
                end, tail = await self._buffer.append(changes, observed_at=at, source=self._source)
        else:
            end, tail = await self._buffer.end(), ""
        reach("follow.page_appended")
        # The rows are durable; the cursor follows. A kill in between reads the page twice, which
        # feed notices.
        with at_rest():  # for whoever writes to the index just now, or finds no room to
            await self._receive(Receipt(before, after, end, tail))
        reach("follow.page_received")
        self.rows += len(changes)

    async def _back_off(self, error: Exception) -> None:
        self._failures += 1
        most = BUFFER_SECONDS if isinstance(error, BufferUnavailableError) else LONGEST_SECONDS
        longest = min(FIRST_SECONDS * 2.0 ** min(self._failures, 20), most)
        retry_after = getattr(error, "retry_after", None) or 0.0
        seconds = max(self._clock.jitter(longest / 2, longest), retry_after)
        # Days of outage are one line, and one more for each new kind of trouble.
        reason = getattr(error, "reason", type(error).__name__)
        tell = log.debug if reason == self._told else log.warning
        tell(
            "follow_failed",
            reason=reason,
            error=str(error),
            attempt=self._failures,
            seconds=round(seconds, 1),
        )
        self._told = reason
        self.error = str(error)
        with at_rest():
            await self._clock.sleep(seconds)

    def _recovered(self) -> None:
        if self._failures:
            log.info("follow_recovered", attempts=self._failures)
        self._failures = 0
        self.error = self._told = None

    @property
    def drift(self) -> int | None:
        """By how many seqs the follow lag is above its lowest; None where that is not known."""
        return self._watch.drift if self._watch is not None else None

    @property
    def lag(self) -> int | None:
        """How many seqs the buffer's end is behind the head; None where seqs are opaque."""
        if self.head is None or self.cursor is None:
            return None
        return distance(self.head, self.cursor)
