"""Looks at where the feed ends: whether it went back, and whether the follower gets on."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from npmmirror.change import Change, Seq, distance
from npmmirror.clock import Clock
from npmmirror.index import IndexReader, IndexUnavailableError
from npmmirror.upstream import Upstream, UpstreamError

LOOK_SECONDS: Final = 60.0
"""Between two looks at the head, where pages tell nothing else."""
LOOKS: Final = 5
"""So many looks in a row must find the head below the cursor: a replica that lags is not enough."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fallen:
    """The feed's head lies below the cursor, and stays there."""

    head: int


@dataclass(frozen=True, slots=True)
class Stalled:
    """The follower does not get on: its cursor stands still, or its lag grows."""

    rule: Literal["cursor", "lag"]
    head: Seq


Finding = Fallen | Stalled


class HeadWatch:
    """Judges by what looks at the head tell, a minute apart; full pages are progress.

    Waiting for upstream that does not answer, for the disk or for a broker is no stall: nothing is
    judged then, and `excuse` says that time was lost for another reason.

    Args:
        upstream: whose feed it is.
        index: knows what is finished.
        clock: the time.
        stall_seconds: how long the cursor may stand still while the head moves; 0: for ever.
        stall_lag: by how many seqs the lag may grow from its lowest; 0: by any.
        fall_seconds: how long a head must lie below the cursor to be believed.
        settled: whether everything is finished that was in the buffer when following began.
    """

    def __init__(
        self,
        upstream: Upstream,
        index: IndexReader,
        clock: Clock,
        *,
        stall_seconds: float,
        stall_lag: int,
        fall_seconds: float,
        settled: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._settled = settled
        self._upstream = upstream
        self._index = index
        self._clock = clock
        self._stall_seconds = stall_seconds
        self._stall_lag = stall_lag
        self._fall_seconds = fall_seconds
        self._every = min(LOOK_SECONDS, stall_seconds / 4 or LOOK_SECONDS, fall_seconds / LOOKS)
        self.begin(None)

    def begin(self, newest: Change | None) -> None:
        """Judge from now on; `newest` is the last change appended, where it is known."""
        self._still_since = self._rebuilt_at = self._next_look = self._clock.monotonic()
        self._rebuilt = False
        self._newest = newest
        self._ahead: Seq | None = None
        """The first head that was found above the cursor since that stands still."""
        self._lowest: int | None = None
        self._grown = 0
        self._below: float | None = None
        self._looks_below = 0
        self.head: Seq | None = None
        """What the last look told; None where the cursor has passed it since, or none was made."""
        self.known: Seq | None = None
        """What the last look told, in any case."""
        self.drift: int | None = None
        """By how much the lag is above its lowest; None where it is not known."""

    def advanced(self, cursor: Seq, newest: Change | None, *, full: bool) -> None:
        """The cursor moved on, by a full page or not; `newest` is the page's last change."""
        self._still_since = self._clock.monotonic()
        self._newest = newest or self._newest
        self._ahead = None
        self._below, self._looks_below = None, 0
        if self.head is not None and (distance(cursor, self.head) or 0) >= 0:
            self.head = None
        if full:
            self._lowest, self._grown = None, 0

    def excuse(self) -> None:
        """The time until now was spent in waiting for something else."""
        self._still_since = self._clock.monotonic()

    def rebuilt(self) -> None:
        """The connection was made anew: what comes next is judged by itself."""
        self._still_since = self._rebuilt_at = self._clock.monotonic()
        self._rebuilt = True
        self._lowest, self._grown = None, 0

    async def look(self, cursor: Seq) -> Finding | None:
        """Look at the head where it is time to; what is wrong, if anything is.

        A look that fails tells nothing.
        """
        now = self._clock.monotonic()
        if now < self._next_look:
            return None
        self._next_look = now + self._every
        try:
            head = (await self._upstream.head()).update_seq
        except UpstreamError as error:
            log.debug("head_unknown", error=str(error))
            self.excuse()
            return None
        self.known = head
        lag = distance(head, cursor)
        self.head = head if lag is not None and lag > 0 else None
        if isinstance(head, int) and lag is not None and lag < 0:
            return await self._judge_fall(cursor, head)
        self._rose(cursor)
        if self._lag_grew(lag):
            return Stalled("lag", head)
        if head != cursor and await self._stands_still(self._moves(head, lag)):
            return Stalled("cursor", head)
        return None

    async def _judge_fall(self, cursor: Seq, head: int) -> Fallen | None:
        now = self._clock.monotonic()
        self.excuse()
        if self._below is None:
            self._below = now
            log.warning("head_below_cursor", cursor=cursor, head=head)
        self._looks_below += 1
        if self._looks_below >= LOOKS and now - self._below >= self._fall_seconds:
            return Fallen(head)
        # The next look shall not ask the same replica again by a connection that is kept.
        await self._upstream.reconnect_feed()
        return None

    def _rose(self, cursor: Seq) -> None:
        if self._below is not None:
            log.info("head_above_cursor", cursor=cursor, looks=self._looks_below)
        self._below, self._looks_below = None, 0

    def _lag_grew(self, lag: int | None) -> bool:
        if lag is None:
            return False
        self._lowest = lag if self._lowest is None else min(self._lowest, lag)
        self.drift = lag - self._lowest
        # One look may fall into a burst, or ask a machine that is ahead of the one before.
        self._grown = self._grown + 1 if 0 < self._stall_lag < self.drift else 0
        return self._grown > 1 and self._may_rebuild()

    def _moves(self, head: Seq, lag: int | None) -> bool:
        """Whether the head was seen to move while the cursor stood still."""
        if not lag:
            return False
        self._ahead = head if self._ahead is None else self._ahead
        return head != self._ahead

    async def _stands_still(self, moves: bool) -> bool:
        still = self._clock.monotonic() - self._still_since
        if not 0 < self._stall_seconds <= still:
            return False
        try:
            return moves or await self._has_news()
        except (UpstreamError, IndexUnavailableError) as error:
            log.debug("head_unknown", error=str(error))
            return False

    async def _has_news(self) -> bool:
        """Whether the feed's newest row is one that was not appended: then the cursor must move.

        Heads alone do not tell: two opaque ones may mean the same, and a seq may have no row.
        """
        page = await self._upstream.changes(None, 1, descending=True)
        if not page.changes:
            return False
        row = page.changes[0]
        known = self._newest
        if known is not None and (row.id, row.rev, row.deleted) == (
            known.id,
            known.rev,
            known.deleted,
        ):
            return False
        # It may wait in the buffer since the last process.
        if known is None and self._settled is not None and not await self._settled():
            return False
        finished = (await self._index.finished([row.id])).get(row.id)
        return finished != (row.rev, row.deleted) and not row.id.startswith("_")

    def _may_rebuild(self) -> bool:
        """Once, or a while after the time before: a connection made anew is given its chance."""
        waited = self._clock.monotonic() - self._rebuilt_at
        return not self._rebuilt or waited >= max(self._stall_seconds, LOOK_SECONDS)
