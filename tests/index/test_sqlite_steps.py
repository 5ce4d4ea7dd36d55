"""Many steps of a transaction in one passage through the connection's thread."""

import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from npmmirror.index.schema import KIND
from npmmirror.sqlite import Batch, Database, Transaction

pytestmark = pytest.mark.anyio

INSERT = Batch("INSERT INTO t VALUES {rows}", 1)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A file with one table of one column."""
    opened = await Database.open(tmp_path / "index.db", KIND)
    async with opened.transaction() as now:
        await now.run("CREATE TABLE t (x)")
    yield opened
    await opened.close()


async def numbers(database: Database) -> list[int]:
    """What is in the table."""
    async with database.moment() as now:
        return [number for (number,) in await now.rows("SELECT x FROM t ORDER BY x")]


async def test_all_steps_are_taken_in_the_connections_thread(database: Database) -> None:
    """Statements, rows that are made for them, and what is between them; the result comes back."""
    threads = set[str]()

    async def steps(now: Transaction) -> int:
        threads.add(threading.current_thread().name)
        changed = await now.run_batch(INSERT, ((number,) for number in range(1000)))
        changed += await now.run("INSERT INTO t VALUES (?)", (1000,))
        changed += await now.run_many("INSERT INTO t VALUES (?)", [(1001,), (1002,)])
        assert await now.row("SELECT count(*) FROM t") == (changed,)
        threads.add(threading.current_thread().name)
        return changed

    async with database.transaction() as now:
        assert await now.whole(steps) == 1003
    assert await numbers(database) == [*range(1003)]
    assert len(threads) == 1
    assert threads != {threading.current_thread().name}


async def test_an_error_in_a_step_undoes_all_of_them(database: Database) -> None:
    """It is raised where the steps were asked for, as the same error."""

    async def steps(now: Transaction) -> None:
        await now.run("INSERT INTO t VALUES (1)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as now:
            await now.whole(steps)
    assert await numbers(database) == []


async def test_a_step_that_waits_for_something_else_is_a_bug(database: Database) -> None:
    """There is no event loop in that thread: it is refused, and nothing is left half-done."""
    undone = list[str]()

    async def steps(now: Transaction) -> None:
        await now.run("INSERT INTO t VALUES (1)")
        try:
            await anyio.Event().wait()
        finally:
            undone.append("steps")

    with pytest.raises(RuntimeError):
        async with database.transaction() as now:
            await now.whole(steps)
    assert undone == ["steps"]
    assert await numbers(database) == []


async def test_a_question_sees_one_committed_state(database: Database, tmp_path: Path) -> None:
    """What another connection commits between two of its queries is not in the second one."""

    async def question(now: Transaction) -> tuple[int, int]:
        [(before,)] = await now.rows("SELECT count(*) FROM t")
        with closing(sqlite3.connect(tmp_path / "index.db")) as other, other:
            other.execute("INSERT INTO t VALUES (1)")
        [(after,)] = await now.rows("SELECT count(*) FROM t")
        return before, after

    assert await database.ask(question) == (0, 0)
    assert await numbers(database) == [1]


async def test_a_question_that_fails_leaves_no_transaction_behind(database: Database) -> None:
    """Its error is the asker's own, and the next one begins anew."""

    async def question(now: Transaction) -> None:
        await now.rows("SELECT count(*) FROM t")
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await database.ask(question)
    async with database.transaction() as now:
        await now.run("INSERT INTO t VALUES (1)")
    assert await numbers(database) == [1]
