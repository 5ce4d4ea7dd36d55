"""systemd, played: the socket that a service tells how it is."""

import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 30.0

Told = dict[str, str]


class PlayedSystemd:
    """Listens on a notify socket; `address` is in the file system, or begins with @."""

    def __init__(self, address: Path | str) -> None:
        self.address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self.address[1:]}" if self.address[0] == "@" else self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def told(self) -> Iterator[Told]:
        """What has been told and not been looked at yet."""
        while select.select([self._socket], [], [], 0)[0]:
            yield _fields(self._socket.recv(4096))

    def until(self, name: str, text: str = "") -> list[Told]:
        """Everything up to the field `name` with this text in its value."""
        before: list[Told] = []
        deadline = time.monotonic() + PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left)[0]:
                before.append(_fields(self._socket.recv(4096)))
                if text in before[-1].get(name, "\0"):
                    return before
        raise AssertionError(f"no {name} with {text!r}, but {before}")


def _fields(datagram: bytes) -> Told:
    return dict(line.split("=", 1) for line in datagram.decode().splitlines())
