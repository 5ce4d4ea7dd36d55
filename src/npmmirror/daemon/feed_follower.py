"""The daemon's follower: made with all that watches the feed, and sent on when the head fell."""

import structlog

from npmmirror.buffer.base import Buffer
from npmmirror.change import Seq
from npmmirror.clock import Clock, timestamp
from npmmirror.daemon.mirror import Mirror
from npmmirror.failpoints import reach
from npmmirror.index import Regression
from npmmirror.pipeline.follow import Follower
from npmmirror.pipeline.head_watch import HeadWatch
from npmmirror.pipeline.overlap import REMEMBERED, Overlap
from npmmirror.receipt import Position, Receipt

log = structlog.get_logger(__name__)


class FeedFollower:
    """A mirror's follower. `begin` is called once the buffer is known, before the follower runs."""

    def __init__(self, mirror: Mirror, buffer: Buffer, clock: Clock, *, feed: str) -> None:
        self._mirror = mirror
        self._buffer = buffer
        self._clock = clock
        self._found: Position | None = None
        follow = mirror.config.follow
        self.follower = Follower(
            mirror.upstream,
            buffer,
            mirror.recorder.receive_page,
            clock,
            source=feed,
            page_rows=follow.page_rows,
            poll_seconds=follow.poll_seconds,
            watch=self._watch(),
            overlap=self._overlap() if follow.overlap_seqs or follow.overlap_minutes else None,
            most_rebuilds=follow.stall_restarts,
        )

    async def run(self, cursor: Seq) -> None:
        """Follow from a cursor on; see `Follower.run`."""
        self._found = await self._buffer.end()
        known = await self._mirror.opened.index.last_following()
        since = known.since if known is not None else None
        await self.follower.run(cursor, cursor if since is None else since)

    async def take_head(self, head: int) -> None:
        """Go on from a head below the cursor: durable, with a reconciliation asked for.

        A kill before that has it found out again, one behind it has it done.
        """
        index, at = self._mirror.opened.index, timestamp(self._clock.now())
        cursor = await index.cursor()
        before = cursor if cursor is not None else head
        log.error("head_went_back", cursor=before, head=head)
        reach("follow.head_fell")
        receipt = Receipt(head, head, await self._buffer.end(), "")
        await index.feed_notes.take_head(Regression(at, before, head), receipt)
        reach("follow.head_taken")

    def _watch(self) -> HeadWatch:
        follow = self._mirror.config.follow
        return HeadWatch(
            self._mirror.upstream,
            self._mirror.opened.reader,
            self._clock,
            stall_seconds=follow.stall_minutes * 60,
            stall_lag=follow.stall_lag,
            fall_seconds=follow.head_fall_minutes * 60,
            settled=self._is_known,
        )

    def _overlap(self) -> Overlap:
        follow, opened = self._mirror.config.follow, self._mirror.opened
        return Overlap(
            self._mirror.upstream,
            opened.reader,
            opened.index.feed_notes,
            self._clock,
            seqs=follow.overlap_seqs,
            minutes=follow.overlap_minutes,
            every_minutes=follow.overlap_every_minutes,
            page_rows=follow.page_rows,
            ready=self._is_known,
        )

    async def _is_known(self) -> bool:
        """Whether it is known of every change in the buffer that it is there."""
        checkpoint = self._mirror.recorder.checkpoint
        if checkpoint is None or self._found is None:
            return False
        if not self._buffer.covers(checkpoint, self._found):
            return False
        return await self._buffer.depth(checkpoint) <= REMEMBERED
