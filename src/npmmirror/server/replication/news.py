"""Has whoever waits for a change of the feed wait until somebody committed to the index."""

from collections.abc import Callable
from typing import Final

import anyio

LOOK_SECONDS: Final = 0.25
"""How often it is looked at whether another process committed, while anybody waits."""


class News:
    """Tells those who wait that there was a commit.

    A daemon that commits itself says so (`tell`). What another process does is found out by
    `has_changed`, which is asked at most every `LOOK_SECONDS` however many wait, and by nobody
    where nobody waits. Used from one event loop.
    """

    def __init__(self, has_changed: Callable[[], bool]) -> None:
        self._has_changed = has_changed
        self._told = anyio.Event()
        self._looked = float("-inf")
        self.count = 0
        """How often there was news; `behind` is given it as it was before a question was asked."""

    def tell(self) -> None:
        """There was a commit."""
        self.count += 1
        told, self._told = self._told, anyio.Event()
        told.set()

    async def behind(self, heard: int, seconds: float) -> bool:
        """Wait for news behind the count `heard`; False where none comes within so many seconds."""
        with anyio.move_on_after(seconds):
            while not self._is_news(heard):
                with anyio.move_on_after(LOOK_SECONDS):
                    await self._told.wait()
        return self.count != heard

    def _is_news(self, heard: int) -> bool:
        now = anyio.current_time()
        if self.count == heard and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            if self._has_changed():
                self.tell()
        return self.count != heard
