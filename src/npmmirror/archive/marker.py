"""The file that tells the directory of the tarballs from an empty mount point.

A NAS that is not mounted leaves a directory that takes files and holds none. Files written there
would vanish below the NAS once it is back, and everything that is on it would look lost.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from npmmirror.archive.disk import make_directory, sync_directory, sync_file
from npmmirror.archive.errors import DiskFaultError, disk_faults

MARKER = ".npmmirror"
ENOUGH_HELD = 20
"""So many held files, looked for, tell a directory that nobody marked from an empty one."""
_TEXT = (
    "npmmirror keeps tarballs in this directory. Where this file is missing it takes the disk for\n"
    "one that is not mounted, and pauses.\n"
)


class TarballsAwayError(DiskFaultError):
    """The directory is there, or not even that, but it is not the one that held the tarballs."""


class Marker:
    """The marker of one directory. Its calls are the disk's: they may block while that hangs."""

    def __init__(self, packages: Path) -> None:
        self._packages = packages
        self._path = packages / MARKER

    def look(self) -> None:
        """See that this is the directory that was used before.

        Raises:
            TarballsAwayError: it is not.
            DiskFaultError: the disk refuses.
        """
        if not self._is_there(self._path):
            raise TarballsAwayError(
                f"{self._packages} does not hold the tarballs: its file {MARKER} is missing. Is the "
                f"disk mounted? (Where all tarballs are really lost: touch {self._path})"
            )

    def claim(self, held: Iterable[str]) -> None:
        """Use the directory, made where it is missing, and mark it; nothing where it is marked.

        `held` are paths of some tarballs that should be in it. Where there are none it is a first
        use. Where one is found it is a directory that was marked by nobody yet, or a copy of one.

        Raises:
            TarballsAwayError: it should hold tarballs, and does not.
            DiskFaultError: the disk refuses.
        """
        if self._is_there(self._path):
            return
        held = list(held)
        if held and not any(self._is_there(self._packages / path) for path in held):
            self.look()
        with disk_faults(self._packages):
            make_directory(self._packages)
            self._path.write_text(_TEXT, encoding="utf-8")
            sync_file(self._path)
            sync_directory(self._packages)

    def _is_there(self, path: Path) -> bool:
        with disk_faults(path):
            try:
                os.stat(path)  # noqa: PTH116 - Path.exists takes some faults of the disk for "no"
            except (FileNotFoundError, NotADirectoryError):
                return False
        return True
