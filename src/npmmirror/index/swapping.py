"""Putting a rebuilt index in the place of the one before, so that there always is a whole one."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from npmmirror.index.schema import IndexUnavailableError

_ASIDE = ("-wal", "-shm")


def remove(path: Path) -> None:
    """Remove an index with the files beside it.

    Raises:
        IndexUnavailableError: the disk refuses.
    """
    try:
        for suffix in ("", *_ASIDE):
            _beside(path, suffix).unlink(missing_ok=True)
    except OSError as error:
        raise _refused(path, error) from error


def swap(new: Path, current: Path, kept: Path) -> Path | None:
    """Give a finished index, which nobody has open, its name; durable on return.

    The one before becomes `kept`, over any that was; where it never held anything it just goes.
    Until the last step the index is the one before, whatever happens.

    Returns:
        Where the one before is now; None where there is none to keep.

    Raises:
        IndexUnavailableError: the disk refuses; the one before is still in its place.
    """
    try:
        _sync(new)
        _sync(new.parent)
        held = _settle(current)
        if held:
            _keep(current, kept)
        # A log of the old file beside the new one would be played into it.
        for suffix in _ASIDE:
            _beside(current, suffix).unlink(missing_ok=True)
        new.rename(current)
        _sync(current.parent)
    except OSError as error:
        raise _refused(current, error) from error
    return kept if held else None


def _settle(path: Path) -> bool:
    """Bring an index's own log into its file, where that can be; whether it is worth keeping."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return database.execute("SELECT 1 FROM marks").fetchone() is not None
    except sqlite3.Error:
        return path.stat().st_size > 0


def _keep(current: Path, kept: Path) -> None:
    for suffix in ("", *_ASIDE):
        _beside(kept, suffix).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        _beside(current, "-wal").rename(_beside(kept, "-wal"))
    try:
        kept.hardlink_to(current)
    except OSError:  # a file system without hard links: for a moment there is no index
        current.rename(kept)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refused(path: Path, error: OSError) -> IndexUnavailableError:
    return IndexUnavailableError(f"The index {path} cannot be replaced: {error.strerror}.")
