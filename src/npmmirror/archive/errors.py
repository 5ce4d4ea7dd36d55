"""What the archive cannot do, told apart by what the caller does next."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from npmmirror.errors import StorageError

_MEANS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_FAULTS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ESTALE,
        errno.ENODEV,
        errno.ENXIO,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        *_MEANS,
    }
)


class DiskFaultError(StorageError):
    """The disk, or the machine, refuses. Nothing is wrong with what was to be written."""


class OutOfMeansError(DiskFaultError):
    """The process or the machine has no means left to look at any file: none of them is at fault."""


class CaptureDamagedError(StorageError):
    """A record of the capture log is not what was written. All others can be used.

    `ordinal` and `name` are None only where so much is broken that they cannot be known.
    """

    def __init__(
        self, segment: int, offset: int, ordinal: int | None, name: str | None, reason: str
    ) -> None:
        self.segment = segment
        self.offset = offset
        self.ordinal = ordinal
        self.name = name
        self.reason = reason
        record = "a record" if ordinal is None else f"record {ordinal}"
        package = "" if name is None else f" ({name})"
        super().__init__(
            f"captures/{segment:06}.log is damaged at byte {offset}: {record}{package}: {reason}."
        )


class ErasedError(StorageError):
    """The document was blanked by the operator's `erase`, or needs one that was."""


class TarballTooLargeError(Exception):
    """A tarball is larger than `policy.max_tarball_bytes`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"more than {limit} bytes")


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Translate the operating system's refusals; what only a bug can cause passes as it is.

    Raises:
        DiskFaultError: the disk is full, broken, read-only, gone or not ours.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FAULTS:
            raise
        where = error.filename if isinstance(error.filename, str) else path
        why = _cause(error, path)
        kind = OutOfMeansError if error.errno in _MEANS else DiskFaultError
        raise kind(f"The disk refuses at {where}: {why}.") from error


def _cause(error: OSError, path: Path) -> str:
    """What the operating system says, and what it means by it where that is something else."""
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return f"{error.strerror} (the process's or the machine's limit of file descriptors)"
    if error.errno in {errno.ENOSPC, errno.EDQUOT} and _lacks_inodes(path):
        return f"{error.strerror}: it has no inodes left, that is, it holds too many files"
    return str(error.strerror)


def _lacks_inodes(path: Path) -> bool:
    try:
        found = os.statvfs(path if path.exists() else path.parent)
    except OSError:
        return False
    return found.f_files > 0 and found.f_favail == 0
