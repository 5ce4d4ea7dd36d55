"""Tarballs that go from the disk to clients within the kernel."""

import asyncio
import errno
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web_protocol
from aiohttp.helpers import ceil_timeout
from anyio.lowlevel import checkpoint

from npmmirror.server import listener, tarballs
from tests.server.conftest import Serve, Served

pytestmark = pytest.mark.anyio

PATH = "/large/-/large-1.0.0.tgz"
BODY = os.urandom(12 << 20)
"""12 MiB: more than the kernel holds for a client that takes nothing."""


@asynccontextmanager
async def large(served: Serve, **keys: Any) -> AsyncIterator[tuple[Served, Path]]:
    """A server that holds one large tarball, and its file."""
    async with served(**keys) as here:
        here.registry.publish("large", "1.0.0", archive=BODY)
        await here.sync("large")
        [file] = here.mirror.config.storage.packages_path.rglob("*.tgz")
        yield here, file


def address(here: Served) -> tuple[str, int]:
    """Where the server listens."""
    host, port = here.url.removeprefix("http://").rsplit(":", 1)
    return host, int(port)


async def asking(here: Served) -> socket.socket:
    """A client that has asked, and whose kernel takes next to nothing for it."""
    return await anyio.to_thread.run_sync(_asking, here)


def _asking(here: Served) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(30)
    client.connect(address(here))
    client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % PATH.encode())
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


def rest(client: socket.socket) -> bytes:
    """What comes until the connection ends; it ends without more where it is reset."""
    found = bytearray()
    try:
        while not found.endswith(BODY[-100:]) and (piece := client.recv(1 << 20)):
            found += piece
    except ConnectionError:
        pass
    return bytes(found)


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def is_open(file: Path) -> bool:
    """Whether this process has a file open."""
    found = []
    for number in list(Path("/proc/self/fd").iterdir()):
        with suppress(FileNotFoundError):  # that of the list itself
            found.append(number.readlink())
    return file in found


async def until_full(client: socket.socket) -> None:
    """Wait until no more comes: the server's kernel holds what it may for the client."""
    await anyio.to_thread.run_sync(_full, client)


def _full(client: socket.socket) -> None:
    before, deadline = -1, time.monotonic() + 30
    while time.monotonic() < deadline:
        now = len(client.recv(1 << 20, socket.MSG_PEEK))
        if now == before:
            return
        before = now
        time.sleep(0.1)
    raise TimeoutError("it goes on coming")


async def test_a_tarball_does_not_pass_through_the_process(
    served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte of it is sent by sendfile(2), whole or in part, and is the file's."""
    sent: list[int] = []
    real = os.sendfile

    def counted(*args: Any) -> int:
        sent.append(real(*args))
        return sent[-1]

    monkeypatch.setattr(os, "sendfile", counted)
    async with large(served) as (here, _):
        assert (await here.ask(PATH)).body == BODY
        assert sum(sent) == len(BODY)
        sent.clear()
        part = await here.ask(PATH, headers={"Range": "bytes=1000-1999999"})
        assert (part.status, part.body, sum(sent)) == (206, BODY[1000:2000000], 1_999_000)
        assert part.headers["Content-Range"] == f"bytes 1000-1999999/{len(BODY)}"


async def test_small_spans_are_read(served: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """For them sendfile(2) would cost more than it saves."""
    monkeypatch.delattr(os, "sendfile")
    async with large(served) as (here, _):
        part = await here.ask(PATH, headers={"Range": f"bytes=7-{6 + tarballs.READ}"})
        assert (part.status, part.body) == (206, BODY[7 : 7 + tarballs.READ])


async def test_answers_on_one_connection_keep_their_order(served: Serve) -> None:
    """Files and other answers, each asked before the one before is read."""
    question = b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"
    async with large(served) as (here, _):
        reader, writer = await asyncio.open_connection(*address(here))
        for path, more in (
            (PATH, b""),
            ("/-/ping", b""),
            (PATH, b"Range: bytes=5-\r\n"),
            ("/large/1.0.0", b"Connection: close\r\n"),
        ):
            writer.write(question % (path.encode(), more))
        told = await reader.read(-1)
        writer.close()
        _, first, told = told.split(b"\r\n\r\n", 1)[0], *_cut(told, len(BODY))
        assert first == BODY
        head, _, told = told.partition(b"\r\n\r\n")
        assert b"200 OK" in head
        told = told[told.index(b"HTTP/1.1 206") :]
        part, told = _cut(told, len(BODY) - 5)
        assert part == BODY[5:]
        assert told.startswith(b"HTTP/1.1 200")
        assert told.endswith(b"}")


def _cut(told: bytes, length: int) -> tuple[bytes, bytes]:
    """The body of the first answer, and what comes after it."""
    body = told.index(b"\r\n\r\n") + 4
    return told[body : body + length], told[body + length :]


async def test_a_slow_client_gets_the_whole(served: Serve) -> None:
    """It takes little, but takes it: nobody cuts it off, however full the kernel's buffer stays."""
    async with large(served, client_seconds=1.2) as (here, _):
        with await asking(here) as client:

            def slowly() -> bytes:
                found = bytearray()
                end = time.monotonic() + 4
                while time.monotonic() < end:
                    found += client.recv(4096)
                    time.sleep(0.02)
                return bytes(found) + rest(client)

            assert (await anyio.to_thread.run_sync(slowly)).endswith(BODY[-(4 << 20) :])


async def test_a_client_that_goes_leaves_nothing_open(served: Serve) -> None:
    """Neither the file nor the connection, whether it goes in order or not."""
    async with large(served) as (here, _):
        await here.ask("/-/ping")
        before = descriptors()
        for linger in (b"\x01\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0"):
            client = await asking(here)
            await until_full(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.close()
            with anyio.fail_after(30):
                while descriptors() > before:  # noqa: ASYNC110 - nothing tells of it
                    await anyio.sleep(0.01)
        assert (await here.ask(PATH)).body == BODY


async def test_a_client_that_half_closes_gets_the_whole(served: Serve) -> None:
    """It asks for nothing more, and says so; then the connection ends."""
    async with large(served) as (here, _):
        with await asking(here) as client:
            await until_full(client)
            client.shutdown(socket.SHUT_WR)
            found = await anyio.to_thread.run_sync(rest, client)
            assert found.endswith(BODY)
            assert await anyio.to_thread.run_sync(client.recv, 1) == b""


async def test_a_half_closed_client_that_takes_nothing_is_cut_off(served: Serve) -> None:
    """It holds no place for ever: neither a request's, nor a connection's, nor descriptors."""
    async with large(served, client_seconds=0.4, max_requests=1) as (here, _):
        await here.ask("/-/ping")
        before = descriptors()
        with await asking(here) as client:
            await until_full(client)
            client.shutdown(socket.SHUT_WR)
            with anyio.fail_after(30):
                while descriptors() > before + 1:  # noqa: ASYNC110 - nothing tells of it
                    await anyio.sleep(0.01)
                while (await here.ask("/large")).status != 200:  # noqa: ASYNC110 - as above
                    await anyio.sleep(0.01)


async def test_a_stop_does_not_wait_for_a_client_that_takes_nothing(
    served: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it is sent is broken off, and nothing is left open.

    aiohttp applies its time-out twice: a stop took 21 s.
    """
    monkeypatch.setattr(listener, "CLOSING_SECONDS", 0.1)
    waits: list[float] = []

    def noted(seconds: float) -> asyncio.Timeout:
        waits.append(seconds)
        return ceil_timeout(seconds)

    monkeypatch.setattr(web_protocol, "ceil_timeout", noted)
    async with large(served) as (here, file):
        client = await asking(here)
        await until_full(client)
        assert is_open(file)
    with client:
        found = await anyio.to_thread.run_sync(rest, client)
    assert not found.endswith(BODY)
    assert not is_open(file)
    assert waits
    assert sum(waits) <= listener.CLOSING_SECONDS
    assert "[error" not in capsys.readouterr().out


@pytest.mark.parametrize("refused", [errno.EINVAL, errno.EOPNOTSUPP])
async def test_a_file_that_the_kernel_does_not_send_is_read(
    served: Serve, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    """Some file systems cannot: the client sees no difference."""

    def refuses(*_: int) -> int:
        raise OSError(refused, os.strerror(refused))

    monkeypatch.setattr(os, "sendfile", refuses)
    async with large(served) as (here, _):
        assert (await here.ask(PATH)).body == BODY


@pytest.mark.parametrize(
    "question",
    [
        b"GET %s HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"HEAD %s HTTP/1.0\r\nHost: x\r\n\r\n",
    ],
    ids=["1.0", "close", "head"],
)
async def test_a_connection_that_is_not_kept(served: Serve, question: bytes) -> None:
    """It ends behind the answer, which is whole."""
    async with large(served) as (here, _):
        reader, writer = await asyncio.open_connection(*address(here))
        writer.write(question % PATH.encode())
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        writer.close()
        assert b"Content-Length: %d" % len(BODY) in head
        assert body == (b"" if question.startswith(b"HEAD") else BODY)


async def test_what_a_thread_works_with_is_closed_behind_it(
    served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not under its hands, where another file would get the number: a disk may hang meanwhile."""
    real, entered, go_on = os.sendfile, threading.Event(), threading.Event()
    sizes: list[int] = []

    def hanging(connection: int, file: int, start: int, count: int) -> int:
        entered.set()
        go_on.wait(30)
        sizes.append(os.fstat(file).st_size)
        return real(connection, file, start, count)

    async with large(served) as (here, _):
        await here.ask("/-/ping")
        before = descriptors()
        monkeypatch.setattr(os, "sendfile", hanging)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_asked_in_vain, here)
            await anyio.to_thread.run_sync(entered.wait, 30)
            for task in asyncio.all_tasks():
                if "RequestHandler.start" in repr(task.get_coro()):
                    task.cancel()
            await checkpoint()
            assert descriptors() > before
            go_on.set()
        with anyio.fail_after(30):
            while descriptors() > before:  # noqa: ASYNC110 - nothing tells of it
                await anyio.sleep(0.01)
        assert sizes[:1] == [len(BODY)]


async def _asked_in_vain(here: Served) -> None:
    with suppress(aiohttp.ClientError):
        await here.ask(PATH)


async def test_a_file_that_becomes_shorter_has_no_good_ending(served: Serve) -> None:
    """The connection is broken off before the length that was promised; the log says why."""
    async with large(served) as (here, file):
        with await asking(here) as client:
            await until_full(client)
            os.truncate(file, len(BODY) - 1)
            found = await anyio.to_thread.run_sync(rest, client)
        assert len(found.partition(b"\r\n\r\n")[2]) == len(BODY) - 1


@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT])
async def test_a_disk_that_fails_midway_has_no_good_ending(
    served: Serve,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    """The client sees it; the log names the tarball, unless it was the network that failed."""
    real = os.sendfile

    def failing(connection: int, file: int, start: int, count: int) -> int:
        if start:
            raise OSError(number, os.strerror(number))
        return real(connection, file, start, min(count, 1000))

    async with large(served) as (here, _):
        capsys.readouterr()
        monkeypatch.setattr(os, "sendfile", failing)
        with pytest.raises(aiohttp.ClientError):
            await here.ask(PATH)
        told = capsys.readouterr().out
        assert ("tarball_unreadable" in told) == (number == errno.EIO)
        assert "] bug " not in told


async def test_without_descriptors_a_tarball_is_refused(
    served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as nothing is sent, it is an answer like others; the file is closed."""

    def none_left(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with large(served) as (here, _):
        await here.ask("/-/ping")
        before = descriptors()
        with monkeypatch.context() as broken:
            broken.setattr(os, "dup", none_left)
            assert (await here.ask(PATH)).status == 503
        assert descriptors() == before
        assert (await here.ask(PATH)).body == BODY
