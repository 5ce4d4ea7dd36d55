"""Questions that come at the same time, answered by one query."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

A = TypeVar("A")


@dataclass(slots=True, eq=False)
class _Question(Generic[A]):
    about: str
    answer: A | None = None
    answered: bool = False
    given_up: bool = False


class Rounds(Generic[A]):
    """Collects questions while a query is under way, and asks them together in the next one.

    No answer is older than its question. A query costs its thread, and the event loop that waits
    for it, many times what one more name in it does.

    Args:
        query: the answers to some questions, each under its own text; None where there is none.
        most: how many it takes at a time.
    """

    def __init__(
        self, query: Callable[[Sequence[str]], Awaitable[Mapping[str, A]]], most: int
    ) -> None:
        self._query = query
        self._most = most
        self._waiting: list[_Question[A]] = []
        self._round: anyio.Event | None = None

    async def ask(self, about: str) -> A | None:
        """The answer; whoever asks first makes the query for all."""
        question: _Question[A] = _Question(about)
        self._waiting.append(question)
        try:
            while not question.answered:
                if self._round is not None:
                    await self._round.wait()
                else:
                    await self._hold()
        finally:
            question.given_up = not question.answered
            if question in self._waiting:  # else it is in the query that is under way
                self._waiting.remove(question)
        return question.answer

    async def _hold(self) -> None:
        asked, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        self._round = over = anyio.Event()
        try:
            answers = await self._query([question.about for question in asked])
        except BaseException:
            # Each of the others asks for itself, and has its own error.
            self._waiting[:0] = [question for question in asked if not question.given_up]
            raise
        else:
            for question in asked:
                question.answer, question.answered = answers.get(question.about), True
        finally:
            self._round = None
            over.set()
