"""Disks that can be made to fail, and a daemon on them."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from npmmirror.testing.remote import RemoteUpstream
from tests.disks.daemon import DiskDaemon
from tests.disks.mounts import LocalDisk, Nas, SmallDisk
from tests.machine import missing

Start = Callable[..., DiskDaemon]


@pytest.fixture
def upstream() -> Iterator[RemoteUpstream]:
    """A scripted upstream in another process, empty."""
    with RemoteUpstream("--living", "0") as upstream:
        yield upstream


@pytest.fixture
def start(tmp_path: Path, upstream: RemoteUpstream) -> Iterator[Start]:
    """Starts `npmmirror run` with these settings, and waits until it follows."""
    with ExitStack() as stack:

        def started(**settings: object) -> DiskDaemon:
            daemon = stack.enter_context(DiskDaemon(tmp_path / "mirror", upstream, settings))
            daemon.start()
            daemon.wait_for_head()
            return daemon

        yield started


@pytest.fixture
def nas(tmp_path: Path) -> Iterator[Nas]:
    """A mounted NAS."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists() or shutil.which("bindfs") is None:
        missing("the right to mount, FUSE, or bindfs")
    with Nas(tmp_path) as nas:
        yield nas


@pytest.fixture
def local_disk(tmp_path: Path) -> Iterator[LocalDisk]:
    """A mounted ext4 of 32 MiB."""
    if os.geteuid() != 0 or not _has_loop() or shutil.which("mkfs.ext4") is None:
        missing("the right to mount, a loop device, or mkfs.ext4")
    with LocalDisk(tmp_path) as disk:
        yield disk


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    """A mounted tmpfs under the directory's name that the test is given."""
    if os.geteuid() != 0:
        missing("the right to mount a tmpfs")
    with SmallDisk(tmp_path / request.param) as disk:
        yield disk


def _has_loop() -> bool:
    return subprocess.run(["losetup", "--find"], check=False, capture_output=True).returncode == 0
