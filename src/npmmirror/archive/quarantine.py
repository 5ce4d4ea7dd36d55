"""Damaged files, moved out of the way and kept: they may be all that is left of something."""

import errno
import shutil
from contextlib import suppress
from itertools import count
from pathlib import Path

from npmmirror.archive.disk import sync_directory, sync_file
from npmmirror.archive.errors import disk_faults


def set_aside(file: Path, wanted: Path) -> Path | None:
    """Move a file to the name that is wanted, a number behind it; durable on return.

    None where there is no such file. One caller at a time.

    Raises:
        DiskFaultError: the disk refuses; the file is still where it was.
    """
    with disk_faults(file):
        if not file.is_file():
            return None
        made = _make(wanted.parent)
        aside = next(
            path
            for number in count(1)
            if not (path := wanted.with_name(f"{wanted.name}.{number}")).exists()
        )
        _move(file, aside)
        for directory in (aside.parent, *made, file.parent):
            sync_directory(directory)
    return aside


def _make(directory: Path) -> list[Path]:
    """Make a directory; those that have a new name in them."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    return [path.parent for path in missing]


def _move(file: Path, aside: Path) -> None:
    try:
        file.rename(aside)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _carry(file, aside)


def _carry(file: Path, aside: Path) -> None:
    """To another file system: the copy is durable before the file goes."""
    try:
        shutil.copyfile(file, aside)
        sync_file(aside)
        sync_directory(aside.parent)
    except OSError:
        with suppress(OSError):
            aside.unlink()
        raise
    file.unlink()
