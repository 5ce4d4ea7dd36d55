"""The files of a mirror on its disks, told apart from whatever else lies there."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from npmmirror.archive.marker import MARKER
from npmmirror.archive.publishing import INCOMING
from npmmirror.config import StorageSection
from npmmirror.layout import split_path

_CAPTURE: Final = re.compile(r"[0-9]{6,}\.log|blanking\.json|damaged/[^/]+\.bin")
_HASHED: Final = re.compile(r"([0-9a-f]{1,64}/)?[^/]+/[^/]*%h[0-9a-f]{64}\.tgz")
"""A name or version that was too long: its digest cannot be turned back, only recognised."""
_INDEX_COPIES: Final = ("new", "before-reindex", "version-*.copy", "version-*.copy.partial")


def of_index(storage: StorageSection) -> Iterator[Path]:
    """The index, what SQLite keeps beside it, and the copies that were made of it."""
    path = storage.index_path
    names = [path.name, *(f"{path.name}.{copy}" for copy in _INDEX_COPIES)]
    for name in names:
        for suffix in ("-wal", "-shm", ""):
            yield from path.parent.glob(f"{name}{suffix}")
    yield from path.parent.glob("in_work")
    yield from path.parent.glob("in_work.new")
    yield from path.parent.glob("backfill.names")
    yield from path.parent.glob("backfill.names.partial")


def of_archive(storage: StorageSection) -> Iterator[tuple[Path, bool]]:
    """The files where capture log and tarballs are, and whether each is the mirror's own.

    They may be deleted while this goes on.
    """
    captures = storage.data_dir / "captures"
    for path in _below(captures):
        yield path, _is_capture(path.relative_to(captures).as_posix())
    for top in (storage.packages_path, storage.data_dir / "damaged"):
        for path in _below(top):
            yield path, _is_tarball(path.relative_to(top).as_posix())


def prune(top: Path) -> None:
    """Remove the directories below `top`, and itself, as far as they are empty."""
    for directory, _, _ in os.walk(top, topdown=False):
        try:
            Path(directory).rmdir()
        except OSError:
            continue  # not empty, or the mount point of a disk


def _is_capture(path: str) -> bool:
    return _CAPTURE.fullmatch(path) is not None


def _is_tarball(path: str) -> bool:
    own = split_path(path) is not None or _HASHED.fullmatch(path) is not None
    return own or path == MARKER or path.startswith(f"{INCOMING}/")


def _below(top: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(top):
        names.sort()
        yield from (Path(directory, name) for name in sorted(files))
