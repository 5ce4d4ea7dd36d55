"""Cutting off clients that take nothing of their answers."""

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import Final

import anyio
import structlog
from aiohttp import web
from anyio.lowlevel import checkpoint

WATCH_SECONDS: Final = 5.0
AT_ONCE: Final = 500
"""Connections that are looked at in one turn of the event loop."""

_Standing = tuple[int, int, int]
"""The bytes that a client ever took, and those that the kernel and the transport have for it."""
_AT_ONCE: Final = struct.pack("ii", 1, 0)
_INFO: Final = struct.Struct("=120xQ")
"""Of Linux's `struct tcp_info`: `tcpi_bytes_acked`."""

log = structlog.get_logger(__name__)


async def cut_idle(server: web.Server, patience: float) -> None:
    """Look again and again; cut off who has bytes to take and took none for `patience` seconds."""
    idle: dict[web.RequestHandler, tuple[_Standing, float]] = {}
    while True:
        await anyio.sleep(min(WATCH_SECONDS, patience / 4))
        now, seen = anyio.current_time(), {}
        for number, connection in enumerate(server.connections):
            if number % AT_ONCE == AT_ONCE - 1:
                await checkpoint()
            transport = _transport(connection)
            found = None if transport is None else _standing(transport)
            if transport is None or found is None:
                continue
            before = idle.get(connection)
            since = before[1] if before is not None and before[0] == found else now
            if now - since >= patience:
                _cut(transport)
            else:
                seen[connection] = (found, since)
        idle = seen


def _standing(transport: asyncio.Transport) -> _Standing | None:
    """How far a client is in taking what there is for it; None: there is nothing.

    The kernel is asked, for what sendfile(2) sends is not in the transport's buffer. That buffer
    alone would be no measure for others either: it stays full while the kernel's, which holds
    minutes of a slow client, grows empty.
    """
    connection, buffered = transport.get_extra_info("socket"), transport.get_write_buffer_size()
    try:
        told = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
        left = int.from_bytes(told, "little")
        if not buffered and not left:
            return None
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        return int(_INFO.unpack(info)[0]), left, buffered
    except (OSError, struct.error):  # it was closed just now
        return None


def _cut(transport: asyncio.Transport) -> None:
    peer = transport.get_extra_info("peername")
    log.debug("client_cut_off", peer=str(peer[0]) if isinstance(peer, tuple) else "")
    # Else the system, too, would wait for the client to take what is on its way.
    with suppress(OSError):
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()


def _transport(connection: web.RequestHandler) -> asyncio.Transport | None:
    return connection.transport
