"""Reads the changes feed into the buffer; a cursor moves only behind what is durable."""

from collections.abc import Awaitable, Callable

import structlog

from npmmirror.buffer.base import Buffer, BufferUnavailableError, Receipt
from npmmirror.change import Page, Seq, distance
from npmmirror.clock import Clock, timestamp
from npmmirror.failpoints import reach
from npmmirror.liveness import at_rest
from npmmirror.pipeline.pause import FIRST_SECONDS, LONGEST_SECONDS
from npmmirror.upstream import Upstream, UpstreamError

BUFFER_SECONDS = 8.0
"""The longest pause before the buffer is tried again: a broker is ours, and may be asked often."""

log = structlog.get_logger(__name__)


class Follower:
    """Keeps the buffer behind the feed.

    `receive` commits the page's receipt and the cursor to the index; only then the next page is
    asked for. What fails is tried again with growing pauses: nothing is skipped.
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
    ) -> None:
        self._upstream = upstream
        self._buffer = buffer
        self._receive = receive
        self._clock = clock
        self._source = source
        self._page_rows = page_rows
        self._poll_seconds = poll_seconds
        self._failures = 0
        self._told: str | None = None
        self._page: Page | None = None
        self.cursor: Seq | None = None
        self.head: Seq | None = None
        self.error: str | None = None
        self.rows = 0

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

    async def run(self, cursor: Seq) -> None:
        """Follow from a cursor on, for ever.

        Raises:
            BufferChangedError: the buffer is not what it was.
        """
        self.cursor, self._page = cursor, None
        while True:
            try:
                full = await self._step()
            except (UpstreamError, BufferUnavailableError) as error:
                await self._back_off(error)
                continue
            self._recovered()
            if not full:
                with at_rest():
                    await self._clock.sleep(self._poll_seconds)

    async def _step(self) -> bool:
        """One page; whether there is more at once."""
        before = self.cursor
        if self._page is None:
            self._page = await self._read_page(before if before is not None else 0)
        # Where the buffer does not take the page, upstream is not asked for it again.
        page = self._page
        await self._keep(page, before)
        self._page = None
        full = len(page.changes) + len(page.odd) >= self._page_rows
        if full:
            await self._look_at_head()
        else:
            self.head = page.last_seq
        return full

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
        if page.changes:
            at = timestamp(self._clock.now())
            with at_rest():  # a broker may take its time; the buffer itself gives up one day
                end, tail = await self._buffer.append(
                    page.changes, observed_at=at, source=self._source
                )
        elif page.last_seq != before:
            end, tail = await self._buffer.end(), ""
        else:
            return
        reach("follow.page_appended")
        # The rows are durable; the cursor follows. A kill in between reads the page twice, which
        # feed notices.
        with at_rest():  # for whoever writes to the index just now, or finds no room to
            await self._receive(Receipt(before, page.last_seq, end, tail))
        reach("follow.page_received")
        self.cursor = page.last_seq
        self.rows += len(page.changes)
        log.debug("page", rows=len(page.changes), cursor=page.last_seq)

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
    def lag(self) -> int | None:
        """How many seqs the buffer's end is behind the head; None where seqs are opaque."""
        if self.head is None or self.cursor is None:
            return None
        return distance(self.head, self.cursor)
