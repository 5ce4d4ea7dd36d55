"""File systems that are full, hang, go away and come back: real ones, mounted by root."""

import errno
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Self

DEADLINE_SECONDS = 20
LONGEST_FREEZE_SECONDS = 60


class Nas:
    """A directory that another process serves through FUSE, as a network file system is served.

    Every call into it waits for that process (`hang`), fails while that is gone (`die`), and finds
    an empty directory of another device where nothing is mounted (`unmount`).
    """

    def __init__(self, directory: Path) -> None:
        self.point = directory / "nas"
        self._behind = directory / "behind"
        self._process: subprocess.Popen[bytes] | None = None
        for made in (self.point, self._behind):
            made.mkdir()
        self.packages = self.point / "packages"

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(self, *exc: object) -> None:
        """Leave neither process nor mount behind."""
        if self._process is not None and self._process.poll() is None:
            self.die()
        if os.path.ismount(self.point) or not _answers(self.point):
            self.unmount()

    @property
    def stored(self) -> list[str]:
        """What lies on it, seen past the mount."""
        return sorted(path.name for path in self._behind.rglob("*.tgz"))

    @property
    def shadowed(self) -> list[str]:
        """What lies in the mount point itself. Only while it is not mounted."""
        return sorted(path.name for path in self.point.rglob("*"))

    def mount(self) -> None:
        """Serve it."""
        command = ["bindfs", "-f", str(self._behind), str(self.point)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not os.path.ismount(self.point):
            assert self._process.poll() is None, "bindfs ended"
            assert time.monotonic() < deadline, "bindfs does not mount"
            time.sleep(0.01)

    def hang(self) -> None:
        """Answer nothing."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer what was asked meanwhile."""
        self._send(signal.SIGCONT)

    def die(self) -> None:
        """The server is gone; whoever asks is told ENOTCONN."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(DEADLINE_SECONDS)

    def unmount(self) -> None:
        """An empty directory is left. The server ends with its mount, unless it hangs."""
        subprocess.run(["umount", "--lazy", str(self.point)], check=True)
        assert self._process is not None
        self._process.kill()
        self._process.wait(DEADLINE_SECONDS)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class LocalDisk:
    """An ext4 file system in a file, which can be frozen: then every write to it hangs.

    It thaws by itself after a while: what waits for it cannot even be killed.
    """

    def __init__(self, directory: Path) -> None:
        self._thaws = threading.Timer(LONGEST_FREEZE_SECONDS, self._unfreeze)
        self.point = directory / "disk"
        self._image = directory / "disk.ext4"

    def __enter__(self) -> Self:
        self.point.mkdir()
        with self._image.open("wb") as file:
            file.truncate(32 << 20)
        for command in (
            ["mkfs.ext4", "-q", "-F", str(self._image)],
            ["mount", "-o", "loop", str(self._image), str(self.point)],
        ):
            subprocess.run(command, check=True)
        return self

    def __exit__(self, *exc: object) -> None:
        self._thaws.cancel()
        self._unfreeze()
        subprocess.run(["umount", "--lazy", str(self.point)], check=True)

    def freeze(self) -> None:
        """Writes wait; what is only read is answered."""
        subprocess.run(["fsfreeze", "--freeze", str(self.point)], check=True)
        self._thaws.start()

    def thaw(self) -> None:
        """They go on."""
        self._thaws.cancel()
        subprocess.run(["fsfreeze", "--unfreeze", str(self.point)], check=True)

    def _unfreeze(self) -> None:
        command = ["fsfreeze", "--unfreeze", str(self.point)]
        subprocess.run(command, check=False, capture_output=True)


def _answers(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


class SmallDisk:
    """A tmpfs that is filled up, with bytes or with files, and made room on again."""

    def __init__(self, point: Path) -> None:
        self.point = point
        self._ballast = point / "ballast"

    def __enter__(self) -> Self:
        self.point.mkdir(parents=True)
        self._mount("size=16m,nr_inodes=400")
        return self

    def __exit__(self, *exc: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.point)], check=True)

    def fill(self) -> None:
        """To the last byte."""
        with self._ballast.open("wb", buffering=0) as ballast:
            for piece in (1 << 20, 4096, 1):
                try:
                    while True:
                        ballast.write(bytes(piece))
                except OSError as error:
                    assert error.errno == errno.ENOSPC  # noqa: PT017 - what the disk said

    def empty(self) -> None:
        """Make room."""
        self._ballast.unlink()

    def take_inodes(self) -> None:
        """Let it hold no further file."""
        used = os.statvfs(self.point)
        self._mount(f"remount,nr_inodes={used.f_files - used.f_ffree}")

    def give_inodes(self) -> None:
        """Let it hold as many as before."""
        self._mount("remount,nr_inodes=400")

    def _mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.point)]
        subprocess.run(command, check=True)
