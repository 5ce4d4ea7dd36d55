"""Fixtures around the scripted server of `loopback`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from npmmirror.upstream import Limits, Packument, Timeouts, Upstream, Waits
from tests.upstream.loopback import Connect, Fetch, Handler, MovedClock, Serve, Server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def serve(stack: AsyncExitStack) -> Serve:
    """Start a server that gives these answers one after the other, the last one for ever."""

    async def serve(*answers: web.StreamResponse | Handler) -> Server:
        left = list(answers)
        server = Server("")

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            server.paths.append(request.raw_path)
            server.headers.append(dict(request.headers))
            answer = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, web.Response):
                # A response can be sent once only.
                return web.Response(
                    status=answer.status, body=answer.body, headers=answer.headers.copy()
                )
            assert not isinstance(answer, web.StreamResponse)
            return await answer(request)

        runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.01)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return server

    return serve


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def connect(stack: AsyncExitStack, clock: MovedClock) -> Connect:
    """Make an open client for a registry, with short time-outs and pauses."""

    async def connect(registry: str, **others: Any) -> Upstream:
        settings: dict[str, Any] = {
            "feed": None,
            "user_agent": "npmmirror/0 (test; operator@mirror.example)",
            "timeouts": Timeouts(connect_seconds=5, read_seconds=5, total_seconds=20),
            "limits": Limits(),
            "concurrency": 8,
            "clock": clock,
            "attempts": 3,
            "waits": Waits(initial=0.001, longest=0.002, jitter=0.001),
        }
        upstream = Upstream(registry=registry, **settings | others)
        return await stack.enter_async_context(upstream)

    return connect


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def fetch(spool: Path) -> Fetch:
    """Ask for a packument, `left-pad` unless told otherwise."""

    async def fetch(upstream: Upstream, name: str = "left-pad", **others: Any) -> Packument:
        settings: dict[str, Any] = {"spool": spool, "spool_over": 1024 * 1024}
        return await upstream.packument(name, **settings | others)

    return fetch
