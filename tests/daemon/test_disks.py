"""What keeps the mirror's disks from taking more."""

import threading
from pathlib import Path

import anyio
import pytest

from npmmirror.daemon import disks
from npmmirror.daemon.disk_watch import STALL_SECONDS, Advance
from npmmirror.daemon.disks import Disk, Found, look_at, one_each
from tests.pipeline.conftest import ManualClock

pytestmark = pytest.mark.anyio


def test_room_enough(tmp_path: Path) -> None:
    """Nothing to say."""
    assert look_at(tmp_path).lacks(1) is None


def test_a_disk_that_is_low_is_named(tmp_path: Path) -> None:
    """With the directory and the bound."""
    assert look_at(tmp_path).lacks(1 << 40) == (
        f"disk_low: {tmp_path} has less than 1,099,511,627,776 bytes free"
    )


def test_too_few_inodes_are_named(tmp_path: Path) -> None:
    """Of a large file system a thousand, of a small one a hundredth, of some there are no bounds."""
    lacking = Found(tmp_path, free_bytes=9, free_inodes=999, total_inodes=1 << 20)
    assert (
        lacking.lacks(1) == f"disk_low: {tmp_path} has less than 1,000 inodes free: too many files"
    )
    assert Found(tmp_path, free_bytes=9, free_inodes=5, total_inodes=500).lacks(1) is None
    assert Found(tmp_path, free_bytes=9, free_inodes=4, total_inodes=500).lacks(1) is not None
    assert Found(tmp_path, free_bytes=9, free_inodes=None).lacks(1) is None


def test_a_disk_that_went_away_stops_fetching_and_not_the_daemon(tmp_path: Path) -> None:
    """Seen in a kill test: the directory of a NAS is gone, and the look at it raised."""
    gone = tmp_path / "nas"
    assert look_at(gone).lacks(1) == f"disk_unavailable: {gone}: No such file or directory"


def test_the_status_shows_each_disk_once(tmp_path: Path) -> None:
    """Directories of one disk are one line; one that is gone says so."""
    staging = tmp_path / "staging"
    staging.mkdir()
    here, gone = one_each([look_at(path) for path in (tmp_path, staging, tmp_path / "nas")])
    assert here.path == tmp_path
    assert 0 < here.free_bytes <= here.total_bytes
    assert gone.error == f"{tmp_path / 'nas'}: No such file or directory"


async def test_a_disk_that_hangs_takes_one_thread_however_often_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look took a thread of its own, and forty of them had the status wait for ever."""
    monkeypatch.setattr(disks, "ANSWER_SECONDS", 0.05)
    asked: list[int] = []
    back = threading.Event()

    def hang() -> None:
        asked.append(1)
        back.wait(30)

    disk = Disk(tmp_path, hang)
    for _ in range(100):
        assert (await disk.look()).error == f"{tmp_path} does not answer"
    assert len(asked) == 1
    back.set()
    with anyio.fail_after(30):
        while (await disk.look()).error is not None:  # noqa: ASYNC110 - a thread brings it about
            await anyio.sleep(0.001)


async def test_work_that_goes_on_is_slow_and_does_not_hang() -> None:
    """A step now and then is enough; no step for long is not; no work is none."""
    clock = ManualClock()
    progress = Advance(clock)
    for step in range(5):
        assert not progress.stalls(step)
        clock.move(STALL_SECONDS - 1)
    assert not progress.stalls(4)
    clock.move(1)
    assert progress.stalls(4)
    assert not progress.stalls(None)
    clock.move(STALL_SECONDS)
    assert not progress.stalls(4)
