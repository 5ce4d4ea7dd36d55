"""The cache of ready answers: bounded by bytes, and true as long as the index says nothing new.

Each process has its own. What another process committed is found out by `PRAGMA data_version` on a
connection that does nothing else, which takes microseconds.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from pathlib import Path

import anyio

from npmmirror.server.answers import Ready

_LARGEST_SHARE = 8
"""An answer that takes more than this part of the cache would push out too much."""


class DataVersion:
    """Tells whether anybody committed to the index since it was last asked."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None
        )
        self._last = self._read()

    def has_changed(self) -> bool:
        """Whether there was a commit since the last question; also where that cannot be told."""
        now = self._read()
        changed = now is None or now != self._last
        self._last = now
        return changed

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _read(self) -> int | None:
        with suppress(sqlite3.Error):
            found: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
            return found
        return None


class ReadyAnswers:
    """Ready answers by a key that says everything that they are made for.

    Used from one event loop. `limit` is in bytes.
    """

    def __init__(self, limit: int, has_changed: Callable[[], bool]) -> None:
        self._limit = limit
        self._has_changed = has_changed
        self._answers: OrderedDict[Hashable, Ready] = OrderedDict()
        self._making: dict[Hashable, _Making] = {}
        self._generation = 0
        self.bytes = 0

    def known(self, key: Hashable) -> Ready | None:
        """The answer, if it is ready and still true."""
        if self._has_changed():
            self.forget()
        found = self._answers.get(key)
        if found is not None:
            self._answers.move_to_end(key)
        return found

    async def made(self, key: Hashable, make: Callable[[], Awaitable[Ready]]) -> Ready:
        """The answer, made if it is not there; once, however many ask for it at the same time."""
        while (found := self.known(key)) is None:
            making = self._making.get(key)
            if making is None:
                return await self._make(key, make)
            await making.over.wait()
            if making.answer is not None:
                return making.answer
        return found

    def forget(self) -> None:
        """Drop everything: something changed."""
        self._generation += 1
        self._answers.clear()
        self._making.clear()  # whoever asks now must not get what was begun before the change
        self.bytes = 0

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[Ready]]) -> Ready:
        making = self._making[key] = _Making()
        generation = self._generation
        try:
            making.answer = await make()
            if generation == self._generation:
                self._keep(key, making.answer)
            return making.answer
        finally:
            if self._making.get(key) is making:
                del self._making[key]
            making.over.set()

    def _keep(self, key: Hashable, answer: Ready) -> None:
        if answer.size * _LARGEST_SHARE > self._limit:
            return
        self._answers[key] = answer
        self.bytes += answer.size
        while self.bytes > self._limit:
            _, oldest = self._answers.popitem(last=False)
            self.bytes -= oldest.size


class _Making:
    """An answer that somebody is making; None where that failed."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.answer: Ready | None = None
