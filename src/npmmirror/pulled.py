"""What passes between the server and whoever fetches for its clients what is not held."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Protocol

SOON: Final = 5.0
"""Seconds after which it is worth asking again, where nobody knows better."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be had: the status for the client, a stable word, when to come again (seconds)."""

    status: int
    reason: str
    retry_after: float | None = None


class BrokenOffError(Exception):
    """A file that was being sent on as it came is not what it should be, or came no further.

    Whoever has a part of it must see that it is no whole.
    """


class Arriving(Protocol):
    """A file that can be read while it is fetched. To be closed."""

    @property
    def length(self) -> int | None:
        """How many bytes upstream announced; None: not told."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """Its bytes from the beginning; the last ones once the whole is verified.

        Raises:
            BrokenOffError: it is not verified; the last bytes were not given.
        """
        ...

    async def close(self) -> None:
        """Let go of it. The fetch goes on."""
        ...


class Pulling(Protocol):
    """Who fetches what clients ask for. Clients that leave stop nothing."""

    async def tarball(self, package: str, version: str) -> Arriving | Refused | None:
        """A tarball that is not held; None: it is by now."""
        ...

    async def package(self, name: str) -> Refused | None:
        """A package of which no document is captured; None: by now one is."""
        ...
