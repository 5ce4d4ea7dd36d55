"""Calls made in threads, their results brought back to the loop."""

import asyncio
import gc
import threading
import weakref
from contextvars import ContextVar

import anyio
import pytest

from npmmirror.worker_threads import WorkerThreads

pytestmark = pytest.mark.anyio


class Thing:
    """Something that can be watched for its end."""


def held(event: threading.Event) -> str:
    """A call that lasts until it is let go."""
    event.wait(30)
    return "held"


async def test_results_and_arguments_pass() -> None:
    """Positional ones and named ones."""
    with WorkerThreads(2, "test") as threads:
        assert await threads.run(sorted, [2, 1, 3], reverse=True) == [3, 2, 1]
        name = await threads.run(lambda: threading.current_thread().name)
    assert name.startswith("test_")


async def test_errors_pass() -> None:
    """With their traceback, to whoever made the call, and to nobody else."""
    with WorkerThreads(1, "test") as threads:
        with pytest.raises(ZeroDivisionError):
            await threads.run(divmod, 1, 0)
        assert await threads.run(divmod, 7, 2) == (3, 1)


async def test_stop_iteration_is_told_in_other_words() -> None:
    """No future takes it; delivering it must not lose the results behind it."""
    with WorkerThreads(1, "test") as threads, pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(next, iter(()))


async def test_many_calls_at_once_all_come_back() -> None:
    """None is lost between a delivery that ends and a result that comes just then."""
    with WorkerThreads(2, "test") as threads:
        numbers = await asyncio.gather(*(threads.run(abs, -n) for n in range(3000)))
    assert numbers == [*range(3000)]


async def test_calls_wait_their_turn_in_order() -> None:
    """One thread makes them one after the other."""
    made: list[int] = []
    with WorkerThreads(1, "test") as threads:
        await asyncio.gather(*(threads.run(made.append, number) for number in range(50)))
    assert made == [*range(50)]


async def test_the_loop_goes_on_meanwhile() -> None:
    """A call that is long holds up neither the loop nor another thread."""
    release = threading.Event()
    with WorkerThreads(2, "test") as threads:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(threads.run, held, release)
            assert await threads.run(abs, -1) == 1
            release.set()


async def test_a_cancelled_wait_leaves_the_call_alone() -> None:
    """It goes on to its end, and its result is nobody's."""
    began, release, ended = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        began.set()
        release.wait(30)
        ended.set()

    with WorkerThreads(1, "test") as threads:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(threads.run, call)
            await anyio.to_thread.run_sync(began.wait, 30)
            tasks.cancel_scope.cancel()
        assert not ended.is_set()
        release.set()
        assert await threads.run(ended.is_set)


async def test_a_call_cancelled_before_its_turn_is_never_made() -> None:
    """Who gave up wants nothing written any more."""
    release, made = threading.Event(), list[int]()
    with WorkerThreads(1, "test") as threads:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(threads.run, held, release)
            await anyio.wait_all_tasks_blocked()
            with anyio.move_on_after(0):
                await threads.run(made.append, 1)
            release.set()
        await threads.run(made.append, 2)
    assert made == [2]


async def test_closing_waits_for_the_call_under_way_and_drops_the_others() -> None:
    """What waited is told so."""
    began, never = threading.Event(), threading.Event()
    made: list[str] = []

    def call() -> None:
        began.set()
        while not threads._closed:
            never.wait(0.001)
        made.append("under way")

    threads = WorkerThreads(1, "test")
    under_way = asyncio.ensure_future(threads.run(call))
    waiting = asyncio.ensure_future(threads.run(made.append, "waiting"))
    await anyio.to_thread.run_sync(began.wait, 30)
    await anyio.to_thread.run_sync(threads.close)
    await under_way
    assert made == ["under way"]
    with pytest.raises(RuntimeError, match="ended"):
        await waiting
    with pytest.raises(RuntimeError, match="ended"):
        await threads.run(abs, -1)


async def test_nothing_is_kept_of_a_call() -> None:
    """A body of many megabytes must not lie in an idle thread until the next call."""
    with WorkerThreads(1, "test") as threads:
        thing = Thing()
        gone = weakref.ref(thing)
        await threads.run(id, thing)
        del thing
        await threads.run(gc.collect)
        assert gone() is None


async def test_a_call_has_the_context_of_whoever_made_it() -> None:
    """So that its lines in the log are bound to the package that it is made for."""
    bound = ContextVar("bound", default="nothing")
    with WorkerThreads(1, "test") as threads:
        bound.set("left-pad")
        assert await threads.run(bound.get) == "left-pad"
