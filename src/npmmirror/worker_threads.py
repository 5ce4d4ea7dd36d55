"""The small pool of threads for what would hold up the event loop.

A change takes several short calls. An executor makes two futures for each, and each result wakes
the loop by itself: 13 us a call. Here results that are ready at the same time come back together:
4 us. `anyio.to_thread` costs three times what an executor does.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Future = asyncio.Future[Any]
_Call = tuple[_Future, Callable[..., Any], tuple[Any, ...]]

_ENDED = "the worker threads have ended"


class WorkerThreads:
    """A fixed number of threads; what is handed in waits its turn in order.

    Used from one event loop. A context manager. `patience` are the seconds that a call which
    hangs is waited for at the end; then its thread is left behind, and ends with the process.
    """

    def __init__(self, count: int, name: str, *, patience: float | None = None) -> None:
        self._patience = patience
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._results: deque[tuple[_Future, Any, BaseException | None]] = deque()
        self._delivery_comes = False
        self._closed = False
        self._threads = [
            Thread(target=self._work, name=f"{name}_{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the call, made in a thread.

        On cancellation the wait ends, and a call that has begun goes on: whoever owns what it
        writes to has to clean up behind it.

        Raises:
            RuntimeError: the threads were let go before the call began.
        """
        if self._closed:
            raise RuntimeError(_ENDED)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        made = partial(call, **kwargs) if kwargs else call
        # In the caller's context, so that lines of the log have the package that it works on.
        self._calls.put((future, copy_context().run, (made, *args)))
        return await future

    def close(self) -> None:
        """Wait for what is under way and let the threads go; what waits for its turn is dropped."""
        self.dismiss()
        deadline = time.monotonic() + (self._patience or 0.0)
        for thread in self._threads:
            left = None if self._patience is None else max(deadline - time.monotonic(), 0.0)
            thread.join(left)

    def dismiss(self) -> None:
        """Let the threads go without waiting for them."""
        self._closed = True
        for _ in self._threads:
            self._calls.put(None)

    @property
    def alive(self) -> bool:
        """Whether any thread is there still."""
        return any(thread.is_alive() for thread in self._threads)

    def __enter__(self) -> Self:
        """The pool itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()

    def _work(self) -> None:
        """In a thread: make calls until told to end."""
        # A thread that wakes up must not push the event loop from its processor: it would only
        # wait there for the interpreter's lock, which the loop holds.
        with suppress(AttributeError, OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        while (call := self._calls.get()) is not None:
            if not call[0].cancelled():
                self._keep(call[0], *self._made(call[1], call[2]))
            del call  # what it works on may be large, and the next one may be long in coming

    def _made(
        self, call: Callable[..., Any], args: tuple[Any, ...]
    ) -> tuple[Any, BaseException | None]:
        if self._closed:
            return None, RuntimeError(_ENDED)
        try:
            return call(*args), None
        except StopIteration as error:
            told = RuntimeError("the call raised StopIteration, which no future takes")
            told.__cause__ = error
            return None, told
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
            return None, error

    def _keep(self, future: _Future, result: Any, error: BaseException | None) -> None:
        self._results.append((future, result, error))
        # In this order: a delivery under way sees the result, or one that is asked for now does.
        if not self._delivery_comes:
            self._delivery_comes = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        """In the event loop: hand over every result that is ready."""
        self._delivery_comes = False
        while self._results:
            future, result, error = self._results.popleft()
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
