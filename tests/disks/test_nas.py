"""`packages_dir` on a NAS that hangs, goes away, is not mounted, and comes back."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror.archive import TarballsAwayError
from npmmirror.daemon import disks, opening
from npmmirror.daemon.showing import shown
from npmmirror.testing.remote import RemoteUpstream
from tests.daemon.conftest import FastClock, Open, RunningMirror, mirror
from tests.disks.conftest import Start
from tests.disks.mounts import LocalDisk, Nas

__all__ = ["mirror"]

pytestmark = [pytest.mark.anyio, pytest.mark.mounts]

SPEED = 20
"""A minute of the daemon's is three seconds of ours."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is given up soon: these seconds are ours."""
    monkeypatch.setattr(disks, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(opening, "ATTACH_SECONDS", 3.0)


def on(packages: Path) -> dict[str, Any]:
    """A configuration in which each attempt would be the last."""
    return {"storage": {"packages_dir": str(packages)}, "fetch": {"max_attempts": 1}}


def publish(here: RunningMirror, first: int, end: int) -> None:
    """A version each of so many packages."""
    for number in range(first, end):
        here.upstream.registry.publish(f"p{number}", "1.0.0")


async def paused(here: RunningMirror, word: str) -> dict[str, Any]:
    """The first status that says that fetching is paused, and why."""
    return await here.until(lambda status: word in (status["fetch"]["paused"] or ""))


async def whole(here: RunningMirror, nas: Nas, packages: int) -> None:
    """Everything is there, on the NAS, and nothing is left over anywhere."""
    status = await here.at_head()
    assert status["fetch"]["paused"] is None
    assert status["totals"]["packages"] == {"live": packages}
    assert status["totals"]["tarballs"] == packages
    assert not status["dead_letters"]
    assert not list(here.config.storage.staging_path.iterdir())
    assert nas.stored == sorted(f"p{number}-1.0.0.tgz" for number in range(packages))
    assert not list((nas.packages / ".incoming").iterdir())


def left_behind() -> list[str]:
    """The threads that wait for a disk."""
    names = ("npmmirror-disk", "npmmirror-tarballs", "npmmirror-publisher")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]


async def test_one_that_hangs_holds_up_fetching_and_nothing_else(mirror: Open, nas: Nas) -> None:
    """Feed, status and show go on, threads and staged files stay few, then all is caught up."""
    async with mirror(**on(nas.packages)) as here:
        publish(here, 0, 3)
        async with here.running(clock=FastClock(SPEED)):
            await whole(here, nas, 3)
            nas.hang()
            publish(here, 3, 60)
            status = await paused(here, "does not answer")
            assert status["fetch"]["paused"] == f"disk_unavailable: {nas.packages} does not answer"
            # A page that is large enough to be read in the threads that all the others share.
            for number in range(1000):
                here.upstream.registry.design_document(f"_design/{number}")
            publish(here, 60, 63)
            status = await here.until(lambda status: status["buffer"]["depth"] >= 1003)
            assert status["feed"]["follow_lag"] == 0
            threads = len(left_behind())
            for _ in range(50):
                assert (await here.status())["disks"][-1]["error"].endswith("does not answer")
            assert len(left_behind()) <= threads
            assert len(list(here.config.storage.staging_path.iterdir())) <= 2 * 8
            async with shown(here.config) as showing:
                assert (await showing.package("p0"))["state"] == "live"
            nas.go_on()
            await whole(here, nas, 63)


async def test_one_that_goes_away_pauses_fetching_until_it_is_back(mirror: Open, nas: Nas) -> None:
    """Its server is gone (ENOTCONN); no attempt is used up."""
    async with mirror(**on(nas.packages)) as here:
        publish(here, 0, 3)
        async with here.running(clock=FastClock(SPEED)):
            await whole(here, nas, 3)
            nas.die()
            publish(here, 3, 12)
            await paused(here, "Transport endpoint is not connected")
            nas.unmount()
            nas.mount()
            await whole(here, nas, 12)


async def test_an_empty_mount_point_is_not_filled(mirror: Open, nas: Nas) -> None:
    """Nothing is written below a NAS that is not mounted; the alarm says what to look at."""
    async with mirror(**on(nas.packages)) as here:
        publish(here, 0, 3)
        async with here.running(clock=FastClock(SPEED)):
            await whole(here, nas, 3)
            nas.unmount()
            publish(here, 3, 12)
            status = await paused(here, "Is the disk mounted?")
            assert f"{nas.packages} does not hold the tarballs" in status["fetch"]["paused"]
            async with here.control() as client:
                said = [report async for report in client.verify(everything())]
            assert "Is the disk mounted?" in said[-1]["error"]
            assert nas.shadowed == []
            nas.mount()
            await whole(here, nas, 12)


@pytest.mark.parametrize("how", ["unmounted", "gone", "hanging"])
async def test_it_may_be_away_at_the_start(
    mirror: Open, nas: Nas, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a power cut the NAS takes longer: the daemon follows the feed meanwhile."""
    async with mirror(**on(nas.packages)) as here:
        publish(here, 0, 3)
        async with here.running():
            await whole(here, nas, 3)
        {"unmounted": nas.unmount, "gone": nas.die, "hanging": nas.hang}[how]()
        publish(here, 3, 12)
        async with here.running(clock=FastClock(SPEED)):
            await paused(here, "disk_unavailable")
            status = await here.until(lambda status: status["buffer"]["depth"] == 9)
            assert status["daemon"]["state"] == "running"
            if how == "hanging":
                nas.go_on()
            else:
                if how == "gone":
                    nas.unmount()
                nas.mount()
            await whole(here, nas, 12)
    assert "tarballs_away" in capsys.readouterr().out


async def test_a_command_does_not_wait_for_it(mirror: Open, nas: Nas) -> None:
    """`sync` is refused with the sentence, and fetches nothing."""
    async with mirror(**on(nas.packages)) as here:
        publish(here, 0, 1)
        await here.sync("p0")
        nas.unmount()
        publish(here, 1, 2)
        with pytest.raises(TarballsAwayError, match=r"Is the disk mounted\?"):
            await here.sync("p1")
        assert nas.shadowed == []


async def test_one_that_takes_no_files_is_told_from_one_that_is_slow(
    mirror: Open, local_disk: LocalDisk
) -> None:
    """A disk that still answers what is read: every write to it hangs."""
    async with mirror(**on(local_disk.point / "packages")) as here:
        publish(here, 0, 3)
        async with here.running(clock=FastClock(SPEED)):
            await here.at_head()
            local_disk.freeze()
            publish(here, 3, 12)
            status = await paused(here, "takes no files")
            assert "error" not in status["disks"][-1]
            local_disk.thaw()
            status = await here.at_head()
            assert status["totals"]["tarballs"] == 12
            assert not status["dead_letters"]
            assert not list(here.config.storage.staging_path.iterdir())


async def test_a_stop_leaves_a_move_behind_that_hangs(mirror: Open, local_disk: LocalDisk) -> None:
    """The group is not recorded, and is done again by the next start."""
    sections = on(local_disk.point / "packages")
    sections["fetch"]["drain_seconds"] = 0.5
    async with mirror(**sections) as here:
        publish(here, 0, 3)
        with anyio.fail_after(45):
            async with here.running(clock=FastClock(SPEED)):
                await here.at_head()
                local_disk.freeze()
                publish(here, 3, 12)
                await paused(here, "takes no files")
        local_disk.thaw()
        async with here.running():
            assert (await here.at_head())["totals"]["tarballs"] == 12
        assert not list(here.config.storage.staging_path.iterdir())


@pytest.fixture
def verifying() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Commands under way, ended behind the test."""
    begun: list[subprocess.Popen[bytes]] = []
    yield begun
    for command in begun:
        command.kill()
        command.wait(20)


@pytest.mark.timeout(120)
def test_a_stop_does_not_wait_for_it(
    start: Start,
    upstream: RemoteUpstream,
    nas: Nas,
    verifying: list[subprocess.Popen[bytes]],
) -> None:
    """SIGTERM while it hangs, with a verification under way: all is done after the next start."""
    settings = {"STORAGE__PACKAGES_DIR": nas.packages, "FETCH__DRAIN_SECONDS": 1}
    daemon = start(**settings)
    upstream.do("publish", name="p0", version="1.0.0")
    daemon.wait_for_head()
    nas.hang()
    verifying.append(subprocess.Popen(daemon.command("verify"), stdout=subprocess.DEVNULL))
    for number in range(1, 6):
        upstream.do("publish", name=f"p{number}", version="1.0.0")
    daemon.wait_for_line(b"does not answer")
    assert daemon.stop_within(20) == 0, daemon.tail()
    nas.go_on()
    daemon.start()
    daemon.wait_for_head()
    assert daemon.stop() == 0
    assert nas.stored == [f"p{number}-1.0.0.tgz" for number in range(6)]


def everything() -> dict[str, Any]:
    """What `npmmirror verify` asks for."""
    return {"packages": None, "repair": False, "restart": False, "force": False}
