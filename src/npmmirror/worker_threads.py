"""The small pool of threads for what would hold up the event loop.

A plain executor: handing a call over costs a third of what `anyio.to_thread` costs, and these
calls are short and are never cancelled half-way.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class WorkerThreads:
    """A fixed number of threads; what is handed in waits its turn in order."""

    def __init__(self, count: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the call, made in a thread.

        On cancellation the wait ends and the call goes on: whoever owns what it writes to has to
        clean up behind it.
        """
        loop = asyncio.get_running_loop()
        if kwargs:
            return await loop.run_in_executor(self._executor, partial(call, *args, **kwargs))
        return await loop.run_in_executor(self._executor, call, *args)

    def close(self) -> None:
        """Wait for what is under way and let the threads go."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        """The pool itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()
