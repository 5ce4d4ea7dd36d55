"""Disks that are really full: each of those that the mirror lies on, of bytes and of files."""

from typing import Any

import pytest

from npmmirror.testing import faults
from tests.daemon.conftest import FastClock, Open, RunningMirror, mirror
from tests.disks.mounts import SmallDisk

__all__ = ["mirror"]

pytestmark = [pytest.mark.anyio, pytest.mark.mounts]

PACKAGES = 12
SAID = {
    "data_dir": ("captures", "index.db"),
    "staging_dir": ("staging_dir",),
    "packages_dir": ("packages_dir",),
}
"""What is named where the directory is full."""
DIRECTORIES = ["data_dir", "staging_dir", "packages_dir"]


def on(disk: SmallDisk) -> dict[str, Any]:
    """A configuration with one directory on this disk, in which each attempt is the last."""
    beside = {name: str(disk.point.with_name(f"large_{name}")) for name in DIRECTORIES}
    storage = beside | {disk.point.name: str(disk.point / "here")}
    return {"storage": storage, "fetch": {"max_attempts": 1}}


def publish(here: RunningMirror, first: int, end: int) -> None:
    """A version each of so many packages."""
    for number in range(first, end):
        here.upstream.registry.publish(f"p{number}", "1.0.0")


async def whole(here: RunningMirror) -> None:
    """Everything is there, and nothing is left over."""
    status = await here.at_head()
    assert status["totals"]["packages"] == {"live": PACKAGES}
    assert status["totals"]["tarballs"] == PACKAGES
    assert not status["dead_letters"]
    assert status["fetch"]["paused"] is None
    assert not list(here.config.storage.staging_path.iterdir())


async def stall(here: RunningMirror) -> None:
    """Have changes in the buffer, and their documents on their way."""
    here.upstream.fault("packument", faults.Stall(), times=None)
    publish(here, 3, PACKAGES)
    await here.until(lambda status: status["buffer"]["depth"] == PACKAGES - 3)


def go_on(here: RunningMirror) -> None:
    """Let them arrive."""
    here.upstream.heal()
    here.upstream.release()


@pytest.mark.parametrize("small_disk", DIRECTORIES, indirect=True)
async def test_a_full_disk_is_waited_out(mirror: Open, small_disk: SmallDisk) -> None:
    """Fetching pauses and says why, until there is room; `min_free_bytes` did not see it coming."""
    async with mirror(**on(small_disk)) as here:
        publish(here, 0, 3)
        async with here.running(clock=FastClock(20)):
            await here.at_head()
            await stall(here)
            small_disk.fill()
            go_on(here)
            status = await here.until(lambda status: status["fetch"]["paused"] is not None)
            assert any(word in status["fetch"]["paused"] for word in SAID[small_disk.point.name])
            small_disk.empty()
            await whole(here)


@pytest.mark.parametrize("small_disk", ["data_dir"], indirect=True)
async def test_a_feed_that_finds_no_room_is_read_again(mirror: Open, small_disk: SmallDisk) -> None:
    """buffer.db cannot grow: the page is asked for again."""
    async with mirror(**on(small_disk)) as here:
        publish(here, 0, 3)
        async with here.running(clock=FastClock(20)):
            await here.at_head()
            small_disk.fill()
            # More than the pages that both databases hold free.
            for number in range(20_000):
                here.upstream.registry.design_document(f"_design/{number}")
            publish(here, 3, PACKAGES)
            status = await here.until(lambda status: status["feed"]["error"] is not None)
            assert "full" in status["feed"]["error"]
            small_disk.empty()
            await whole(here)


@pytest.mark.parametrize("small_disk", ["staging_dir", "packages_dir"], indirect=True)
async def test_a_disk_without_inodes_is_waited_out(mirror: Open, small_disk: SmallDisk) -> None:
    """It has bytes free, and takes no file: the reason says that. Few files are made in data_dir."""
    async with mirror(**on(small_disk)) as here:
        publish(here, 0, 3)
        async with here.running(clock=FastClock(20)):
            await here.at_head()
            await stall(here)
            small_disk.take_inodes()
            go_on(here)
            status = await here.until(lambda status: status["fetch"]["paused"] is not None)
            assert "inodes" in status["fetch"]["paused"]
            small_disk.give_inodes()
            await whole(here)
