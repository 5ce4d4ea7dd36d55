"""`npmmirror serve` and the daemon's own server, as whole programs and beside one another."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import aiohttp
import anyio
import pytest
import structlog

from npmmirror.config import Config
from npmmirror.daemon import serving
from npmmirror.daemon.reindex import reindex
from npmmirror.testing import faults
from tests.daemon.conftest import Open, RunningMirror, opener

pytestmark = pytest.mark.anyio
PATIENCE = 40


@pytest.fixture
def mirror(tmp_path: Path) -> Open:
    """Opens a mirror of a fresh scripted upstream, as the daemon's tests do."""
    return opener(tmp_path / "data")


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def get(url: str) -> tuple[int, bytes]:
    """Status and body of an answer."""
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        return answer.status, await answer.read()


async def answers(url: str) -> None:
    """Wait until somebody answers there."""
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                await get(f"{url}/-/ping")
            except aiohttp.ClientConnectionError:
                await anyio.sleep(0.05)
            else:
                return


@contextmanager
def program(config: Config, directory: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`npmmirror serve` with these words, killed at the end if it runs still."""
    file = directory / "serve.toml"
    file.write_text(f'[storage]\ndata_dir = "{config.storage.data_dir}"\n', encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "npmmirror", "--config", str(file), "serve", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "NPMMIRROR_LOG__FORMAT": "json"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def told(process: subprocess.Popen[str], event: str) -> dict[str, object]:
    """The next line of the log with this event."""
    assert process.stderr is not None
    with anyio.fail_after(PATIENCE):
        while line := await anyio.to_thread.run_sync(process.stderr.readline):
            if line.startswith("{") and (found := json.loads(line))["event"] == event:
                return dict(found)
    raise AssertionError(f"the program ended without {event}")


async def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit status, and what was written to the standard error output."""
    wait = partial(process.communicate, timeout=PATIENCE)
    _, errors = await anyio.to_thread.run_sync(wait)
    return process.returncode, errors


async def test_two_processes_serve_one_address_without_a_lock(mirror: Open, tmp_path: Path) -> None:
    """Beside a running daemon; what the daemon commits both serve; SIGTERM ends them with 0."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        port = free_port()
        words, url = ("--listen", f"127.0.0.1:{port}"), f"http://127.0.0.1:{port}"
        async with here.running():
            await here.at_head()
            with (
                program(here.config, tmp_path, *words) as one,
                program(here.config, tmp_path, *words) as other,
            ):
                for process in (one, other):
                    assert (await told(process, "serving"))["urls"] == [url]
                here.upstream.registry.publish("left-pad", "1.1.0")
                await here.at_head()
                for _ in range(20):  # each by a connection of its own: both are asked
                    status, body = await get(f"{url}/left-pad")
                    assert (status, "1.1.0" in json.loads(body)["versions"]) == (200, True)
                for process in (one, other):
                    process.send_signal(signal.SIGTERM)
                assert [(await ended(process))[0] for process in (one, other)] == [0, 0]


async def test_an_address_that_is_taken_is_a_sentence(mirror: Open, tmp_path: Path) -> None:
    """`serve` ends with it, and no traceback."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        await here.sync("left-pad")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with program(here.config, tmp_path, "--listen", f"127.0.0.1:{port}") as process:
                status, errors = await ended(process)
        assert status == 1
        assert f"127.0.0.1:{port}" in errors
        assert "is taken by another program" in errors
        assert "Traceback" not in errors


async def test_no_mirror_is_a_sentence(mirror: Open, tmp_path: Path) -> None:
    """There is nothing to serve."""
    async with mirror() as here:
        with program(here.config, tmp_path, "--listen", "127.0.0.1:0") as process:
            status, errors = await ended(process)
    assert (status, "there is no mirror in" in errors) == (1, True)


@asynccontextmanager
async def served_by_daemon(here: RunningMirror, port: int) -> AsyncIterator[anyio.Event]:
    """The daemon with its own server."""
    section = here.config.server.model_copy(update={"listen": f"127.0.0.1:{port}"})
    here.config = here.config.model_copy(update={"server": section})
    async with here.running() as stop:
        yield stop


async def test_the_daemon_serves_what_it_mirrors(mirror: Open) -> None:
    """From its first moment on, and at once."""
    async with mirror() as here:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        async with served_by_daemon(here, port):
            await answers(url)
            assert (await get(f"{url}/left-pad"))[0] == 404
            here.upstream.registry.publish("left-pad", "1.0.0")
            await here.at_head()
            status, body = await get(f"{url}/left-pad")
            assert (status, [*json.loads(body)["versions"]]) == (200, ["1.0.0"])


async def test_a_taken_address_stops_no_mirror(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon follows; once the address is free it is answered there."""
    monkeypatch.setattr(serving, "AGAIN_SECONDS", 0.05)
    async with mirror() as here:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            here.upstream.registry.publish("left-pad", "1.0.0")
            async with served_by_daemon(here, port):
                await here.at_head()
                taken.close()
                url = f"http://127.0.0.1:{port}"
                await answers(url)
                assert (await get(f"{url}/left-pad"))[0] == 200


async def test_the_server_answers_while_the_daemon_drains(mirror: Open) -> None:
    """It says `draining` until the last work is done, and documents are served until then."""
    async with mirror() as here:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        here.upstream.registry.publish("left-pad", "1.0.0")
        async with served_by_daemon(here, port) as stop:
            await here.at_head()
            await answers(url)
            here.upstream.fault("packument", faults.Stall(after=10), name="slow", times=1)
            here.upstream.registry.publish("slow", "1.0.0")
            await here.upstream.asked("packument", "slow")
            stop.set()
            with anyio.fail_after(PATIENCE):
                while (await get(f"{url}/-/ping"))[0] != 503:  # noqa: ASYNC110 - as a balancer would
                    await anyio.sleep(0.02)
            assert (await get(f"{url}/left-pad"))[0] == 200
            here.upstream.release()


@asynccontextmanager
async def served_alone(mirror: Open) -> AsyncIterator[tuple[RunningMirror, list[str]]]:
    """A mirror of `left-pad`, and the addresses that a server without a daemon told, one by one."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        await here.sync("left-pad")
        stop, urls = anyio.Event(), list[str]()
        section = here.config.server.model_copy(update={"listen": f"127.0.0.1:{free_port()}"})
        config = here.config.model_copy(update={"server": section})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(serving.serve, config, stop=stop, tell=urls.extend))
            await answers(f"http://{section.listen}")
            yield here, urls
            stop.set()


async def test_a_rebuilt_index_is_opened(mirror: Open) -> None:
    """A server without a daemon sees that the index is another file."""
    async with served_alone(mirror) as (here, urls):
        await reindex(here.config, tell=lambda _: None)
        with anyio.fail_after(PATIENCE):
            while len(urls) < 2:  # noqa: ASYNC110 - as another program would
                await anyio.sleep(0.05)
        here.upstream.registry.publish("left-pad", "1.1.0")
        await here.sync("left-pad")
        _, body = await get(f"{urls[-1]}/left-pad")
        assert "1.1.0" in json.loads(body)["versions"]


async def test_an_index_that_is_not_finished_is_not_opened(mirror: Open) -> None:
    """A server without a daemon answers from the one that it has until the new one is there."""
    async with served_alone(mirror) as (here, urls):
        path, kept = here.config.storage.index_path, here.config.storage.data_dir / "kept"
        with structlog.testing.capture_logs() as logged:
            path.rename(kept)
            path.touch()
            with anyio.fail_after(PATIENCE):
                while "index_unusable" not in {line["event"] for line in logged}:  # noqa: ASYNC110 - as an operator would
                    await anyio.sleep(0.05)
        assert (await get(f"{urls[-1]}/left-pad"))[0] == 200
        kept.rename(path)
