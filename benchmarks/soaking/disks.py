"""Two small disks for the mirror, which fill up, become read-only and go away: root alone can.

Files that are mounted through loop devices: sparse, so that they take the room that is used.
"""

import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

MIB = 1 << 20
TRY_SECONDS = 3.0


class Disks:
    """The disk of `data_dir`, and the one of `packages_dir`, as a NAS would be.

    What lies below the second one's mount point is read-only, so that nothing is written there
    while the disk is away.
    """

    def __init__(self, directory: Path, gib: int) -> None:
        self._directory = directory
        self._gib = gib
        self._loops: dict[str, str] = {}
        self._ballast = directory / "data" / "ballast"
        self.data = directory / "data"
        self.packages = directory / "nas" / "disk"

    def __enter__(self) -> Self:
        """Make and mount them.

        Raises:
            subprocess.CalledProcessError: this machine does not let us.
        """
        self.data.mkdir()
        self.packages.parent.mkdir()
        try:
            _run("mount", "-t", "tmpfs", "-o", "size=64k", "below", str(self.packages.parent))
            self.packages.mkdir()
            _run("mount", "-o", "remount,ro", str(self.packages.parent))
            for name, place in (("data", self.data), ("packages", self.packages)):
                image = self._directory / f"{name}.img"
                with image.open("wb") as file:
                    file.truncate(self._gib << 30)
                _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
                self._loops[name] = _run("losetup", "--find", "--show", str(image))
                _run("mount", self._loops[name], str(place))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmount whatever is mounted."""
        for place in (self.packages, self.packages.parent, self.data):
            with suppress(subprocess.CalledProcessError):
                _run("umount", "-l", str(place))
        for loop in self._loops.values():
            with suppress(subprocess.CalledProcessError):
                _run("losetup", "-d", loop)

    def fill(self, free_bytes: int) -> None:
        """Leave so many bytes of the data's disk free."""
        take = shutil.disk_usage(self.data).free - free_bytes
        # The daemon may take some of it meanwhile.
        with self._ballast.open("ab") as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), file.tell(), max(take, 1))

    def empty(self) -> None:
        """Take the ballast away."""
        self._ballast.unlink(missing_ok=True)

    def make_read_only(self) -> bool:
        """Let nobody write to the packages' disk; whether it could be done."""
        return self._patiently("mount", "-o", "remount,ro", str(self.packages))

    def make_writable(self) -> None:
        """Undo `make_read_only`."""
        _run("mount", "-o", "remount,rw", str(self.packages))

    def take_away(self) -> None:
        """Unmount the packages' disk, whoever uses it."""
        _run("umount", "-l", str(self.packages))

    def bring_back(self) -> None:
        """Undo `take_away`."""
        _run("mount", self._loops["packages"], str(self.packages))

    @staticmethod
    def _patiently(*command: str) -> bool:
        too_late = time.monotonic() + TRY_SECONDS
        while time.monotonic() < too_late:
            with suppress(subprocess.CalledProcessError):  # a file is being written
                _run(*command)
                return True
            time.sleep(0.05)
        return False


def are_possible() -> bool:
    """Whether this process may mount."""
    tools = all(shutil.which(tool) for tool in ("mount", "umount", "losetup", "mkfs.ext4"))
    return os.geteuid() == 0 and tools and Path("/dev/loop-control").exists()


def _run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()
