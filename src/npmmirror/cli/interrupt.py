"""Ctrl-C while a command works: the first ends it in good order and says so, the second at once."""

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, ClassVar, TypeVar

from npmmirror.cli.output import complain, is_live
from npmmirror.errors import NpmmirrorError

if TYPE_CHECKING:
    import anyio

T = TypeVar("T")

STATUS = 130
SECONDS = 2.0
"""How long an end may take that is asked for twice. Whatever is cut off then, is as after a kill."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedByUserError(NpmmirrorError):
    """Ctrl-C (or SIGTERM) ended the command before it had done what was asked for."""

    exit_status: ClassVar[int] = STATUS


def interrupted(rest: str) -> InterruptedByUserError:
    """What to raise once the work ended before its time; `rest` tells of what is not done."""
    return InterruptedByUserError(f"interrupted; {rest}" if rest else "interrupted")


class Interruption:
    """Whether an end was asked for, and what is to become of the work.

    By default the work is cancelled where it is. `rest` is what to tell of the part that is not
    done, behind "interrupted; ".
    """

    def __init__(
        self, cancel: Callable[[], None], call: Callable[[Callable[[], None]], object]
    ) -> None:
        self.rest = ""
        self.asked = False
        self._cancel = cancel
        self._call = call
        self._stop: Callable[[], None] | None = None
        self._cancelled = False

    @contextmanager
    def drains(self) -> Iterator["anyio.Event"]:
        """While in here, the first Ctrl-C sets the event, and what is in work comes to its end."""
        import anyio  # noqa: PLC0415 - keeps --help fast

        stop = anyio.Event()
        self._stop = stop.set
        try:
            yield stop
        finally:
            self._stop = None

    def strike(self, _number: int, _frame: FrameType | None) -> None:
        """A signal came. Runs between any two steps of the program: it only notes and passes on."""
        if self._cancelled:
            leave()
        elif self._stop is None or self.asked:
            self._cancelled = True
            self._call(self._cancel)
        else:
            self._call(self._stop)
            complain("stopping: what is in work is brought to its end; Ctrl-C again stops at once")
        if self.asked:
            # A thread that is deep in a file, or a disk that hangs, must not hold the terminal.
            timer = threading.Timer(SECONDS, leave)
            timer.daemon = True
            timer.start()
        self.asked = True


def leave() -> None:
    """End the process here and now."""
    if is_live(sys.stderr):
        os.write(2, b"\r\033[K\033[?25h")  # what was drawn goes, the cursor is seen again
    os._exit(STATUS)


def carry_out(work: Callable[[Interruption], Awaitable[T]]) -> T:
    """Do a command's work in an event loop of its own.

    Raises:
        InterruptedByUserError: it was cancelled.
    """
    import uvloop  # noqa: PLC0415 - keeps --help fast

    return uvloop.run(_guarded(work))


async def _guarded(work: Callable[[Interruption], Awaitable[T]]) -> T:
    import asyncio  # noqa: PLC0415 - keeps --help fast

    import anyio  # noqa: PLC0415 - as above

    results: list[T] = []
    with anyio.CancelScope() as scope:
        loop = asyncio.get_running_loop()
        interruption = Interruption(scope.cancel, loop.call_soon_threadsafe)
        before = {number: signal.signal(number, interruption.strike) for number in _SIGNALS}
        try:
            results.append(await work(interruption))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if not results:
        raise interrupted(interruption.rest)
    return results[0]


async def answer_to(question: str) -> str:
    """What a person types as an answer; "" at the end of the input. Ctrl-C is heeded meanwhile."""
    import anyio  # noqa: PLC0415 - keeps --help fast

    sys.stdout.write(f"{question} ")
    sys.stdout.flush()
    # A terminal hands over whole lines: once there is something to read, readline returns.
    try:
        await anyio.wait_readable(sys.stdin)
    except BaseException:
        sys.stdout.write("\n")  # the question stands on a line that nobody ended
        raise
    return sys.stdin.readline().strip()
