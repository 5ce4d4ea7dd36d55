"""The state of a mirror as `npmmirror status --json` prints it."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anyio

from npmmirror import __version__
from npmmirror.buffer.base import Buffer, BufferChangedError, BufferUnavailableError
from npmmirror.buffer.set_aside import SetAside
from npmmirror.change import Seq, distance
from npmmirror.config import Config, StorageSection
from npmmirror.daemon.glance import Glance
from npmmirror.daemon.mirror import Mirror, Source
from npmmirror.errors import StorageError
from npmmirror.index import IndexReader, IndexStatus
from npmmirror.pipeline.follow import Follower
from npmmirror.sqlite import storable

Report = dict[str, Any]
NAMES_SHOWN = 20
DISK_SECONDS = 5.0


async def resting_report(config: Config) -> Report:
    """What the index says where no daemon runs.

    Raises:
        StorageError: there is no index, or it cannot be read.
    """
    path = config.storage.index_path
    if not await anyio.Path(path).exists():
        raise StorageError(f"there is no mirror in {config.storage.data_dir} yet")
    async with await IndexReader.open(path) as reader:
        index = await reader.status()
        following = await reader.following()
    url = following.upstream if following is not None else None
    return {
        "version": __version__,
        "daemon": None,
        "feed": _feed(index.cursor, None, url, None),
        "mirror": {"lag": None, "oldest_unfinished_at": None, "at_head": None},
        "buffer": {
            "backend": config.buffer.backend,
            "depth": None,
            "error": None,
            "set_aside": await set_aside(config.storage),
        },
        "fetch": None,
        **_of_index(index),
        "disks": await _disks(config.storage),
    }


@dataclass(frozen=True, slots=True)
class Live:
    """The parts of a running daemon that its state is read from."""

    mirror: Mirror
    follower: Follower
    buffer: Buffer
    source: Source
    started_at: str
    draining: anyio.Event

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
            "feed": _feed(cursor, head, self.source.feed, self.follower.error),
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
            **_of_index(index),
            "disks": await _disks(self.mirror.config.storage),
        }

    async def glance(self) -> Glance:
        """The same in a few words, without a look at index and disks."""
        depth = await self._depth()
        mirror, follower = self.mirror, self.follower
        troubles = {
            "the feed": follower.error,
            "the buffer": mirror.feed.buffer_error,
        }
        return Glance(
            in_work=mirror.gate.running,
            finished=mirror.recorder.finished,
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


def _feed(cursor: Seq | None, head: Seq | None, url: str | None, error: str | None) -> Report:
    lag = distance(head, cursor) if head is not None and cursor is not None else None
    if head is not None and head == cursor:
        lag = 0
    return {"url": url, "cursor": cursor, "head": head, "follow_lag": lag, "error": error}


def _of_index(index: IndexStatus) -> Report:
    mark = index.last_mark
    return {
        "totals": {
            "packages": dict(index.packages),
            "versions": index.versions,
            "tarballs": index.tarballs,
            "tarball_bytes": index.tarball_bytes,
            "revisions": index.revisions,
            "events": index.events,
        },
        "work_list": dict(index.work_list),
        "dead_letters": dict(index.dead_letters),
        "skips": dict(index.skips),
        "last_errors": [asdict(row) for row in index.last_errors],
        "last_change": dict(index.last_change) if index.last_change is not None else None,
        "last_commit": None
        if mark is None
        else {"ordinal": mark.ordinal, "committed_at": mark.committed_at},
    }


async def set_aside(storage: StorageSection) -> Report:
    """The records of the buffer that were set aside: how many, where, and the newest of them."""
    aside = SetAside(storage.set_aside_path)
    return await anyio.to_thread.run_sync(aside.report)


async def _disks(storage: StorageSection) -> list[Report]:
    """The disks that the mirror lies on, each by the first directory that is on it."""
    directories = (storage.data_dir, storage.staging_path, storage.packages_path)
    with anyio.move_on_after(DISK_SECONDS):
        # A hanging NAS must not hang the status: this call may be left behind.
        return await anyio.to_thread.run_sync(_looked_at, directories, abandon_on_cancel=True)
    return [{"path": str(path), "error": "it does not answer"} for path in directories]


def _looked_at(directories: Iterable[Path]) -> list[Report]:
    found: dict[int | Path, Report] = {}
    for path in directories:
        try:
            device, usage = path.stat().st_dev, shutil.disk_usage(path)
        except OSError as error:
            found[path] = {"path": str(path), "error": error.strerror}
            continue
        found.setdefault(
            device,
            {"path": str(path), "free_bytes": usage.free, "total_bytes": usage.total},
        )
    return list(found.values())
