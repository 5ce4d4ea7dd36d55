"""A TLS server before a plain one, whose certificate can be changed while it runs."""

import socket
import ssl
import threading
from contextlib import suppress
from typing import Self

PIECE = 65_536


class TlsFront:
    """Takes TLS connections on localhost and passes on what they say to another port there.

    A context manager; `context` is that of the next connection.
    """

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.context = context
        self._behind = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        self.hang_up()

    def present(self, context: ssl.SSLContext) -> None:
        """Have all connections made anew, with this certificate."""
        self.context = context
        self.hang_up()

    def hang_up(self) -> None:
        """Close all connections."""
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(plain,), daemon=True).start()

    def _pass_on(self, plain: socket.socket) -> None:
        with (
            plain,
            suppress(OSError),
            self.context.wrap_socket(plain, server_side=True) as front,
            socket.create_connection(("127.0.0.1", self._behind)) as behind,
        ):
            self._open += [front, behind]
            back = threading.Thread(target=_copy, args=(behind, front), daemon=True)
            back.start()
            _copy(front, behind)
            back.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
