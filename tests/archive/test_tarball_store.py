import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from npmmirror.archive import DiskFaultError, TarballStore, TarballTooLargeError
from npmmirror.archive.receiving import Sink
from npmmirror.worker_threads import WorkerThreads

pytestmark = pytest.mark.anyio


class _Sha512:
    """A hasher that counts its calls, and can be held up."""

    def __init__(self) -> None:
        self._hash = hashlib.sha512()
        self.calls = 0
        self.threads: set[int] = set()
        self.begun = asyncio.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self._loop = asyncio.get_running_loop()

    def update(self, chunk: bytes, /) -> None:
        self.calls += 1
        self.threads.add(threading.get_ident())
        self._loop.call_soon_threadsafe(self.begun.set)
        self.go_on.wait(30)
        self._hash.update(chunk)

    @property
    def hex(self) -> str:
        return self._hash.hexdigest()


@pytest.fixture
def threads() -> Iterator[WorkerThreads]:
    with WorkerThreads(2, "archive") as threads:
        yield threads


@pytest.fixture
def store(tmp_path: Path, threads: WorkerThreads) -> TarballStore:
    store = TarballStore(staging=tmp_path / "st", packages=tmp_path / "pk", threads=threads)
    store.prepare_staging()
    store.attach()
    return store


async def _chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _staging(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "st").iterdir())


async def test_a_body_is_written_and_hashed(store: TarballStore) -> None:
    """File, size and digest are those of the bytes that came."""
    hasher = _Sha512()
    staged = await store.receive("1", _chunks(b"ab", b"", b"cd"), hasher, max_bytes=100)
    assert staged.path.read_bytes() == b"abcd"
    assert staged.size == 4
    assert hasher.hex == hashlib.sha512(b"abcd").hexdigest()


async def test_an_empty_body_is_an_empty_file(store: TarballStore) -> None:
    """Zero-length tarballs exist on npm."""
    staged = await store.receive("1", _chunks(), _Sha512(), max_bytes=100)
    assert staged.path.read_bytes() == b""
    assert staged.size == 0


async def test_a_small_file_costs_one_thread_call(
    store: TarballStore, threads: WorkerThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many chunks it comes in, it is hashed and written by one call."""
    calls: list[object] = []
    run = threads.run

    async def counted(call: object, *args: object) -> object:
        calls.append(call)
        return await run(call, *args)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(threads, "run", counted)
    hasher = _Sha512()
    await store.receive("1", _chunks(*[b"x" * 16_384] * 10), hasher, max_bytes=1 << 20)
    assert len(calls) == 1
    assert hasher.calls == 1
    assert threading.get_ident() not in hasher.threads


async def test_a_large_file_is_written_in_pieces(store: TarballStore) -> None:
    """No more than about a MiB is gathered before it goes to the disk."""
    hasher = _Sha512()
    body = [os.urandom(65_536) for _ in range(40)]
    staged = await store.receive("1", _chunks(*body), hasher, max_bytes=1 << 30)
    assert staged.path.read_bytes() == b"".join(body)
    assert hasher.calls == 3


async def test_a_body_over_the_limit_is_given_up_at_once(
    store: TarballStore, tmp_path: Path
) -> None:
    """It is a typed error, the temp file is gone, and the rest is not asked for."""
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 1_000_000

    with pytest.raises(TarballTooLargeError):
        await store.receive("1", endless(), _Sha512(), max_bytes=5_000_000)
    assert taken == 6
    assert _staging(tmp_path) == []


async def test_a_body_that_breaks_off_leaves_nothing(store: TarballStore, tmp_path: Path) -> None:
    """The upstream's error passes through, and the temp file is removed."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.receive("1", broken(), _Sha512(), max_bytes=1 << 30)
    assert _staging(tmp_path) == []


async def test_a_cancellation_while_a_thread_writes_leaves_nothing(
    store: TarballStore, tmp_path: Path
) -> None:
    """The file is removed after the thread is done with it, never before."""
    hasher = _Sha512()
    hasher.go_on.clear()
    receiving = asyncio.ensure_future(
        store.receive("1", _chunks(b"x" * 2_000_000), hasher, max_bytes=1 << 30)
    )
    await hasher.begun.wait()
    receiving.cancel()
    hasher.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert _staging(tmp_path) == []


async def test_a_write_that_comes_after_the_end_does_nothing(tmp_path: Path) -> None:
    """Of two threads the one that discards may be first: the other must not leave a file."""
    sink = Sink(tmp_path / "npmmirror-1.tgz", _Sha512())
    sink.discard()
    sink.write([b"late"])
    sink.finish([b"later"])
    assert not sink.path.exists()


async def test_a_cancellation_while_waiting_for_the_body_leaves_nothing(
    store: TarballStore, tmp_path: Path
) -> None:
    """A slow upstream is let go of without a trace."""
    waiting = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        waiting.set()
        await asyncio.Event().wait()

    receiving = asyncio.ensure_future(store.receive("1", slow(), _Sha512(), max_bytes=1 << 30))
    await waiting.wait()
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert _staging(tmp_path) == []


async def test_a_full_disk_is_a_fault_of_the_disk(
    small_disk: Path, tmp_path: Path, threads: WorkerThreads
) -> None:
    """ENOSPC is told apart from all that upstream can do wrong, and frees what it took."""
    store = TarballStore(staging=small_disk / "st", packages=tmp_path / "pk", threads=threads)
    store.prepare_staging()
    store.attach()
    body = [os.urandom(65_536) for _ in range(40)]
    with pytest.raises(DiskFaultError, match="No space left"):
        await store.receive("1", _chunks(*body), _Sha512(), max_bytes=1 << 30)
    assert not list((small_disk / "st").iterdir())
    staged = await store.receive("2", _chunks(b"small"), _Sha512(), max_bytes=1 << 30)
    assert staged.path.read_bytes() == b"small"


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS, errno.EMFILE])
async def test_what_the_system_refuses_is_a_fault_of_the_disk(
    store: TarballStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Each refusal that is not about this file is a DiskFaultError with its words."""

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pwritev", refuse)
    with pytest.raises(DiskFaultError, match=os.strerror(code)):
        await store.receive("1", _chunks(b"x"), _Sha512(), max_bytes=100)


async def test_a_file_can_be_given_up_after_it_was_received(
    store: TarballStore, tmp_path: Path
) -> None:
    """Wrong bytes do not stay in staging."""
    staged = await store.receive("1", _chunks(b"wrong"), _Sha512(), max_bytes=100)
    await store.discard(staged)
    await store.discard(staged)
    assert _staging(tmp_path) == []


async def test_at_start_only_our_own_temp_files_are_removed(
    store: TarballStore, tmp_path: Path, threads: WorkerThreads
) -> None:
    """Whatever else somebody keeps in the directory is left alone."""
    await store.receive("7", _chunks(b"left by a kill"), _Sha512(), max_bytes=100)
    store.temp_path("8", ".json").write_bytes(b"{}")
    (tmp_path / "st" / "mine.tgz").write_bytes(b"precious")
    incoming = tmp_path / "pk" / ".incoming"
    incoming.mkdir()
    (incoming / "npmmirror-9.tgz").write_bytes(b"half a copy")
    again = TarballStore(staging=tmp_path / "st", packages=tmp_path / "pk", threads=threads)
    assert again.prepare_staging() == 2
    assert again.attach() == 1
    assert _staging(tmp_path) == ["mine.tgz"]
    assert not list(incoming.iterdir())


@pytest.mark.parametrize("token", ["", "../x", "a/b", "a\0b", "x" * 200])
async def test_a_token_that_is_no_file_name_is_refused(store: TarballStore, token: str) -> None:
    """Names in staging are ours alone."""
    with pytest.raises(ValueError, match="token"):
        store.temp_path(token, ".json")


@pytest.mark.parametrize("path", ["", "/etc/x.tgz", "../x.tgz", "a/../../x.tgz", "a\0b"])
async def test_a_path_that_leads_out_is_refused(store: TarballStore, path: str) -> None:
    """No final path leaves `packages_dir`, whoever made it."""
    staged = await store.receive("1", _chunks(b"x"), _Sha512(), max_bytes=100)
    with pytest.raises(ValueError, match="path"):
        store.publish([(staged.path, path)])


async def test_a_stored_file_is_hashed(store: TarballStore) -> None:
    """Its size and digest, by one call."""
    staged = await store.receive("1", _chunks(b"x" * 3_000_000), _Sha512(), max_bytes=1 << 30)
    store.publish([(staged.path, "aa/a/a-1.0.0.tgz")])
    hasher = _Sha512()
    assert await store.hash_file("aa/a/a-1.0.0.tgz", hasher) == 3_000_000
    assert hasher.hex == hashlib.sha512(b"x" * 3_000_000).hexdigest()


async def test_a_file_that_is_not_there_has_no_size(store: TarballStore) -> None:
    """Missing, or hidden behind a file in place of a directory: None."""
    staged = await store.receive("1", _chunks(b"x"), _Sha512(), max_bytes=100)
    store.publish([(staged.path, "aa/a")])
    assert await store.hash_file("bb/b-1.tgz", _Sha512()) is None
    assert await store.hash_file("aa/a/a-1.tgz", _Sha512()) is None


async def test_all_stored_files_are_walked_through_in_order(store: TarballStore) -> None:
    """Relative paths, sorted in each directory; temp copies are none of them."""
    names = ["bb/b/b-1.tgz", "aa/a/a-2.tgz", "aa/a/a-1.tgz"]
    for turn, name in enumerate(names):
        staged = await store.receive(f"{turn}", _chunks(b"x"), _Sha512(), max_bytes=100)
        store.publish([(staged.path, name)])
    incoming = store.temp_path("1", ".tgz").parents[1] / "pk" / ".incoming"
    incoming.mkdir()
    (incoming / "npmmirror-9.tgz").write_bytes(b"half a copy")
    assert list(store.walk()) == sorted(names)


async def test_files_are_removed_with_the_directories_they_leave_empty(
    store: TarballStore, tmp_path: Path
) -> None:
    """Others stay, one that is not there is no fault, and packages_dir stays in any case."""
    for path in ("aa/a/a-1.tgz", "aa/a/a-2.tgz", "aa/b/b-1.tgz"):
        (tmp_path / "pk" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pk" / path).write_bytes(b"x")
    assert store.remove(["aa/a/a-1.tgz", "aa/a/a-2.tgz", "aa/a/a-3.tgz"]) == 2
    assert [*store.walk()] == ["aa/b/b-1.tgz"]
    assert not (tmp_path / "pk/aa/a").exists()
    assert store.remove(["aa/b/b-1.tgz"]) == 1
    assert [path.name for path in (tmp_path / "pk").iterdir()] == [".npmmirror"]
