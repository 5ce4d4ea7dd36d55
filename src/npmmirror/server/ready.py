"""The cache of ready answers: bounded by bytes, and true as long as their packages do not change.

Each process has its own; what others commit is found out by `changes`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

import anyio

from npmmirror.server.answers import Ready
from npmmirror.server.changes import Changed

LARGEST_SHARE: Final = 8
"""An answer that takes more than this part of the cache would push out too much."""


class ReadyAnswers:
    """Ready answers by a key that says everything that they are made for.

    An answer belongs to a package, and is dropped with the package's next change; one that belongs to
    none is dropped with every commit. Used from one event loop.

    Args:
        limit: In bytes.
        look: What changed since it was called last; None: nothing.
    """

    def __init__(self, limit: int, look: Callable[[], Changed | None]) -> None:
        self._limit = limit
        self._look = look
        self._looked = False
        self._answers: OrderedDict[Hashable, tuple[str, Ready]] = OrderedDict()
        self._keys: dict[str, set[Hashable]] = {}
        self._making: dict[Hashable, _Making] = {}
        self.bytes = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._answers)

    def known(self, key: Hashable) -> Ready | None:
        """The answer, if it is ready and still true."""
        if not self._looked:
            self._see()
        found = self._answers.get(key)
        if found is None:
            return None
        self._answers.move_to_end(key)
        return found[1]

    async def made(
        self, key: Hashable, make: Callable[[], Awaitable[Ready]], package: str = ""
    ) -> Ready:
        """The answer, made if it is not there; once, however many ask for it at the same time."""
        while (found := self.known(key)) is None:
            making = self._making.get(key)
            if making is None:
                return await self._make(key, make, package)
            await making.over.wait()
            if making.answer is not None:
                return making.answer
        return found

    def takes(self, size: int) -> bool:
        """Whether an answer of so many bytes would be kept."""
        return size * LARGEST_SHARE <= self._limit

    def forget(self) -> None:
        """Drop everything: nothing is known to be true any more."""
        self._answers.clear()
        self._keys.clear()
        self._making.clear()
        self.bytes = 0

    def _see(self) -> None:
        # Once for all requests that came in the same turn of the loop: a commit after the look is
        # one after they were sent. A look takes as long as the fifth part of an answer.
        self._looked = True
        asyncio.get_running_loop().call_soon(self._next_turn)
        changed = self._look()
        if changed is not None:
            self._drop(changed)

    def _next_turn(self) -> None:
        self._looked = False

    def _drop(self, changed: Changed) -> None:
        if changed.packages is None:
            self.forget()
            return
        names = {"", *changed.packages}
        for name in names:
            for key in self._keys.pop(name, ()):
                self.bytes -= self._answers.pop(key)[1].size
        # Whoever asks now must not get what was begun before the change, nor may it be kept.
        for key in [key for key, making in self._making.items() if making.package in names]:
            del self._making[key]

    async def _make(
        self, key: Hashable, make: Callable[[], Awaitable[Ready]], package: str
    ) -> Ready:
        making = self._making[key] = _Making(package)
        try:
            making.answer = await make()
            if self._making.get(key) is making:
                self._keep(key, package, making.answer)
            return making.answer
        finally:
            if self._making.get(key) is making:
                del self._making[key]
            making.over.set()

    def _keep(self, key: Hashable, package: str, answer: Ready) -> None:
        if not self.takes(answer.size):
            return
        self._answers[key] = (package, answer)
        self._keys.setdefault(package, set()).add(key)
        self.bytes += answer.size
        while self.bytes > self._limit:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        key, (package, oldest) = self._answers.popitem(last=False)
        self.bytes -= oldest.size
        keys = self._keys[package]
        keys.discard(key)
        if not keys:
            del self._keys[package]


class _Making:
    """An answer that somebody is making; None where that failed."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.over = anyio.Event()
        self.answer: Ready | None = None
