"""The control socket of a running daemon."""

import os
import signal
import socket
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.abc
import pytest

from npmmirror.control.client import ControlClient, DaemonGoneError, daemon_of
from npmmirror.errors import NpmmirrorError
from npmmirror.index import (
    Group,
    IndexReader,
    IndexStatus,
    IndexUnavailableError,
    IndexWriter,
)
from npmmirror.pipeline.look import Look, Looker
from npmmirror.testing import faults
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio


async def post(mirror: RunningMirror, route: str, body: bytes) -> int:
    """The status of a request that no client of ours would send."""
    connector = aiohttp.UnixConnector(str(mirror.socket))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(f"http://daemon{route}", data=body) as response,
    ):
        return response.status


async def test_the_service_and_its_group_alone_may_ask(mirror: Open) -> None:
    """The socket's permissions are those of the mirror's files."""
    async with mirror() as here, here.running():
        await here.at_head()
        assert stat.S_IMODE(here.socket.stat().st_mode) == 0o660


async def test_a_socket_left_by_a_kill_is_nobody(mirror: Open) -> None:
    """It is replaced by the next daemon; until then there is none."""
    async with mirror() as here:
        here.config.storage.data_dir.mkdir()
        with closing(socket.socket(socket.AF_UNIX)) as left:
            left.bind(str(here.socket))
        async with daemon_of(here.config.storage.data_dir) as daemon:
            assert daemon is None
        here.socket.unlink()
        async with here.running():
            await here.at_head()


async def test_a_data_directory_with_a_long_path(mirror: Open, tmp_path: Path) -> None:
    """The kernel takes 107 bytes: the socket lies elsewhere, and is found there."""
    data_dir = tmp_path / ("d" * 120)
    async with mirror(storage={"data_dir": str(data_dir)}) as here:
        async with here.running():
            async with daemon_of(data_dir) as daemon:
                assert daemon is not None
                assert (await daemon.status())["daemon"]["pid"] == os.getpid()
            assert not (data_dir / "control.sock").exists()
        assert not here.socket.exists()


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/sync", b"not json"),
        ("/sync", b'{"specs": ["git+https://code.example/x"], "options": {}}'),
        ("/sync", b"{}"),
        ("/retry", b'{"packages": 5}'),
        ("/nowhere", b"{}"),
    ],
)
async def test_a_bad_request_is_refused_and_the_daemon_goes_on(
    mirror: Open, route: str, body: bytes
) -> None:
    """Whatever is sent over the socket, it ends nothing."""
    async with mirror() as here, here.running():
        await here.at_head()
        assert await post(here, route, body) >= 400
        here.upstream.registry.publish("left-pad", "1.0.0")
        status = await here.until(lambda status: status["totals"]["tarballs"] == 1)
        assert status["daemon"]["state"] == "running"


async def test_nobody_answers(mirror: Open) -> None:
    """The client says so in a sentence."""
    async with mirror() as here, here.control() as daemon:
        with pytest.raises(DaemonGoneError, match="the daemon does not answer at"):
            await daemon.status()


async def test_a_daemon_that_dies_meanwhile(mirror: Open) -> None:
    """An answer that is cut off is no answer."""
    async with mirror() as here:
        here.config.storage.data_dir.mkdir()
        listener = await anyio.create_unix_listener(here.socket)

        async def hang_up(stream: anyio.abc.SocketStream) -> None:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            await stream.aclose()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, hang_up)
            async with ControlClient(here.socket) as daemon:
                with pytest.raises(DaemonGoneError):
                    await daemon.status()
            tasks.cancel_scope.cancel()
        await listener.aclose()


async def test_the_status_tells_what_is_in_work(mirror: Open) -> None:
    """Beside a request that hangs: names, counts, the oldest change, the lag."""
    async with mirror() as here:
        here.upstream.registry.publish("slow", "1.0.0")
        here.upstream.registry.publish("left-pad", "1.0.0")
        here.upstream.fault("packument", faults.Stall(), name="slow", times=1)
        async with here.running():
            status = await here.until(
                lambda status: status["totals"]["tarballs"] == 1 and status["fetch"]["in_work"] == 1
            )
            assert status["fetch"]["packages"] == ["slow"]
            assert status["buffer"]["depth"] == 2
            assert status["mirror"]["oldest_unfinished_at"] is not None
            assert not status["mirror"]["at_head"]
            here.upstream.release()
            status = await here.at_head()
            assert status["mirror"]["oldest_unfinished_at"] is None


async def test_what_is_about_to_be_committed_is_not_finished_yet(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status counts it as behind until the totals beside it have it."""
    committing, goes_on = anyio.Event(), anyio.Event()
    commit = IndexWriter.commit

    async def held(index: IndexWriter, group: Group) -> None:
        if group.documents:
            committing.set()
            await goes_on.wait()
        await commit(index, group)

    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        monkeypatch.setattr(IndexWriter, "commit", held)
        async with here.running():
            await committing.wait()
            status = await here.status()
            goes_on.set()
            await here.at_head()
    assert status["totals"]["packages"] == {}
    assert status["fetch"]["in_work"] == 1
    assert status["buffer"]["depth"] == 1
    assert status["mirror"]["lag"] != 0


async def test_a_status_asked_for_during_a_commit_is_of_one_moment(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What becomes finished while the index is read counts as in work: the totals lack it."""
    asked, goes_on = anyio.Event(), anyio.Event()
    read = IndexReader.status

    async def late(reader: IndexReader) -> IndexStatus:
        found = await read(reader)
        asked.set()
        await goes_on.wait()
        return found

    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        armed = here.upstream.fault("packument", faults.Stall(), times=1)
        async with here.running():
            await here.until(lambda status: status["fetch"]["in_work"] == 1)
            monkeypatch.setattr(IndexReader, "status", late)
            statuses: list[dict[str, Any]] = []

            async def ask() -> None:
                statuses.append(await here.status())

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await asked.wait()
                monkeypatch.setattr(IndexReader, "status", read)
                here.upstream.heal(armed)
                here.upstream.release()
                await here.at_head()
                goes_on.set()
    assert statuses[0]["totals"]["packages"] == {}
    assert statuses[0]["fetch"]["in_work"] == 1
    assert statuses[0]["buffer"]["depth"] == 1


async def test_a_retry_of_everything(mirror: Open) -> None:
    """Without names all rows are woken; with names theirs alone."""
    async with mirror(fetch={"max_attempts": 1}) as here:
        for name in ("a", "b", "c"):
            here.upstream.registry.publish(name, "1.0.0")
        armed = here.upstream.fault("tarball", faults.Status(404), times=None)
        async with here.running(), here.control() as daemon:
            await here.until(lambda status: sum(status["dead_letters"].values()) == 3)
            here.upstream.heal(armed)
            assert await daemon.retry(["a"]) == 1
            await here.until(lambda status: status["totals"]["tarballs"] == 1)
            assert await daemon.retry([]) == 2
            await here.until(lambda status: status["totals"]["tarballs"] == 3)


async def ask(daemon: ControlClient, command: str) -> None:
    """Have it done, to its end."""
    if command == "retry":
        await daemon.retry([])
    else:
        async for _ in daemon.sync(["a"], {}):
            pass


@pytest.mark.parametrize("command", ["retry", "sync"])
async def test_a_full_disk_is_told_to_who_asks_and_no_bug(
    mirror: Open,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Found by the soak: `retry` got an HTTP 500, and the log a traceback. The daemon goes on."""

    async def refuse(*_: Any, **__: Any) -> Any:
        raise IndexUnavailableError("The index cannot be used: database or disk is full.")

    async with mirror() as here:
        here.upstream.registry.publish("a", "1.0.0")
        async with here.running(), here.control() as daemon:
            await here.at_head()
            with monkeypatch.context() as full:
                full.setattr(IndexWriter, "retry", refuse)
                full.setattr(IndexReader, "work_of", refuse)
                with pytest.raises(NpmmirrorError, match=r"^The index .* is full[.]$"):
                    await ask(daemon, command)
            here.upstream.registry.publish("b", "1.0.0")
            status = await here.at_head()
    assert status["totals"]["packages"] == {"live": 2}
    assert "Traceback" not in caplog.text


async def test_a_signal_ends_the_daemon_and_its_socket(mirror: Open) -> None:
    """SIGTERM is all that systemd sends."""
    async with mirror() as here:
        async with here.running() as stop:
            await here.at_head()
            os.kill(os.getpid(), signal.SIGTERM)
            await stop.wait()
        assert not here.socket.exists()


async def test_a_name_that_is_no_text_does_not_spoil_the_status(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lone surrogate, while its package is in work: it is told as the index spells it."""
    looked, whole = anyio.Event(), Looker.look

    async def wait(self: Looker, *job: Any) -> Look:
        await looked.wait()
        return await whole(self, *job)

    monkeypatch.setattr(Looker, "look", wait)
    async with mirror() as here:
        here.upstream.registry.put_document("odd\ud800", b"{}")
        async with here.running():
            status = await here.until(lambda status: bool(status["fetch"]["packages"]))
            assert status["fetch"]["packages"] == ["odd\\ud800"]
            looked.set()
