"""A kill amid a fetch for a client leaves nothing under a final name, and costs nothing but time."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import pytest

from npmmirror.testing import ScriptedUpstream
from npmmirror.testing.faults import Stall
from npmmirror.testing.tarball import filler
from tests.server.pulling import LARGE, free_port

pytestmark = pytest.mark.anyio

CONFIG = """
[upstream]
feed = "{feed}"
registry = "{registry}"

[follow]
since = 0
poll_seconds = 0.1

[policy]
tarballs = "none"

[storage]
data_dir = "data"
min_free_bytes = 0

[server]
listen = "127.0.0.1:{port}"
unheld = "fetch"
"""
ADDRESS = "/a/-/a-1.0.0.tgz"


@asynccontextmanager
async def daemon(directory: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """`npmmirror run`, killed at the block's end at the latest."""
    command = [sys.executable, "-m", "npmmirror", "--config", "mirror.toml", "run"]
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)  # noqa: ASYNC220 - it takes a millisecond
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def answered(client: aiohttp.ClientSession, url: str) -> aiohttp.ClientResponse:
    """The first answer with status 200."""
    with anyio.fail_after(30):
        while True:
            try:
                answer = await client.get(url)
            except aiohttp.ClientConnectionError:
                answer = None
            if answer is not None and answer.status == 200:
                return answer
            if answer is not None:
                answer.release()
            await anyio.sleep(0.05)


def found(directory: Path, pattern: str) -> list[Path]:
    """The files below the data directory that a pattern matches."""
    return sorted((directory / "data").glob(pattern))


async def test_a_kill_amid_a_fetch_leaves_nothing_under_a_final_name(tmp_path: Path) -> None:
    """Its client is cut; after the next start the same request gets the whole."""
    port = free_port()
    url = f"http://127.0.0.1:{port}{ADDRESS}"
    async with ScriptedUpstream() as upstream, aiohttp.ClientSession() as client:
        upstream.registry.publish("a", "1.0.0", files={"filler": filler(LARGE, "a")})
        tarball = upstream.registry.tarball("a", "1.0.0")
        (tmp_path / "mirror.toml").write_text(
            CONFIG.format(feed=upstream.feed, registry=upstream.url, port=port)
        )
        upstream.fault("tarball", Stall(after=LARGE // 2))
        async with daemon(tmp_path) as process:
            answer = await answered(client, url)
            assert await answer.content.readany()
            assert found(tmp_path, "staging/npmmirror-*")
            process.send_signal(signal.SIGKILL)
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await answer.read()
        assert found(tmp_path, "packages/**/*.tgz") == []
        upstream.release()
        async with daemon(tmp_path) as process:
            answer = await answered(client, url)
            assert await answer.read() == tarball
            process.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(process.wait, 30) == 0
        assert found(tmp_path, "staging/npmmirror-*") == []
        (stored,) = found(tmp_path, "packages/**/*.tgz")
        assert stored.read_bytes() == tarball
