import errno
import os
from pathlib import Path

import pytest

from npmmirror.archive import DiskFaultError, disk, publishing
from npmmirror.archive.publishing import publish


@pytest.fixture
def rooms(tmp_path: Path) -> tuple[Path, Path]:
    """Staging and packages."""
    staging, packages = tmp_path / "staging", tmp_path / "packages"
    staging.mkdir()
    packages.mkdir()
    return staging, packages


def _staged(staging: Path, packages: Path, count: int) -> list[tuple[Path, Path]]:
    moves = []
    for number in range(count):
        path = staging / f"npmmirror-{number}.tgz"
        path.write_bytes(b"tarball %d" % number)
        moves.append((path, packages / f"{number % 2:02}" / f"p{number}" / f"p{number}-1.tgz"))
    return moves


def _published(moves: list[tuple[Path, Path]]) -> None:
    for number, (staged, final) in enumerate(moves):
        assert final.read_bytes() == b"tarball %d" % number
        assert not staged.exists()


class _Calls:
    """The system calls that matter, in their order, by the names of what they touch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        for name in ("fsync", "fdatasync"):
            self._watch(monkeypatch, name)
        rename, syncfs = Path.rename, disk.sync_filesystem

        def renamed(path: Path, target: Path) -> Path:
            self.made.append(f"rename {path.name} {target.name}")
            return rename(path, target)

        def synced(path: Path) -> bool:
            self.made.append(f"syncfs {path.name}")
            return syncfs(path)

        monkeypatch.setattr(Path, "rename", renamed)
        monkeypatch.setattr(publishing, "sync_filesystem", synced)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        real = getattr(os, name)

        def called(fd: int) -> None:
            self.made.append(f"{name} {Path(f'/proc/self/fd/{fd}').readlink().name}")
            real(fd)

        monkeypatch.setattr(os, name, called)


@pytest.mark.parametrize("count", [1, 3, 8, 30])
def test_files_get_their_final_names(rooms: tuple[Path, Path], count: int) -> None:
    """Small groups and large ones: everything is moved, nothing is left in staging."""
    moves = _staged(*rooms, count)
    publish(moves, staging=rooms[0], packages=rooms[1])
    _published(moves)


def test_a_few_files_are_synced_one_by_one(
    rooms: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data before the rename, then every directory from the file's own up to packages."""
    moves = _staged(*rooms, 1)
    calls = _Calls(monkeypatch)
    publish(moves, staging=rooms[0], packages=rooms[1])
    assert calls.made == [
        "fdatasync npmmirror-0.tgz",
        "rename npmmirror-0.tgz p0-1.tgz",
        "fsync p0",
        "fsync 00",
        "fsync packages",
    ]


def test_many_files_are_synced_together(
    rooms: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sync of the file system before the renames and one behind them."""
    moves = _staged(*rooms, 8)
    calls = _Calls(monkeypatch)
    publish(moves, staging=rooms[0], packages=rooms[1])
    assert calls.made[0] == "syncfs staging"
    assert calls.made[-1] == "syncfs packages"
    assert [call.split()[0] for call in calls.made[1:-1]] == ["rename"] * 8


def test_without_syncfs_many_files_are_synced_one_by_one(
    rooms: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A libc that lacks it costs time, not safety."""
    moves = _staged(*rooms, 8)
    calls = _Calls(monkeypatch)
    monkeypatch.setattr(publishing, "sync_filesystem", lambda _: False)
    publish(moves, staging=rooms[0], packages=rooms[1])
    kinds = [call.split()[0] for call in calls.made]
    assert kinds == ["fdatasync"] * 8 + ["rename"] * 8 + ["fsync"] * 11
    _published(moves)


@pytest.mark.parametrize("failing", range(1, 7))
def test_a_group_that_failed_half_way_is_repeated(
    rooms: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Whichever step the disk refuses, the same call ends the work later."""
    moves = _staged(*rooms, 3)
    turns = 0
    rename, fsync = Path.rename, os.fsync

    def step() -> None:
        nonlocal turns
        turns += 1
        if turns == failing:
            raise OSError(errno.EIO, "broken")

    def renamed(path: Path, target: Path) -> Path:
        step()
        return rename(path, target)

    def synced(fd: int) -> None:
        step()
        fsync(fd)

    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(os, "fsync", synced)
    with pytest.raises(DiskFaultError, match="broken"):
        publish(moves, staging=rooms[0], packages=rooms[1])
    before = turns
    publish(moves, staging=rooms[0], packages=rooms[1])
    _published(moves)
    assert turns - before >= 6  # every directory is synced, those of the first try too


@pytest.mark.parametrize("carried", [False, True], ids=["renamed", "copied"])
@pytest.mark.parametrize("going", range(1, 6))
def test_a_disk_that_goes_away_in_the_midst_is_a_fault_of_the_disk(
    rooms: tuple[Path, Path], small_disk: Path, going: int, *, carried: bool
) -> None:
    """Wherever its files vanish: the same call ends the work when they are there again."""
    staging, packages = rooms[0], (small_disk if carried else rooms[1]) / "packages"
    packages.mkdir(exist_ok=True)
    away = packages.with_name("away")
    moves, steps = _staged(staging, packages, 3), 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == going:
            packages.rename(away)

    with pytest.raises(DiskFaultError, match="went away"):
        publish(moves, staging=staging, packages=packages, step=step)
    assert steps >= going
    away.rename(packages)
    publish(moves, staging=staging, packages=packages)
    _published(moves)


def test_a_file_that_is_nowhere_is_told(rooms: tuple[Path, Path]) -> None:
    """Neither staged nor final: nothing may be recorded as held."""
    with pytest.raises(FileNotFoundError):
        publish(
            [(rooms[0] / "npmmirror-1.tgz", rooms[1] / "a.tgz")],
            staging=rooms[0],
            packages=rooms[1],
        )


def test_a_new_file_replaces_an_old_one(rooms: tuple[Path, Path]) -> None:
    """A file that was repaired takes the place of the broken one."""
    moves = _staged(*rooms, 1)
    moves[0][1].parent.mkdir(parents=True)
    moves[0][1].write_bytes(b"broken")
    publish(moves, staging=rooms[0], packages=rooms[1])
    _published(moves)


@pytest.mark.parametrize("count", [2, 9])
def test_packages_on_another_file_system_are_carried_there(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Copied to a temp name there, synced, renamed; then the directories; then staging is freed."""
    staging = tmp_path / "staging"
    staging.mkdir()
    moves = _staged(staging, small_disk, count)
    calls = _Calls(monkeypatch)
    publish(moves, staging=staging, packages=small_disk)
    _published(moves)
    assert calls.made[:2] == ["fdatasync npmmirror-0.tgz", "rename npmmirror-0.tgz p0-1.tgz"]
    assert calls.made[-1] == "fsync disk"
    assert not list((small_disk / ".incoming").iterdir())


def test_a_full_file_system_behind_staging_is_a_fault_of_the_disk(
    small_disk: Path, tmp_path: Path
) -> None:
    """What does not fit stays in staging, and no final name is there."""
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / "npmmirror-0.tgz").write_bytes(os.urandom(3_000_000))
    moves = [(staging / "npmmirror-0.tgz", small_disk / "aa" / "a-1.tgz")]
    with pytest.raises(DiskFaultError, match="No space left"):
        publish(moves, staging=staging, packages=small_disk)
    assert moves[0][0].exists()
    assert not moves[0][1].exists()
    assert not list((small_disk / ".incoming").iterdir())
