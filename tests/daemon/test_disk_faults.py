"""A disk that is full or broken stops fetching and nothing else; nothing is lost."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror.archive import log as capture_log, receiving, tarballs
from npmmirror.buffer.base import BufferUnavailableError
from npmmirror.buffer.sqlite import SqliteBuffer
from npmmirror.index import FeedNotes, IndexReader, IndexUnavailableError, IndexWriter
from tests.daemon.conftest import FastClock, HastyClock, Open, RunningMirror

pytestmark = [pytest.mark.anyio, pytest.mark.long]

ROUNDS = 3


async def mirrored(mirror: RunningMirror, packages: int = 12, more: int = 0) -> None:
    """Everything is there, and nothing is left over; so many packages have a second version."""
    status = await mirror.at_head()
    assert status["totals"]["packages"] == {"live": packages}
    assert status["totals"]["tarballs"] == packages + more
    assert status["fetch"]["paused"] is None
    assert not status["dead_letters"]
    for path, digest in mirror.end_state().files.items():
        assert len(digest) == 128, path
    assert not list(mirror.config.storage.staging_path.iterdir())


def publish(mirror: RunningMirror, packages: int = 12) -> None:
    """One version of so many packages."""
    for number in range(packages):
        mirror.upstream.registry.publish(f"p{number}", "1.0.0")


def failing(whole: Callable[..., Any], error: Exception, times: list[int]) -> Callable[..., Any]:
    """The function, which refuses its first calls."""

    def call(*args: Any, **words: Any) -> Any:
        times.append(1)
        if len(times) <= ROUNDS:
            raise error
        return whole(*args, **words)

    return call


def failing_async(
    whole: Callable[..., Any], error: Exception, times: list[int]
) -> Callable[..., Any]:
    """The coroutine function, which refuses its first calls."""

    async def call(*args: Any, **words: Any) -> Any:
        times.append(1)
        if len(times) <= ROUNDS:
            raise error
        return await whole(*args, **words)

    return call


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
BROKEN = OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("error", [FULL, BROKEN], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (receiving, "write_at"),
        (capture_log, "write_at"),
        (os, "fdatasync"),
        (Path, "rename"),
    ],
    ids=["tarball", "log", "log-sync", "rename"],
)
async def test_a_refused_write_is_made_again(
    mirror: Open, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, error: OSError
) -> None:
    """Fetching pauses, the same group is written again, the end is as if nothing had been."""
    async with mirror() as here:
        publish(here, 3)
        async with here.running(clock=FastClock(50)):
            await mirrored(here, 3)
            times: list[int] = []
            monkeypatch.setattr(place, name, failing(getattr(place, name), error, times))
            publish_more(here)
            await mirrored(here)
        assert times


def publish_more(mirror: RunningMirror) -> None:
    """Packages beyond the first three."""
    for number in range(3, 12):
        mirror.upstream.registry.publish(f"p{number}", "1.0.0")


@pytest.mark.parametrize(
    ("kind", "name", "error"),
    [
        (IndexWriter, "commit", IndexUnavailableError("full")),
        (IndexWriter, "receive_page", IndexUnavailableError("full")),
        (IndexReader, "known", IndexUnavailableError("busy")),
        (IndexReader, "finished", IndexUnavailableError("busy")),
        (IndexReader, "due", IndexUnavailableError("busy")),
        (SqliteBuffer, "append", BufferUnavailableError("full")),
        (SqliteBuffer, "read", BufferUnavailableError("busy")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_database_that_refuses_is_asked_again(
    mirror: Open, monkeypatch: pytest.MonkeyPatch, kind: Any, name: str, error: Exception
) -> None:
    """Index and buffer: no attempt is used up, no change lost, the daemon stays."""
    async with mirror(fetch={"max_attempts": 1}) as here:
        publish(here, 3)
        async with here.running(clock=FastClock(50)):
            await mirrored(here, 3)
            times: list[int] = []
            monkeypatch.setattr(kind, name, failing_async(getattr(kind, name), error, times))
            here.upstream.registry.publish("p0", "1.1.0")
            publish_more(here)
            await here.until(lambda status: status["totals"]["tarballs"] == 13)
            await mirrored(here, more=1)
        assert times


@pytest.mark.parametrize(
    ("kind", "name"),
    [(FeedNotes, "cursors"), (IndexWriter, "last_following"), (IndexWriter, "receipts")],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_index_that_refuses_where_following_begins_is_asked_again(
    mirror: Open, monkeypatch: pytest.MonkeyPatch, kind: Any, name: str
) -> None:
    """At the start, or anew behind a head that fell: the daemon stays."""
    async with mirror() as here:
        publish(here, 3)
        times: list[int] = []
        refused = IndexUnavailableError("busy")
        monkeypatch.setattr(kind, name, failing_async(getattr(kind, name), refused, times))
        async with here.running(clock=FastClock(50)):
            await mirrored(here, 3)
        assert len(times) > ROUNDS


async def test_a_pause_of_the_disk_ends_where_documents_alone_are_fetched(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tarball comes that would prove the disk: a file in staging does, once it is taken."""
    async with mirror(policy={"tarballs": "none"}) as here:
        publish(here, 3)
        async with here.running(clock=FastClock(50)):
            await here.at_head()
            known: list[int] = []
            refused = IndexUnavailableError("busy")
            monkeypatch.setattr(
                IndexReader, "known", failing_async(IndexReader.known, refused, known)
            )
            tried: list[int] = []
            place: Any = tarballs
            monkeypatch.setattr(place, "write_at", failing(place.write_at, FULL, tried))
            for number in range(3):
                here.upstream.registry.publish(f"p{number}", "1.1.0")
            await here.until(lambda status: status["totals"]["versions"] == 6)
            status = await here.until(lambda status: not status["fetch"]["paused"])
        assert not status["dead_letters"]
        assert len(known) > ROUNDS
        assert len(tried) > ROUNDS
        assert not list(here.config.storage.staging_path.iterdir())


async def test_a_group_that_cannot_be_recorded_holds_fetching(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says why, also to `status`; a stop leaves it to the next start."""
    async with mirror(fetch={"drain_seconds": 0.0}) as here:
        publish(here, 3)
        async with here.running():
            await mirrored(here, 3)
        monkeypatch.setattr("npmmirror.daemon.mirror.COMMIT_SECONDS", 0.1)

        async def refuse(*_: Any) -> None:
            raise IndexUnavailableError("The index is full.")

        with monkeypatch.context() as patched:
            patched.setattr(IndexWriter, "commit", refuse)
            async with here.running(clock=HastyClock()):
                publish_more(here)
                status = await here.until(lambda status: status["fetch"]["paused"] is not None)
                assert status["fetch"]["paused"] == "disk: The index is full."
        async with here.running():
            await mirrored(here)


async def test_too_little_room_holds_fetching_until_there_is_some(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`storage.min_free_bytes`: seen before the disk is full, and gone by itself."""
    found = os.statvfs("/")
    least = 1 << 30

    def told(free: int) -> Callable[[Any], Any]:
        fields = [*found]
        fields[1], fields[4] = 1, free  # f_frsize and f_bavail
        return lambda _: os.statvfs_result(fields)

    async with mirror(storage={"min_free_bytes": least}) as here:
        monkeypatch.setattr(os, "statvfs", told(least - 1))
        async with here.running(clock=FastClock(200)):
            await here.until(lambda status: status["fetch"]["paused"] is not None)
            publish(here)
            status = await here.until(lambda status: status["buffer"]["depth"] == 12)
            assert status["fetch"]["paused"].startswith("disk_low: ")
            assert here.upstream.count("packument") == 0
            monkeypatch.setattr(os, "statvfs", told(least))
            await mirrored(here)


async def test_the_buffer_is_trimmed_below_the_checkpoint(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every so often, and never above; a trim that fails is tried again at the next time."""
    trimmed: list[int] = []
    trim = SqliteBuffer.trim

    async def counted(self: SqliteBuffer, position: Any) -> None:
        trimmed.append(int(position.value))
        if len(trimmed) == 1:
            raise BufferUnavailableError("full")
        await trim(self, position)

    monkeypatch.setattr(SqliteBuffer, "trim", counted)
    async with mirror() as here:
        publish(here)
        async with here.running(clock=FastClock(500)):
            await mirrored(here)
            with anyio.fail_after(20):
                while len(trimmed) < 3:  # noqa: ASYNC110 - another task's doing
                    await anyio.sleep(0.01)
            assert (await here.at_head())["daemon"]["state"] == "running"
        assert max(trimmed) <= 12
