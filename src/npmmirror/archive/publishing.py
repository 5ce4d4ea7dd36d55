"""Moving a group of finished files to their final names, so that no loss of power tears one.

The order: the data is durable before a file has its final name, and the names are durable before
the call returns. A file has its final name wholly or not at all.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from npmmirror.archive.disk import sync_directory, sync_file, sync_filesystem
from npmmirror.archive.errors import DiskFaultError, disk_faults
from npmmirror.failpoints import reach

INCOMING = ".incoming"
"""Where files are copied to that come from another file system, beside their final places."""
_MANY = 8
"""From so many files on, two syncs of the whole file system cost less than one a file and one a
directory: 0.1 to 0.3 ms a file against 0.5 (`benchmarks/README.md`, "Captures")."""

_PIECE = 8 << 20

Move = tuple[Path, Path]
Call = Callable[[], None]


def _nothing() -> None:
    pass


def publish(
    moves: Sequence[Move],
    *,
    staging: Path,
    packages: Path,
    look: Call = _nothing,
    step: Call = _nothing,
) -> None:
    """Give each file its final name; durable on return.

    A file that a failed call has moved already is left where it is, and its name is synced again.
    `look` raises where `packages` is not what it should be. It is asked before the first file is
    moved and after the last name is synced: a disk may go away in between. `step` is called as
    the work goes on, so that somebody sees where it does not.

    Raises:
        DiskFaultError: the disk refuses; the same call may be repeated.
    """
    with disk_faults(packages), _vanishing(packages):
        look()
        for directory in {final.parent for _, final in moves}:
            directory.mkdir(parents=True, exist_ok=True)
        if _device(staging) == _device(packages):
            copied = _rename(moves, staging, packages, step)
        else:
            copied = _carry(moves, packages, step)
        _sync_names([final for _, final in moves], packages, step, together=_device(staging))
        reach("publish.names_synced")
        look()
        for staged in copied:
            staged.unlink(missing_ok=True)


@contextmanager
def _vanishing(packages: Path) -> Iterator[None]:
    """Tell a disk that goes away in the midst, so that what was made on it is not there any more."""
    try:
        yield
    except FileNotFoundError as error:
        names = [name for name in (error.filename, error.filename2) if name is not None]
        if not any(Path(name).is_relative_to(packages) for name in names):
            raise
        raise DiskFaultError(f"The disk went away at {packages}: {error.strerror}.") from error


def _is_waiting(staged: Path, final: Path) -> bool:
    if staged.exists():
        return True
    if final.exists():
        return False
    raise FileNotFoundError(errno.ENOENT, "a received tarball has vanished", str(staged))


def _rename(moves: Sequence[Move], staging: Path, packages: Path, step: Call) -> list[Path]:
    """Move the files; those that had to be copied, and are still there, are returned."""
    if len(moves) < _MANY or not sync_filesystem(staging):
        for staged, final in moves:
            if _is_waiting(staged, final):
                sync_file(staged)
            step()
    reach("publish.data_synced")
    copied: list[Path] = []
    for staged, final in moves:
        try:
            staged.rename(final)
        except FileNotFoundError:
            if _is_waiting(staged, final):
                raise
        except OSError as error:
            if error.errno != errno.EXDEV:  # the same device, mounted twice
                raise
            copied += _carry([(staged, final)], packages, step)
        step()
        reach("publish.renamed")
    return copied


def _carry(moves: Sequence[Move], packages: Path, step: Call) -> list[Path]:
    """From another file system: copied to a temp name, synced, renamed; what was copied."""
    incoming = packages / INCOMING
    incoming.mkdir(exist_ok=True)
    waiting = [move for move in moves if _is_waiting(*move)]
    for staged, final in waiting:
        copy = incoming / staged.name
        try:
            _copy(staged, copy, step)
            sync_file(copy)
            copy.rename(final)
            step()
        except OSError:
            with suppress(OSError):
                copy.unlink()  # half a copy must not keep the disk full
            raise
    return [staged for staged, _ in waiting]


def _copy(staged: Path, copy: Path, step: Call) -> None:
    """Piece by piece: a large file takes a NAS minutes, and is no sign that it hangs."""
    with staged.open("rb", buffering=0) as source, copy.open("wb", buffering=0) as target:
        while os.sendfile(target.fileno(), source.fileno(), None, _PIECE):
            step()


def _sync_names(finals: Sequence[Path], packages: Path, step: Call, *, together: int) -> None:
    """Make the names durable, those of directories on the way to them too.

    One sync of the whole file system is for local disks alone: network file systems and FUSE
    need not heed it.
    """
    local = _device(packages) == together
    if local and len(finals) >= _MANY and sync_filesystem(packages):
        return
    for directory in _directories(finals, packages):
        sync_directory(directory)
        step()


def _directories(finals: Iterable[Path], packages: Path) -> list[Path]:
    """Every directory from `packages` down to the files, the deepest first."""
    found = {packages}
    for final in finals:
        for directory in final.parents:
            if directory in found:
                break
            found.add(directory)
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def _device(path: Path) -> int:
    return path.stat().st_dev
