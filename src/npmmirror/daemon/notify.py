"""Telling systemd how the service is: sd_notify(3), a datagram of `NAME=value` lines."""

import os
import socket
from collections.abc import Mapping
from contextlib import closing, suppress

ADDRESS = "NOTIFY_SOCKET"
WATCHDOG_MICROSECONDS = "WATCHDOG_USEC"
WATCHDOG_PROCESS = "WATCHDOG_PID"
LONGEST_VALUE = 1000
"""systemd takes datagrams of 4096 bytes."""


class Notifier:
    """Tells whoever listens at an address; does nothing where there is none.

    `watchdog_seconds` is how often systemd wants to hear from the service at least; None where it
    does not.
    """

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self._address = address
        self.watchdog_seconds = watchdog_seconds if address else None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Notifier":
        """As systemd asks for it, of this very process."""
        given = os.environ if environment is None else environment
        own = given.get(WATCHDOG_PROCESS) in {None, str(os.getpid())}
        microseconds = given.get(WATCHDOG_MICROSECONDS, "")
        wanted = own and microseconds.isdecimal() and int(microseconds) > 0
        return cls(given.get(ADDRESS) or None, int(microseconds) / 1e6 if wanted else None)

    @property
    def listens(self) -> bool:
        """Whether anybody wants to be told."""
        return self._address is not None

    def tell(self, **fields: str | int) -> None:
        """Send fields, by their names in sd_notify(3). That nobody takes them stops nothing."""
        if self._address is None:
            return
        lines = "\n".join(f"{name}={_plain(value)}" for name, value in fields.items())
        # A name in the abstract namespace is written with an @ for its first byte, which is zero.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
            sender.setblocking(False)
            with suppress(OSError):
                sender.sendto(lines.encode(), address)


def _plain(value: str | int) -> str:
    """A value in one line: what upstream said may be part of it."""
    text = str(value)[:LONGEST_VALUE]
    return "".join(char if char.isprintable() else "?" for char in text)
