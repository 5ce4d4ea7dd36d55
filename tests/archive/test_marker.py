"""The directory of the tarballs is told from an empty mount point."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from npmmirror.archive import DiskFaultError, Marker, TarballsAwayError, TarballStore
from npmmirror.worker_threads import WorkerThreads


class _Hasher:
    def update(self, chunk: bytes, /) -> None:
        del chunk


def test_a_first_use_makes_and_marks_the_directory(tmp_path: Path) -> None:
    """Nothing is held that could be missing; from then on the marker is looked for."""
    marker = Marker(tmp_path / "nas" / "packages")
    marker.claim([])
    marker.look()


def test_an_empty_mount_point_is_not_marked(tmp_path: Path) -> None:
    """The sentence says which directory, and what to do."""
    marker = Marker(tmp_path)
    with pytest.raises(TarballsAwayError, match=r"Is the disk mounted\?") as told:
        marker.claim(["aa/a/a-1.0.0.tgz"])
    assert str(told.value).startswith(f"{tmp_path} does not hold the tarballs")
    assert f"touch {tmp_path}/.npmmirror" in str(told.value)
    assert not list(tmp_path.iterdir())


def test_a_mount_point_that_is_gone_is_not_made(tmp_path: Path) -> None:
    """Neither is a directory below one that is not mounted."""
    with pytest.raises(TarballsAwayError):
        Marker(tmp_path / "packages").claim(["aa/a/a-1.0.0.tgz"])
    assert not list(tmp_path.iterdir())


def test_one_tarball_that_is_there_is_enough(tmp_path: Path) -> None:
    """A mirror of before there were markers, or a copy without it."""
    (tmp_path / "b.tgz").write_bytes(b"b")
    marker = Marker(tmp_path)
    marker.claim(["a.tgz", "b.tgz"])
    marker.look()


def test_a_person_may_say_that_it_is_the_right_one(tmp_path: Path) -> None:
    """All tarballs are really lost: `touch` is enough to begin anew."""
    (tmp_path / ".npmmirror").touch()
    Marker(tmp_path).claim(["a.tgz"])


def test_a_disk_that_refuses_is_no_missing_marker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NAS that is away says so, and is not called unmounted."""

    def gone(*_: Any) -> None:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    monkeypatch.setattr(os, "stat", gone)
    with pytest.raises(DiskFaultError, match="not connected") as told:
        Marker(tmp_path).look()
    assert not isinstance(told.value, TarballsAwayError)


@pytest.mark.anyio
async def test_a_file_is_missing_only_where_the_marker_is_there(tmp_path: Path) -> None:
    """Whoever looks for a file on a disk that is away is told that, not that there is none."""
    packages = tmp_path / "pk"
    with WorkerThreads(1, "test") as threads:
        store = TarballStore(staging=tmp_path / "st", packages=packages, threads=threads)
        store.attach()
        assert await store.hash_file("a.tgz", _Hasher()) is None
        assert list(store.walk()) == []
        (packages / ".npmmirror").unlink()
        with pytest.raises(TarballsAwayError):
            await store.hash_file("a.tgz", _Hasher())
        with pytest.raises(TarballsAwayError):
            list(store.walk())


@pytest.mark.anyio
async def test_at_home_a_missing_file_takes_no_thread_and_an_absent_disk_is_still_told(
    tmp_path: Path,
) -> None:
    """All threads hang, and yet it is known that nothing is there; a file that is there waits."""
    packages, hung = tmp_path / "pk", threading.Event()
    with WorkerThreads(1, "test") as threads:
        store = TarballStore(
            staging=tmp_path / "st", packages=packages, threads=threads, home=tmp_path
        )
        store.attach()
        (packages / "b.tgz").write_bytes(b"b")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(threads.run, hung.wait)
            await anyio.lowlevel.checkpoint()
            assert await store.hash_file("a.tgz", _Hasher()) is None
            with anyio.move_on_after(0.05) as waited:
                await store.hash_file("b.tgz", _Hasher())
            assert waited.cancelled_caught
            hung.set()
        assert await store.hash_file("b.tgz", _Hasher()) == 1
        (packages / ".npmmirror").unlink()
        with pytest.raises(TarballsAwayError):
            await store.hash_file("a.tgz", _Hasher())


@pytest.mark.anyio
@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_nothing_is_moved_to_a_mount_point(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Unmounted before the move or in its midst: the file stays in staging for the next try."""
    store, staged = _staged(small_disk, tmp_path)
    with monkeypatch.context() as patched:
        if when == "before":
            (small_disk / ".npmmirror").rename(small_disk / "away")
        else:
            rename = Path.rename

            def renamed(path: Path, target: Path) -> Path:
                rename(small_disk / ".npmmirror", small_disk / "away")
                return rename(path, target)

            patched.setattr(Path, "rename", renamed)
        with pytest.raises(TarballsAwayError):
            store.publish([(staged, "aa/a.tgz")])
    assert staged.exists()
    assert (small_disk / "aa" / "a.tgz").exists() == (when == "meanwhile")
    (small_disk / "away").rename(small_disk / ".npmmirror")
    store.publish([(staged, "aa/a.tgz")])
    assert not staged.exists()
    assert (small_disk / "aa" / "a.tgz").read_bytes() == b"tarball"


def _staged(packages: Path, tmp_path: Path) -> tuple[TarballStore, Path]:
    threads = WorkerThreads(1, "test")
    store = TarballStore(staging=tmp_path / "st", packages=packages, threads=threads)
    threads.close()
    store.prepare_staging()
    store.attach()
    staged = tmp_path / "st" / "npmmirror-1.tgz"
    staged.write_bytes(b"tarball")
    return store, staged


def test_a_disk_that_was_away_at_the_start_is_attached_by_a_look(tmp_path: Path) -> None:
    """And what a kill left there is swept then, not before."""
    packages = tmp_path / "pk"
    threads = WorkerThreads(1, "test")
    store = TarballStore(staging=tmp_path / "st", packages=packages, threads=threads)
    threads.close()
    with pytest.raises(TarballsAwayError):
        store.attach(["a.tgz"])
    with pytest.raises(TarballsAwayError):
        store.look()
    (packages / ".incoming").mkdir(parents=True)
    (packages / ".incoming" / "npmmirror-1.tgz").write_bytes(b"half")
    (packages / "a.tgz").write_bytes(b"a")
    store.look()
    assert not list((packages / ".incoming").iterdir())
    assert (packages / ".npmmirror").exists()
