"""A line in the log each minute: how fast the mirror goes, how far it is behind, what is wrong."""

from collections import Counter
from dataclasses import dataclass, field

import structlog

from npmmirror.buffer.base import Buffer, BufferChangedError, BufferUnavailableError
from npmmirror.change import distance
from npmmirror.clock import Clock, moment
from npmmirror.daemon.mirror import Mirror
from npmmirror.index import IndexUnavailableError
from npmmirror.pipeline.follow import Follower

EVERY_SECONDS = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Counts:
    """What only grows, at a moment of the monotonic clock."""

    at: float
    changes: int = 0
    tarballs: int = 0
    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes: int = 0
    errors: Counter[str] = field(default_factory=Counter)


class Progress:
    """Tells of a running mirror; `run` writes the lines, `tell` writes one now."""

    def __init__(self, mirror: Mirror, follower: Follower, buffer: Buffer, clock: Clock) -> None:
        self._mirror = mirror
        self._follower = follower
        self._buffer = buffer
        self._clock = clock
        self._before = self._counts()

    async def run(self) -> None:
        """A line each minute, for ever."""
        while True:
            await self._clock.sleep(EVERY_SECONDS)
            await self.tell()

    async def tell(self) -> None:
        """The line. Counts are those since the line before, or since the start."""
        before, now = self._before, self._counts()
        self._before = now
        seconds = max(now.at - before.at, 0.001)
        gate, host, disk = self._mirror.gate, self._mirror.host, self._mirror.disk
        buffered = await self._buffered()
        log.info(
            "progress",
            seconds=round(seconds),
            changes=now.changes - before.changes,
            changes_per_second=round((now.changes - before.changes) / seconds, 1),
            tarballs=now.tarballs - before.tarballs,
            bytes=now.bytes - before.bytes,
            requests=now.requests - before.requests,
            retries=now.retries - before.retries,
            throttled=now.throttled - before.throttled,
            errors=dict((now.errors - before.errors).most_common()),
            follow_lag=self._follower.lag,
            drift=self._follower.drift,
            mirror_lag=self._mirror_lag(buffered),
            oldest_seconds=self._oldest_seconds(),
            buffered=buffered,
            in_work=gate.running,
            waiting=gate.waiting,
            work_list=await self._work_list(),
            feed_error=self._follower.error,
            paused=host.reason or disk.reason,
        )

    def _counts(self) -> _Counts:
        traffic, telling = self._mirror.upstream.traffic, self._mirror.telling
        return _Counts(
            at=self._clock.monotonic(),
            changes=self._mirror.recorder.finished,
            tarballs=telling.sums.tarballs,
            requests=traffic.requests,
            retries=traffic.retries,
            throttled=traffic.throttled,
            bytes=traffic.bytes_received,
            errors=telling.errors.copy(),
        )

    async def _buffered(self) -> int | None:
        """How many changes are in the buffer and not finished; None where that is not known."""
        watermark = self._mirror.recorder.watermark
        if watermark is None:
            return None
        try:
            return await self._buffer.depth(watermark.position)
        except (BufferUnavailableError, BufferChangedError):
            return None

    def _mirror_lag(self, buffered: int | None) -> int | None:
        watermark, head = self._mirror.recorder.watermark, self._follower.head
        if head is not None and buffered == 0:
            return 0
        if head is None or watermark is None or watermark.seq is None:
            return None
        return distance(head, watermark.seq)

    def _oldest_seconds(self) -> int | None:
        """The age of the oldest change that is not finished, by the time it was read."""
        watermark = self._mirror.recorder.watermark
        oldest = watermark.oldest if watermark is not None else None
        if oldest is None:
            return None
        age = self._clock.now() - moment(oldest.observed_at)
        return max(round(age.total_seconds()), 0)

    async def _work_list(self) -> int | None:
        try:
            return await self._mirror.opened.reader.work_left()
        except IndexUnavailableError:
            return None
