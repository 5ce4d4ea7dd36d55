"""The disks that a mirror lies on: looked at in threads of their own, for any of them may hang."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import anyio

from npmmirror.config import StorageSection
from npmmirror.errors import StorageError

ANSWER_SECONDS = 5.0
"""How long an answer is waited for."""
LEAST_INODES = 1000
INODE_SHARE = 100
"""Of a small file system this part of its inodes, a hundredth, is the least."""

Look = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a disk told: its sizes, or in `error` why there are none.

    `device` is the same for directories of one file system. `inodes` is None where the file
    system has no bound of them.
    """

    path: Path
    device: int = 0
    free_bytes: int = 0
    total_bytes: int = 0
    free_inodes: int | None = None
    total_inodes: int = 0
    error: str | None = None

    def lacks(self, least_bytes: int) -> str | None:
        """What keeps the disk from taking more; None where nothing does."""
        if self.error is not None:
            return f"disk_unavailable: {self.error}"
        if self.free_bytes < least_bytes:
            return f"disk_low: {self.path} has less than {least_bytes:,} bytes free"
        least = min(LEAST_INODES, self.total_inodes // INODE_SHARE)
        if self.free_inodes is not None and self.free_inodes < least:
            return f"disk_low: {self.path} has less than {least:,} inodes free: too many files"
        return None


def look_at(path: Path, look: Look | None = None) -> Found:
    """Look at the disk of a directory; `look` raises where that is the wrong one."""
    try:
        if look is not None:
            look()
        device, found = path.stat().st_dev, os.statvfs(path)
    except StorageError as fault:
        return Found(path, error=str(fault))
    except OSError as error:
        return Found(path, error=f"{path}: {error.strerror}")
    return Found(
        path,
        device,
        free_bytes=found.f_bavail * found.f_frsize,
        total_bytes=found.f_blocks * found.f_frsize,
        free_inodes=found.f_favail if found.f_files else None,
        total_inodes=found.f_files,
    )


class Disk:
    """One directory's disk. However often it is looked at, one thread at most waits for it."""

    def __init__(self, path: Path, look: Look | None = None) -> None:
        self._path = path
        self._look = look
        self._found = Found(path)
        self._answered: anyio.Event | None = None
        self._asked_at = 0.0

    async def look(self) -> Found:
        """What is found now, or that it does not answer."""
        if self._answered is None or self._answered.is_set():
            self._answered = self._asked()
        left = self._asked_at + ANSWER_SECONDS - anyio.current_time()
        with anyio.move_on_after(max(left, 0.0)):
            await self._answered.wait()
        if not self._answered.is_set():
            return Found(self._path, error=f"{self._path} does not answer")
        return self._found

    def _asked(self) -> anyio.Event:
        answered, loop = anyio.Event(), asyncio.get_running_loop()
        self._asked_at = anyio.current_time()

        def ask() -> None:
            self._found = look_at(self._path, self._look)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(answered.set)

        # A daemon thread: one that hangs must not keep the process.
        Thread(target=ask, name="npmmirror-disk", daemon=True).start()
        return answered


class Disks:
    """All disks of a mirror; `look` is for the directory of the tarballs."""

    def __init__(self, storage: StorageSection, look: Look | None = None) -> None:
        directories = dict.fromkeys((storage.data_dir, storage.staging_path))
        directories.pop(storage.packages_path, None)
        self._disks = [Disk(path) for path in directories]
        self._disks.append(Disk(storage.packages_path, look))

    async def look(self) -> list[Found]:
        """What is found at each directory, in a fixed order."""
        found: dict[int, Found] = {}

        async def ask(number: int, disk: Disk) -> None:
            found[number] = await disk.look()

        async with anyio.create_task_group() as tasks:
            for number, disk in enumerate(self._disks):
                tasks.start_soon(ask, number, disk)
        return [found[number] for number in sorted(found)]


def one_each(found: Sequence[Found]) -> list[Found]:
    """Of directories on one disk the first; those that do not answer are all there."""
    disks: dict[int | Path, Found] = {}
    for one in found:
        disks.setdefault(one.path if one.error is not None else one.device, one)
    return list(disks.values())
