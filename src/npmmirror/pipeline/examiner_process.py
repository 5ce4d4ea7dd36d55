"""The process that examines documents and small tarballs, as the daemon sees it.

What costs CPU in Python holds up the event loop, in whichever thread it runs, because of the
interpreter's lock. And a document over which the interpreter dies takes that process with it, not
the daemon.
"""

import asyncio
import os
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Self, cast

import anyio
import structlog

from npmmirror.archive import DiskFaultError
from npmmirror.packument import NotAPackumentError
from npmmirror.pipeline.examiner import Finding, Question, log_damage
from npmmirror.pipeline.examiner_start import CLOSE_SECONDS, StartedExaminer
from npmmirror.pipeline.examining import (
    LENGTH,
    LENGTHS,
    Answered,
    Asked,
    Brought,
    Choice,
    Failed,
    Faulted,
    Refused,
    Reply,
    decode_reply,
    encode,
)
from npmmirror.pipeline.intake import Claim, Judgement
from npmmirror.policy import Settings

MOST_BYTES: Final = 1 << 20
"""Larger documents are examined by the daemon's threads: memory is bounded there."""
ANSWER_SECONDS: Final = 60.0
"""Who takes so long will never end, and is killed."""
DIED: Final = "examiner_died"
"""The reason where it died over a document or a tarball."""
STARTS: Final = 3
_LOOK_SECONDS: Final = 0.01

log = structlog.get_logger(__name__)


class ExaminerDiedError(Exception):
    """The process died over this document or tarball, or never came to its end (`stuck`)."""

    def __init__(self, *, stuck: bool = False) -> None:
        super().__init__()
        self.stuck = stuck


class ExaminerBugError(Exception):
    """What nobody foresaw, in the process. Its cause has the traceback of there as its message."""


class _LostError(Exception):
    """The process died over something else; this may be asked again."""


class ExaminerProcess:
    """Asks the child. An async context manager, used from one event loop.

    A child that died is started again with the next question. Where several in a row never were
    ready, there will be none: then all is examined where the daemon runs.

    Args:
        captures: the directory of the capture log.
        started: a child that was started before, to be the first; it is ended like any other.
    """

    def __init__(self, captures: Path, started: StartedExaminer | None = None) -> None:
        self._captures = captures
        self._started = started
        self._starting = anyio.Lock()
        self._wire: _Wire | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._failed_starts = 0
        self._is_usable = True

    async def __aenter__(self) -> Self:
        """It is started, and makes itself ready while the daemon does."""
        await self._connected()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """It ends with its connection."""
        self._is_usable = False
        if self._wire is not None:
            self._wire.close()
        with anyio.CancelScope(shield=True):
            for process in self._processes:
                await _ended(process)

    async def examine(
        self, document: bytes, question: Question, settings: Settings, rows: Sequence[str]
    ) -> tuple[Finding, Choice] | None:
        """What `Examiner.examine` finds, and what is to be fetched; None: it was not asked.

        Raises:
            NotAPackumentError, DiskFaultError: as `Examiner.examine`.
            ExaminerDiedError: it died over this document.
            ExaminerBugError: it met a bug.
        """
        reply = await self._answer(Asked(question, settings, tuple(rows)), [document])
        return None if reply is None else taken(reply, question.name)

    async def take_in(
        self, package: str, claim: Claim, path: Path, pieces: Sequence[bytes]
    ) -> Judgement | None:
        """See `npmmirror.pipeline.intake.Judge`. Once begun, it is waited for: a file is made.

        Raises:
            DiskFaultError: the disk refuses, or takes too long; a part of the file may be there.
            ExaminerDiedError, ExaminerBugError: as `examine`, of this tarball.
        """
        file = os.fsencode(path)
        asked = Brought(package, claim.version, claim.integrity, claim.shasum, claim.manifest, file)
        try:
            reply = await self._answer(asked, pieces, to_the_end=True)
        except ExaminerDiedError as died:
            if died.stuck:  # no tarball of this size takes so long, but a disk may
                raise DiskFaultError(f"no answer in {ANSWER_SECONDS:g} seconds: {path}") from died
            raise
        return None if reply is None else judged(reply)

    async def _answer(
        self, asked: Asked | Brought, pieces: Sequence[bytes], *, to_the_end: bool = False
    ) -> Reply | None:
        try:
            head = encode(asked)
        except UnicodeEncodeError:
            return None  # a name of the feed may hold a lone surrogate, which no message can
        message = (LENGTHS.pack(len(head), sum(map(len, pieces))), head, *pieces)
        while (wire := await self._connected()) is not None:
            with suppress(_LostError):
                return await wire.ask(message, to_the_end=to_the_end)
        return None

    async def _connected(self) -> "_Wire | None":
        if self._wire is None or self._wire.is_lost:
            async with self._starting:
                if self._wire is None or self._wire.is_lost:
                    await self._start()
        return self._wire if self._is_usable else None

    async def _start(self) -> None:
        if self._wire is not None:
            self._failed_starts = 0 if self._wire.was_ready else self._failed_starts + 1
        if self._failed_starts == STARTS:
            self._give_up(f"it ended {STARTS} times before it was ready")
        if not self._is_usable:
            return
        try:
            child, self._started = self._started or StartedExaminer(), None
        except OSError as error:
            self._give_up(str(error))
            return
        self._processes = [one for one in self._processes if one.poll() is None] + [child.process]
        captures = os.fsencode(self._captures)
        with suppress(BrokenPipeError):  # it has ended already, which is met when it is asked
            child.wire.sendall(LENGTH.pack(len(captures)) + captures)
        loop = asyncio.get_running_loop()
        wire = partial(_Wire, child.process.kill)
        _, self._wire = await loop.create_unix_connection(wire, sock=child.wire)

    def _give_up(self, error: str) -> None:
        if self._is_usable:
            log.error("examiner_unusable", error=error)
        self._is_usable = False


class _Wire(asyncio.Protocol):
    """One connection: questions go out together, answers come back in their order."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport
        self._answered_at = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._outgoing: list[bytes] = []
        self._received = bytearray()
        self._is_closing = False
        self._is_stuck = False
        self.was_ready = False
        self.is_lost = False

    async def ask(self, message: Sequence[bytes], *, to_the_end: bool) -> Reply:
        """The answer to a question. Who is cancelled waits for it `to_the_end` all the same.

        Raises:
            ExaminerDiedError: this question was the child's last.
            _LostError: another one was.
        """
        if self.is_lost:
            raise _LostError
        future: asyncio.Future[Reply] = self._loop.create_future()
        if not self._waiting:
            self._answered_at = self._loop.time()
        self._waiting.append(future)
        if self._alarm is None:
            self._alarm = self._loop.call_later(ANSWER_SECONDS, self._look)
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing += message
        if not to_the_end:
            return await future
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True), suppress(ExaminerDiedError, _LostError):
                await future
            raise

    def close(self) -> None:
        """Have the child end."""
        self._is_closing = True
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received += data
        start, received = 0, memoryview(self._received)
        while len(received) - start >= LENGTH.size:
            end = start + LENGTH.size + LENGTH.unpack_from(received, start)[0]
            if end > len(received):
                break
            self._take(received[start + LENGTH.size : end])
            start = end
        received.release()
        del self._received[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        del exc
        self.is_lost = True
        self._quiet()
        if not self._is_closing and self.was_ready:
            log.error("examiner_died", waiting=len(self._waiting))
        for place, future in enumerate(self._waiting):
            if not future.done():
                at_work = place == 0 and self.was_ready
                died = ExaminerDiedError(stuck=self._is_stuck)
                future.set_exception(died if at_work else _LostError())
        self._waiting.clear()

    def _look(self) -> None:
        """See that the answers keep coming."""
        left = self._answered_at + ANSWER_SECONDS - self._loop.time()
        if left > 0:
            self._alarm = self._loop.call_later(left, self._look)
        else:
            log.error("examiner_stuck", seconds=ANSWER_SECONDS)
            self._is_stuck = True
            self._kill()
            self._transport.abort()  # who waits for a disk does not even die

    def _quiet(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _flush(self) -> None:
        pieces, self._outgoing = self._outgoing, []
        if not self.is_lost:
            self._transport.writelines(pieces)

    def _take(self, message: memoryview) -> None:
        if not len(message):
            self.was_ready = True
            return
        self._answered_at = self._loop.time()
        future = self._waiting.popleft()
        if not self._waiting:
            self._quiet()
        if not future.done():
            future.set_result(decode_reply(message))


def taken(reply: Reply, name: str) -> tuple[Finding, Choice]:
    """What an answer about this package says; raises as `ExaminerProcess.examine`."""
    match reply:
        case Answered(finding, choice, damages):
            for error in damages:
                log_damage(name, error)
            return finding, choice
        case Refused(reason):
            raise NotAPackumentError(reason, name)
        case _:
            raise _fault(reply)


def judged(reply: Reply) -> Judgement:
    """What an answer about a tarball says; raises as `ExaminerProcess.take_in`."""
    if isinstance(reply, Judgement):
        return reply
    raise _fault(reply)


def _fault(reply: Reply) -> Exception:
    match reply:
        case Faulted(error):
            return DiskFaultError(error)
        case Failed(error, trace):
            bug = ExaminerBugError(error)
            bug.__cause__ = RuntimeError(f"in the examiner's process:\n{trace}")
            return bug
        case _:
            return ExaminerBugError(f"an answer to another question: {type(reply).__name__}")


async def _ended(process: subprocess.Popen[bytes]) -> None:
    if not await _ends(process):
        process.kill()
        await _ends(process)


async def _ends(process: subprocess.Popen[bytes]) -> bool:
    with anyio.move_on_after(CLOSE_SECONDS):
        while process.poll() is None:  # noqa: ASYNC110 - its end tells nobody
            await anyio.sleep(_LOOK_SECONDS)
        return True
    return False
