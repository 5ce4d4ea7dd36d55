"""The state of a mirror as `npmmirror status --json` prints it."""

import os
from dataclasses import dataclass
from typing import Any

import anyio

from npmmirror import __version__
from npmmirror.buffer.base import Buffer, BufferChangedError, BufferUnavailableError
from npmmirror.change import Seq, distance
from npmmirror.daemon.cold_start import ColdStart
from npmmirror.daemon.glance import Glance
from npmmirror.daemon.latency import latency_report
from npmmirror.daemon.mirror import Mirror, Source
from npmmirror.daemon.policy_change import change_report
from npmmirror.daemon.resting import (
    disks_report,
    feed_report,
    index_report,
    resting_report,
    set_aside,
    watch_report,
)
from npmmirror.pipeline.follow import Follower
from npmmirror.sqlite import storable

__all__ = ["Live", "resting_report"]

Report = dict[str, Any]
NAMES_SHOWN = 20


def tripped(held: int) -> str | None:
    """What to say of removals that are held; None where none is."""
    return f"tripped, {held:,} removals are held" if held else None


@dataclass(frozen=True, slots=True)
class Live:
    """The parts of a running daemon that its state is read from."""

    mirror: Mirror
    follower: Follower
    buffer: Buffer
    source: Source
    started_at: str
    draining: anyio.Event
    cold_start: ColdStart

    async def report(self) -> Report:
        """The state now; what it says is finished is in the totals beside it."""
        # The index is read last: what was finished by then is in it, and not the other way round.
        cursor, head = self.follower.cursor, self.follower.head
        depth = await self._depth()
        lag, fetch = self._lag(head, depth), self._fetch()
        idle = depth == 0 and not fetch["in_work"]
        index = await self.mirror.opened.reader.status()
        return {
            "version": __version__,
            "daemon": {
                "pid": os.getpid(),
                "started_at": self.started_at,
                "state": "draining" if self.draining.is_set() else "running",
            },
            "feed": feed_report(cursor, head, self.source.public.feed, self.follower.error)
            | watch_report(index, self.follower),
            "mirror": {
                **lag,
                "at_head": head is not None and head == cursor and idle and not index.work_list,
            },
            "buffer": {
                "backend": self.mirror.config.buffer.backend,
                "depth": depth,
                "error": self.mirror.feed.buffer_error,
                "set_aside": await set_aside(self.mirror.config.storage),
            },
            "fetch": fetch,
            **index_report(index),
            "policy_change": await change_report(self.mirror.opened.reader),
            **await self.cold_start.status(),
            "latency": await latency_report(self.mirror.opened.reader, self.mirror.clock.now()),
            "disks": disks_report(await self.mirror.disks.look()),
        }

    async def glance(self) -> Glance:
        """The same in a few words, without a look at index and disks."""
        depth = await self._depth()
        mirror, follower = self.mirror, self.follower
        troubles = {
            "the feed": follower.error,
            "the buffer": mirror.feed.buffer_error,
            "the removal breaker": tripped(mirror.breaker.held),
        }
        return Glance(
            in_work=mirror.gate.running,
            finished=mirror.recorder.finished,
            following=mirror.recorder.watermark is not None,
            follow_lag=follower.lag,
            mirror_lag=self._lag(follower.head, depth)["lag"],
            unfinished=depth,
            paused=mirror.host.reason or mirror.disk.reason,
            paused_since=mirror.host.since or mirror.disk.since,
            troubles=tuple(f"{who}: {error}" for who, error in troubles.items() if error),
        )

    async def _depth(self) -> int | None:
        """How many changes are not finished; None where the buffer was never seen."""
        # The watermark is ahead of this while a group is committed.
        checkpoint = self.mirror.recorder.checkpoint
        if checkpoint is None:
            return None
        try:
            return await self.buffer.depth(checkpoint)
        except (BufferUnavailableError, BufferChangedError):
            return None

    def _lag(self, head: Seq | None, depth: int | None) -> Report:
        watermark, finished = self.mirror.recorder.watermark, self.mirror.recorder.finished_seq
        oldest = watermark.oldest if watermark is not None else None
        lag = None
        if head is not None and depth == 0:
            lag = 0
        elif head is not None and finished is not None:
            lag = distance(head, finished)
        return {
            "lag": lag,
            "oldest_unfinished_at": oldest.observed_at if oldest is not None else None,
        }

    def _fetch(self) -> Report:
        gate, host, disk = self.mirror.gate, self.mirror.host, self.mirror.disk
        traffic = self.mirror.upstream.traffic
        return {
            "in_work": gate.running,
            "packages": [storable(name) for name in sorted(gate.packages())[:NAMES_SHOWN]],
            "waiting": gate.waiting,
            "paused": host.reason or disk.reason,
            "paused_since": host.since or disk.since,
            "finished": self.mirror.recorder.finished,
            "requests": traffic.requests,
            "bytes_received": traffic.bytes_received,
        }
