"""Files to clients by sendfile(2): from the page cache to the socket, not through this process.

uvloop has no `loop.sendfile`. Threads make the calls, for a disk may be slow and a NAS hang; where
the socket is full the event loop waits for it, so that a slow client holds no thread.
"""

import asyncio
import errno
import os
import socket
from contextlib import ExitStack
from io import FileIO
from threading import Lock
from typing import Final, cast

import anyio
from aiohttp import web

from npmmirror.server.connection import Connection
from npmmirror.worker_threads import WorkerThreads

READ: Final = 1 << 20
"""The bytes that are read at a time where the kernel does not send a file by itself."""
BURST: Final = 8 << 20
"""The most bytes that a thread sends of a file before it is another's turn."""

GONE: Final = "the client has gone"
SHORTER: Final = "the file became shorter"
_REFUSED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""What some file systems answer to sendfile(2)."""
_OF_THE_CLIENT: Final = frozenset(
    {
        *(errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH),
        *(errno.EHOSTDOWN, errno.ENETDOWN, errno.ENONET, errno.ENOPROTOOPT),
    }
)
"""What sendfile(2) tells of the network, besides what Python calls a `ConnectionError`."""


async def send_file(
    request: web.BaseRequest,
    response: web.StreamResponse,
    file: FileIO,
    span: tuple[int, int],
    threads: WorkerThreads,
) -> None:
    """Send the head of the response and the bytes from `span`'s start to its end; close the file.

    Raises:
        ConnectionError: the client has gone, or was cut off.
        OSError: there are no descriptors left (then nothing is sent yet), or the file could not be
            read to its end (then the answer has no good ending).
    """
    sending, connection = _Sending(file, request), cast("Connection", request.protocol)
    connection.on_lost = sending.give_up
    try:
        await _send_head(request, response)
        start, end = span
        while (start := await threads.run(sending.burst, start, end)) < end:
            await anyio.wait_writable(sending.connection)
    finally:
        connection.on_lost = None
        sending.close()
    await response.write_eof()


async def _send_head(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Return once the kernel has it: what sendfile(2) sends goes past the transport's buffer."""
    _transport(request).set_write_buffer_limits(high=0)
    writer = await response.prepare(request)
    if writer is None:
        raise RuntimeError("the response was sent before")
    writer.send_headers()
    await writer.drain()
    _transport(request).set_write_buffer_limits()


def _transport(request: web.BaseRequest) -> asyncio.Transport:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError(GONE)
    return transport


class _Sending:
    """A file and a connection while they are used, closed when no thread is at work with them.

    The connection is a descriptor of our own: the transport may close its own one at any time, and
    another client's connection get the number.
    """

    def __init__(self, file: FileIO, request: web.BaseRequest) -> None:
        self._file = file
        with ExitStack() as failed:
            failed.enter_context(file)
            self.connection = os.dup(_transport(request).get_extra_info("socket").fileno())
            failed.pop_all()
        self._lock = Lock()
        self._working = self._closed = False
        self._by_kernel = True

    def burst(self, start: int, end: int) -> int:
        """In a thread: send until the socket is full; where to go on.

        Raises:
            OSError: of the file, or of the connection (`ConnectionError`).
        """
        if not self._begin():
            return start
        try:
            now = self._sent(start, min(end, start + BURST))
            if now == end:
                self._file.close()  # here, for a disk may hang
            return now
        finally:
            self._end()

    def _begin(self) -> bool:
        with self._lock:
            self._working = not self._closed
            return self._working

    def _end(self) -> None:
        with self._lock:
            self._working = False
            if self._closed:
                self._close()

    def _sent(self, start: int, end: int) -> int:
        while start < end:
            try:
                sent = self._some(start, end - start)
            except BlockingIOError:
                break
            except OSError as fault:
                if fault.errno in _OF_THE_CLIENT:
                    raise ConnectionResetError(GONE) from fault
                raise
            if not sent:
                raise OSError(SHORTER)
            start += sent
        return start

    def _some(self, start: int, count: int) -> int:
        if self._by_kernel:
            try:
                return os.sendfile(self.connection, self._file.fileno(), start, count)
            except OSError as fault:
                if fault.errno not in _REFUSED:
                    raise
                self._by_kernel = False
        piece = os.pread(self._file.fileno(), min(count, READ), start)
        return os.write(self.connection, piece) if piece else 0

    def give_up(self) -> None:
        """The client has gone, or is cut off: whoever waits for the connection is to see that."""
        own = socket.socket(fileno=self.connection)
        try:
            own.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is so already
        finally:
            own.detach()

    def close(self) -> None:
        """Close both, or have the thread do it that is at work with them."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._working:
                self._close()

    def _close(self) -> None:
        self._file.close()
        os.close(self.connection)
