"""Questions that come at the same time are answered by one query."""

from collections.abc import Sequence

import anyio
import pytest

from npmmirror.index.rounds import Rounds

pytestmark = pytest.mark.anyio


class Oracle:
    """Answers a name with its capitals, when it is let; remembers each round."""

    def __init__(self, most: int = 16) -> None:
        self.asked: list[list[str]] = []
        self.began = anyio.Event()
        self.gate = anyio.Event()
        self.errors: list[Exception] = []
        self.rounds = Rounds(self._answers, most)

    async def _answers(self, names: Sequence[str]) -> dict[str, str]:
        self.asked.append([*names])
        self.began.set()
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop()
        return {name: name.upper() for name in names if name != "nobody"}


async def ask(oracle: Oracle, name: str, answers: dict[str, str | None]) -> None:
    """Keep the answer under its question."""
    answers[name] = await oracle.rounds.ask(name)


async def test_questions_during_a_round_go_together_into_the_next_one() -> None:
    """They were asked after the round's query began, so it must not answer them."""
    oracle, answers = Oracle(), dict[str, str | None]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, oracle, "a", answers)
        await oracle.began.wait()
        for name in ("b", "c", "a2"):
            tasks.start_soon(ask, oracle, name, answers)
        await anyio.wait_all_tasks_blocked()
        oracle.gate.set()
    assert oracle.asked == [["a"], ["b", "c", "a2"]]
    assert answers == {"a": "A", "b": "B", "c": "C", "a2": "A2"}


async def test_a_round_takes_no_more_than_it_may() -> None:
    """Who finds no place in a round is in the next one, in the order of asking."""
    oracle, answers = Oracle(most=2), dict[str, str | None]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, oracle, "first", answers)
        await oracle.began.wait()
        for name in "abcde":
            tasks.start_soon(ask, oracle, name, answers)
        await anyio.wait_all_tasks_blocked()
        oracle.gate.set()
    assert oracle.asked == [["first"], ["a", "b"], ["c", "d"], ["e"]]
    assert len(answers) == 6


async def test_no_answer_is_none() -> None:
    """What the query leaves out is told as None."""
    oracle = Oracle()
    oracle.gate.set()
    assert await oracle.rounds.ask("nobody") is None


async def test_the_same_question_twice_is_answered_twice() -> None:
    """Two who ask for one name in the same round both get the answer."""
    oracle, first, second = Oracle(), dict[str, str | None](), dict[str, str | None]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, oracle, "held", {})
        await oracle.began.wait()
        tasks.start_soon(ask, oracle, "a", first)
        tasks.start_soon(ask, oracle, "a", second)
        await anyio.wait_all_tasks_blocked()
        oracle.gate.set()
    assert first == second == {"a": "A"}


async def test_an_error_is_its_askers_own() -> None:
    """A round that fails raises for one asker; the others ask again."""
    oracle, answers = Oracle(most=3), dict[str, str | None]()
    oracle.errors = [OSError("disk")]

    async def fails() -> None:
        with pytest.raises(OSError, match="disk"):
            await oracle.rounds.ask("a")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fails)
        tasks.start_soon(ask, oracle, "b", answers)
        await oracle.began.wait()
        await anyio.wait_all_tasks_blocked()
        oracle.gate.set()
    assert oracle.asked[-1][-1] == "b"
    assert answers == {"b": "B"}


async def test_a_cancelled_asker_takes_nobody_along() -> None:
    """Cancelled in the middle of its round, it leaves those that wait to ask for themselves."""
    oracle, answers = Oracle(), dict[str, str | None]()
    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def given_up() -> None:
            with scope:
                await oracle.rounds.ask("a")

        tasks.start_soon(given_up)
        await oracle.began.wait()
        tasks.start_soon(ask, oracle, "b", answers)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        oracle.gate.set()
    assert answers == {"b": "B"}
    assert oracle.asked == [["a"], ["b"]]


async def test_a_question_that_is_given_up_is_not_asked() -> None:
    """Cancelled while it waits for its round, it is forgotten."""
    oracle, answers = Oracle(), dict[str, str | None]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, oracle, "a", answers)
        await oracle.began.wait()
        with anyio.move_on_after(0):
            await oracle.rounds.ask("b")
        oracle.gate.set()
    assert oracle.asked == [["a"]]
    assert await oracle.rounds.ask("c") == "C"


@pytest.mark.parametrize("fails", [False, True])
async def test_who_gives_up_while_his_question_is_under_way_is_not_missed(fails: bool) -> None:
    """Found at the end of a drain: a worker was cancelled, and what came was no cancellation."""
    oracle, answers = Oracle(), dict[str, str | None]()
    if fails:
        oracle.errors.append(OSError("the disk is full"))
    raised: list[OSError] = []

    async def fails_once(name: str) -> None:
        try:
            await ask(oracle, name, answers)
        except OSError as error:
            raised.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, oracle, "first", answers)
        await oracle.began.wait()
        began, oracle.began = oracle.began, anyio.Event()
        assert began.is_set()
        async with anyio.create_task_group() as leaving:
            tasks.start_soon(fails_once, "a")
            await anyio.wait_all_tasks_blocked()
            leaving.start_soon(ask, oracle, "b", answers)
            tasks.start_soon(fails_once, "c")
            await anyio.wait_all_tasks_blocked()
            errors, oracle.errors = oracle.errors, []
            oracle.gate.set()
            oracle.gate = anyio.Event()
            await oracle.began.wait()  # the three are under way, asked by one of them
            oracle.errors = errors
            leaving.cancel_scope.cancel()
        oracle.gate.set()
    assert answers["first"] == "FIRST"
    assert set(answers) >= {"first"} | ({"a", "c"} if not fails else set())
    assert len(raised) <= 1
    assert not oracle.rounds._waiting
