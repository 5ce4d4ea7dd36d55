"""A scripted server on loopback, and clients for it whose waits take no time."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import anyio.lowlevel
from aiohttp import web

from npmmirror.upstream import Packument, Upstream

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class MovedClock:
    """Time that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 11, 20, 10, 0, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await anyio.lowlevel.checkpoint()

    def jitter(self, low: float, high: float) -> float:
        return low + (high - low) / 3


@dataclass
class Server:
    """What a scripted server was asked: the paths as they came, and all headers."""

    url: str
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


class Serve(Protocol):
    async def __call__(self, *answers: web.StreamResponse | Handler) -> Server: ...


class Connect(Protocol):
    async def __call__(self, registry: str, **others: Any) -> Upstream: ...


class Fetch(Protocol):
    async def __call__(self, upstream: Upstream, name: str = ..., **others: Any) -> Packument: ...


def reply(body: bytes | Any = b"{}", status: int = 200, **headers: str) -> web.Response:
    """A response; what is no bytes becomes JSON, `Retry_After=` becomes a header."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(body=data, status=status, headers={"Content-Type": "text/plain"} | named)


def raw(data: bytes) -> Handler:
    """Send these very bytes in place of a response, and hang up."""

    async def send(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(data)
        request.transport.close()
        return web.Response()

    return send
