"""The listener: connections on an address, held to limits, and let go of in order."""

import asyncio
import errno
import resource
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import structlog
from aiohttp import web

from npmmirror.config import ServerSection
from npmmirror.errors import NpmmirrorError
from npmmirror.server.answers import NAME, error
from npmmirror.server.app import App

CLOSING_SECONDS: Final = 10.0
"""How long answers under way may take once the server closes."""
WATCH_SECONDS: Final = 5.0
MAX_HEADER: Final = 8190
MAX_HEADERS: Final = 64
LINGER_SECONDS: Final = 2.0
"""How long the rest of a body that nobody reads is waited for, so that its sender sees the answer."""
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)

log = structlog.get_logger(__name__)


class AddressTakenError(NpmmirrorError):
    """The address cannot be listened on."""


class _Connection(web.RequestHandler):
    """Tells of errors as the rest of the server does."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """See `web.RequestHandler`: what is no HTTP (4xx), or a bug of ours."""
        del message  # it may quote what the client sent
        if isinstance(exc, ConnectionError):  # the client has gone
            raise ConnectionResetError("the connection is lost") from exc
        if status >= 500:
            log.error("bug", command=f"{request.method} {request.raw_path}", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionResetError("a part of another answer is sent already")
        answer = error(status, "Bad request" if status < 500 else "Internal server error")
        answer.headers["Server"] = NAME
        answer.force_close()
        return answer


class _Server(web.Server):
    """Closes connections beyond a number at once."""

    def __init__(self, app: App, section: ServerSection) -> None:
        super().__init__(
            app.handle,
            access_log=None,
            keepalive_timeout=section.client_seconds,
            auto_decompress=False,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            max_headers=MAX_HEADERS,
            lingering_time=LINGER_SECONDS,
        )
        self._most = min(section.max_connections, _descriptors() // 3)

    def __call__(self) -> web.RequestHandler:
        """See `web.Server`."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """See `web.Server`."""
        super().connection_made(handler, transport)
        if len(self._connections) > self._most:
            transport.write(_FULL)
            # Not before aiohttp's task for the connection has begun: it takes that for a bug.
            self._loop.call_soon(self._loop.call_soon, transport.close)


class Listener:
    """Serves an `App` on the address of the configuration.

    `shared` lets other processes of the same user listen on it, too.
    """

    def __init__(self, app: App, section: ServerSection, *, shared: bool = False) -> None:
        self._app = app
        self._section = section
        self._shared = shared

    @asynccontextmanager
    async def open(self) -> AsyncIterator[list[str]]:
        """Listen inside the block, which is given the URLs; at its end answers are finished.

        Raises:
            AddressTakenError: the address cannot be listened on; the sentence says why.
        """
        server = _Server(self._app, self._section)
        runner = web.ServerRunner(server, shutdown_timeout=CLOSING_SECONDS)
        await runner.setup()
        try:
            await self._listen(runner)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, server)
                try:
                    yield [_url(address) for address in runner.addresses]
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()

    async def _listen(self, runner: web.ServerRunner) -> None:
        host, _, port = self._section.listen.rpartition(":")
        site = web.TCPSite(
            runner, host.strip("[]"), int(port), backlog=1024, reuse_port=self._shared or None
        )
        try:
            await site.start()
        except OSError as fault:
            raise AddressTakenError(_why(self._section.listen, fault)) from fault

    async def _watch(self, server: web.Server) -> None:
        """Cut off clients that take nothing of their answers."""
        stalled: dict[web.RequestHandler, tuple[int, float]] = {}
        while True:
            await anyio.sleep(min(WATCH_SECONDS, self._section.client_seconds / 4))
            now, seen = anyio.current_time(), {}
            for connection in server.connections:
                waiting = _waiting(connection)
                if not waiting:
                    continue
                before = stalled.get(connection)
                since = before[1] if before is not None and before[0] == waiting else now
                if now - since >= self._section.client_seconds:
                    _cut(connection)
                else:
                    seen[connection] = (waiting, since)
            stalled = seen


def _descriptors() -> int:
    """How many files the process may have open; a connection that gets a tarball takes two."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _waiting(connection: web.RequestHandler) -> int:
    """The bytes that a client has not taken yet."""
    transport = _transport(connection)
    return 0 if transport is None else transport.get_write_buffer_size()


def _cut(connection: web.RequestHandler) -> None:
    transport = _transport(connection)
    if transport is None:
        return
    peer = transport.get_extra_info("peername")
    log.debug("client_cut_off", peer=str(peer[0]) if isinstance(peer, tuple) else "")
    # Else the system, too, would wait for the client to take what is on its way.
    with suppress(OSError):
        at_once = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    transport.abort()


def _transport(connection: web.RequestHandler) -> asyncio.Transport | None:
    return connection.transport


def _url(address: tuple[str, int]) -> str:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"


def _why(listen: str, fault: OSError) -> str:
    if fault.errno == errno.EADDRINUSE:
        return (
            f"the address {listen} (server.listen) is taken by another program, perhaps by another "
            "npmmirror"
        )
    reason = fault.strerror or str(fault)
    return f"the address {listen} (server.listen) cannot be listened on: {reason}"
