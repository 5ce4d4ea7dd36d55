"""The state of a mirror where no daemon runs, and those parts of it that a daemon tells, too.

Loads nothing of what a daemon is made of: `npmmirror status` is to be quick.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import anyio

from npmmirror import __version__
from npmmirror.backfill import BACKFILL, Backfill
from npmmirror.buffer.set_aside import SetAside
from npmmirror.change import Seq, distance
from npmmirror.clock import SystemClock
from npmmirror.config import Config, StorageSection
from npmmirror.daemon.disks import Disks, Found, one_each
from npmmirror.daemon.index_file import index_of
from npmmirror.daemon.latency import latency_report
from npmmirror.daemon.policy_change import change_report
from npmmirror.index import IndexReader, IndexStatus
from npmmirror.signatures import Keys

if TYPE_CHECKING:
    from npmmirror.pipeline.follow import Follower

Report = dict[str, Any]
MOST = 100_000
"""Rows of a backfill that are counted; it puts no more than a few thousands at a time."""


async def resting_report(config: Config) -> Report:
    """What the index says where no daemon runs.

    Raises:
        StorageError: there is no index, or it cannot be read.
    """
    async with await IndexReader.open(await index_of(config), connections=1) as reader:
        index = await reader.status()
        following = await reader.following()
        policy_change = await change_report(reader)
        backfill = await _backfill(reader)
        latency = await latency_report(reader, SystemClock().now())
    url = following.upstream if following is not None else None
    return {
        "version": __version__,
        "daemon": None,
        "feed": feed_report(index.cursor, None, url, None) | watch_report(index),
        "mirror": {"lag": None, "oldest_unfinished_at": None, "at_head": None},
        "buffer": {
            "backend": config.buffer.backend,
            "depth": None,
            "error": None,
            "set_aside": await set_aside(config.storage),
        },
        "fetch": None,
        **index_report(index),
        "policy_change": policy_change,
        "backfill": backfill,
        "reconciliation": None,
        "latency": latency,
        "disks": disks_report(await _disks(config, index).look()),
    }


def _disks(config: Config, index: IndexStatus) -> Disks:
    def look() -> None:
        from npmmirror.archive import Marker  # noqa: PLC0415 - see above: no sooner than needed

        Marker(config.storage.packages_path).look()

    return Disks(config.storage, look if index.tarballs else None)


async def _backfill(reader: IndexReader) -> Report | None:
    """How far a backfill is that nobody works at."""
    note = await reader.resumption(BACKFILL)
    if note is None:
        return None
    untried, failed = await reader.untried_packages(BACKFILL, MOST), await reader.failed(BACKFILL)
    return Backfill.from_text(note.place).report(untried=untried, failed=failed)


def feed_report(cursor: Seq | None, head: Seq | None, url: str | None, error: str | None) -> Report:
    """How far the feed was read."""
    lag = distance(head, cursor) if head is not None and cursor is not None else None
    if head is not None and head == cursor:
        lag = 0
    return {"url": url, "cursor": cursor, "head": head, "follow_lag": lag, "error": error}


def watch_report(index: IndexStatus, follower: "Follower | None" = None) -> Report:
    """What keeps the feed honest: rows that came late, a head that fell, a feed that stood still.

    Counts are those since the daemon's start.
    """
    fallen, revs = index.regression, index.registry_revs
    overlap = follower.overlap if follower is not None else None
    return {
        "drift": follower.drift if follower is not None else None,
        "late_rows": overlap.late_rows if overlap is not None else None,
        "window_read_at": overlap.read_at if overlap is not None else None,
        "rebuilds": follower.rebuilds if follower is not None else None,
        "registry_revs": None if revs is None else "given" if revs.given else "absent",
        "head_went_back": asdict(fallen) if fallen is not None else None,
    }


def index_report(index: IndexStatus) -> Report:
    """What the index tells."""
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
        "signatures": signatures_report(index),
        "work_list": dict(index.work_list),
        "dead_letters": dict(index.dead_letters),
        "skips": dict(index.skips),
        "manifest_confusions": dict(index.manifest_confusions),
        "removals": {
            "tripped": index.held_removals > 0,
            "held": index.held_removals,
            "since": index.held_since,
        },
        "last_errors": [asdict(row) for row in index.last_errors],
        "last_change": dict(index.last_change) if index.last_change is not None else None,
        "last_commit": None
        if mark is None
        else {"ordinal": mark.ordinal, "committed_at": mark.committed_at},
    }


def signatures_report(index: IndexStatus) -> Report:
    """What the signatures of versions are worth, and by which keys."""
    keys = index.keys
    return {
        "states": dict(index.signatures),
        "invalid": [f"{name}@{version}" for name, version in index.invalid_signatures],
        "keys": None
        if keys is None
        else {
            "ordinal": keys.ordinal,
            "at": keys.at,
            "keyids": [key.keyid for key in Keys.parse(keys.ordinal, keys.document).keys],
        },
        "attestations": index.attestations,
    }


async def set_aside(storage: StorageSection) -> Report:
    """The records of the buffer that were set aside: how many, where, and the newest of them."""
    aside = SetAside(storage.set_aside_path)
    return await anyio.to_thread.run_sync(aside.report)


def disks_report(found: Sequence[Found]) -> list[Report]:
    """The disks that the mirror lies on, each by the first directory that is on it."""
    return [
        {"path": str(one.path), "error": one.error}
        if one.error is not None
        else {
            "path": str(one.path),
            "free_bytes": one.free_bytes,
            "total_bytes": one.total_bytes,
            "free_inodes": one.free_inodes,
        }
        for one in one_each(found)
    ]
