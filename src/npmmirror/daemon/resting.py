"""The state of a mirror where no daemon runs, and those parts of it that a daemon tells, too.

Loads nothing of what a daemon is made of: `npmmirror status` is to be quick.
"""

import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio

from npmmirror import __version__
from npmmirror.buffer.set_aside import SetAside
from npmmirror.change import Seq, distance
from npmmirror.config import Config, StorageSection
from npmmirror.daemon.index_file import index_of
from npmmirror.index import IndexReader, IndexStatus

Report = dict[str, Any]
DISK_SECONDS = 5.0


async def resting_report(config: Config) -> Report:
    """What the index says where no daemon runs.

    Raises:
        StorageError: there is no index, or it cannot be read.
    """
    async with await IndexReader.open(await index_of(config), connections=1) as reader:
        index = await reader.status()
        following = await reader.following()
    url = following.upstream if following is not None else None
    return {
        "version": __version__,
        "daemon": None,
        "feed": feed_report(index.cursor, None, url, None),
        "mirror": {"lag": None, "oldest_unfinished_at": None, "at_head": None},
        "buffer": {
            "backend": config.buffer.backend,
            "depth": None,
            "error": None,
            "set_aside": await set_aside(config.storage),
        },
        "fetch": None,
        **index_report(index),
        "disks": await disks_report(config.storage),
    }


def feed_report(cursor: Seq | None, head: Seq | None, url: str | None, error: str | None) -> Report:
    """How far the feed was read."""
    lag = distance(head, cursor) if head is not None and cursor is not None else None
    if head is not None and head == cursor:
        lag = 0
    return {"url": url, "cursor": cursor, "head": head, "follow_lag": lag, "error": error}


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


async def disks_report(storage: StorageSection) -> list[Report]:
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
