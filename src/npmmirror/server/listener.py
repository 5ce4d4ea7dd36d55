"""The listener: connections on an address, held to limits, and let go of in order."""

import asyncio
import errno
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog
from aiohttp import web

from npmmirror.config import ServerSection
from npmmirror.errors import NpmmirrorError
from npmmirror.server.app import App
from npmmirror.server.connection import Connection
from npmmirror.server.cutting import cut_idle

CLOSING_SECONDS: Final = 10.0
"""How long answers under way may take once the server closes."""
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
        self._most = min(section.max_connections, _descriptors() // 4)

    def __call__(self) -> web.RequestHandler:
        """See `web.Server`."""
        return Connection(self, loop=self._loop, **self._kwargs)

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
        # aiohttp waits so long twice: for the answer under way, then for the task that gives it.
        runner = web.ServerRunner(server, shutdown_timeout=CLOSING_SECONDS / 2)
        await runner.setup()
        try:
            await self._listen(runner)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cut_idle, server, self._section.client_seconds)
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


def _descriptors() -> int:
    """How many files the process may have open; a connection that gets a tarball takes three."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


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
