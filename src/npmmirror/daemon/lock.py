"""One instance a data directory: a lock held for life."""

import fcntl
import os
from pathlib import Path
from typing import Self

from npmmirror.archive import make_directory
from npmmirror.daemon.unfinished import refuse_half_reset
from npmmirror.errors import LockedError, StorageError


class DirectoryLock:
    """An exclusive lock on `<data_dir>/lock`, let go by the kernel when the process ends.

    The file holds the process id of its holder, for people; nothing reads it back but messages.
    """

    def __init__(self, data_dir: Path, *, half_reset: bool = False) -> None:
        self._path = data_dir / "lock"
        self._half_reset = half_reset
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LockedError: another process has it.
            StorageError: the directory cannot be made or written to; or what is in it was being
                reset, and `half_reset` does not say that this is what the lock is taken for.
        """
        try:
            make_directory(self._path.parent)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(
                f"the data directory {self._path.parent} cannot be written to: {error.strerror}"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise LockedError(
                f"the data directory {self._path.parent} is in use by process {holder}; "
                "stop it, or try again once it has ended"
            ) from error
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file
        try:
            if not self._half_reset:
                refuse_half_reset(self._path.parent)
        except StorageError:
            self.release()
            raise

    def release(self) -> None:
        """Let it go. The file stays: removing it would let two processes lock two files."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        """Take the lock."""
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        """Let it go."""
        self.release()
