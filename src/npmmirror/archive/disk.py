"""System calls that make files durable."""

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path

Octets = bytes | bytearray | memoryview

_PIECES_AT_ONCE = 512


def sync_file(path: Path) -> None:
    """Make a file's data and size durable."""
    _sync(path, os.O_RDONLY, os.fdatasync)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY, os.fsync)


def make_directory(path: Path) -> None:
    """Make a directory that may be there, and those on the way to it; their names are durable."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_directory(made.parent)


def sync_filesystem(path: Path) -> bool:
    """Make everything on the file system of a directory durable; False where libc cannot."""
    if _syncfs is None:
        return False
    _sync(path, os.O_RDONLY | os.O_DIRECTORY, _syncfs)
    return True


def write_at(fd: int, pieces: Sequence[Octets], offset: int) -> int:
    """Write all pieces, one behind the other, from an offset on; where they end."""
    for start in range(0, len(pieces), _PIECES_AT_ONCE):
        group = pieces[start : start + _PIECES_AT_ONCE]
        length = sum(map(len, group))
        done = os.pwritev(fd, group, offset)
        if (
            done < length
        ):  # a call writes 2 GiB at most, and less when a signal or a full disk ends it
            _write_rest(fd, memoryview(b"".join(group))[done:], offset + done)
        offset += length
    return offset


def _write_rest(fd: int, rest: memoryview, offset: int) -> None:
    while rest:
        done = os.pwrite(fd, rest, offset)
        rest, offset = rest[done:], offset + done


def _sync(path: Path, flags: int, call: Callable[[int], object]) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        call(fd)
    finally:
        os.close(fd)


def _find_syncfs() -> Callable[[int], None] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return None

    def syncfs(fd: int) -> None:
        if function(ctypes.c_int(fd)) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return syncfs


_syncfs = _find_syncfs()
