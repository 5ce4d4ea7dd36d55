"""A tarball's bytes on their way into a file of staging."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from npmmirror.archive.disk import write_at
from npmmirror.archive.errors import disk_faults

# Not O_EXCL: a process that died may have begun the file, whose name is nobody else's.
_CREATED = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class Hasher(Protocol):
    """What takes in the bytes of a tarball on their way (`npmmirror.integrity.Hasher`)."""

    def update(self, chunk: bytes, /) -> None:
        """Take in the next bytes."""
        ...


class Watch(Protocol):
    """Who follows a file while it is received."""

    @property
    def eager(self) -> bool:
        """Whether somebody reads it meanwhile, so that each piece is written as it comes."""
        ...

    def grew(self, size: int, /) -> None:
        """So many bytes of it can be read now."""
        ...


@dataclass(frozen=True, slots=True)
class Staged:
    """A file received whole, under its temp name."""

    path: Path
    size: int


class Elsewhere(Protocol):
    """Who writes and hashes small files, in another process (`npmmirror.pipeline.intake`)."""

    async def __call__(self, path: Path, pieces: Sequence[bytes], /) -> bool:
        """Make a file of these bytes; False where it was not tried.

        Raises:
            DiskFaultError: the disk refuses; a part of it may be there.
        """
        ...


class Sink:
    """A file being received. Its calls are made in threads, one after the other."""

    def __init__(self, path: Path, hasher: Hasher) -> None:
        self.path = path
        self.size = 0
        self._hasher = hasher
        self._fd: int | None = None
        self._lock = threading.Lock()
        self._discarded = False

    def write(self, chunks: list[bytes]) -> None:
        """Hash and write what was gathered."""
        with self._lock, disk_faults(self.path):
            self._write(chunks)

    def finish(self, chunks: list[bytes]) -> None:
        """Hash and write the rest, and close the file."""
        with self._lock, disk_faults(self.path):
            self._write(chunks)
            self._close()

    def discard(self) -> None:
        """Close and remove the file; a call that comes later does nothing."""
        with self._lock, disk_faults(self.path):
            self._discarded = True
            self._close()
            self.path.unlink(missing_ok=True)

    def _write(self, chunks: list[bytes]) -> None:
        if self._discarded:
            return
        if self._fd is None:
            self._fd = os.open(self.path, _CREATED, 0o644)
        data = b"".join(chunks)
        self._hasher.update(data)
        self.size = write_at(self._fd, [data], self.size)

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)


def write_whole(path: Path, body: bytes) -> None:
    """Make a file of all its bytes. It is not yet durable.

    Raises:
        DiskFaultError: the disk refuses; a part of it may be there.
    """
    with disk_faults(path):
        fd = os.open(path, _CREATED, 0o644)
        try:
            write_at(fd, [body], 0)
        finally:
            os.close(fd)
