"""Documents examined in a process of their own: the same is found, and nobody else is hurt."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from npmmirror.archive import CaptureLog, CaptureReader, PayloadEncoder, records
from npmmirror.capture import Chain, Location
from npmmirror.effects import Known
from npmmirror.manifest import Dist
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.pipeline import examiner_process, examiner_start, examining
from npmmirror.pipeline.examiner import Examiner, Finding, Question
from npmmirror.pipeline.examiner_process import (
    ExaminerBugError,
    ExaminerDiedError,
    ExaminerProcess,
)
from npmmirror.pipeline.examiner_start import StartedExaminer
from npmmirror.pipeline.examining import Choice
from npmmirror.policy import Settings
from tests.core.documents import NAME, NEWER, SINCE, document, first

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

AT = "2026-11-22T10:00:00.000000Z"
ONE = bytes(document("1.0.0").raw)
TWO = bytes(document("1.0.0", "1.1.0", rev="2-b", modified=NEWER).raw)
QUESTION = Question(NAME, following_since=SINCE)
PARENT = """
import sys, uvloop, anyio
from pathlib import Path
from npmmirror.pipeline.examiner_process import ExaminerProcess

async def main():
    async with ExaminerProcess(Path(sys.argv[1])) as process:
        while not process._wire.was_ready:
            await anyio.sleep(0.01)
        print("ready", flush=True)
        await anyio.sleep_forever()

uvloop.run(main())
"""


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[ExaminerProcess]:
    """A process over an empty capture log."""
    async with ExaminerProcess(tmp_path) as started:
        yield started


def children(pid: int | None = None) -> list[int]:
    """The processes that a process (this one) has started and not seen the end of."""
    parent = pid or os.getpid()
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def the_child() -> int:
    """The examiner's process."""
    [pid] = filter(is_examiner, children())
    return pid


def is_examiner(pid: int) -> bool:
    """Whether there is such a process, and what it is."""
    try:
        return examining.__name__.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


async def lost(process: ExaminerProcess) -> None:
    """Return once it is known that the child is gone."""
    while process._wire is not None and not process._wire.is_lost:  # noqa: ASYNC110 - tells nobody
        await anyio.sleep(0.01)


async def found(process: ExaminerProcess, raw: bytes = ONE) -> tuple[Finding, Choice]:
    """What the process finds out of a document seen for the first time."""
    answer = await process.examine(raw, QUESTION, Settings("new"), ())
    assert answer is not None
    return answer


def captured(captures: Path, raw: bytes) -> Known:
    """What the index knows of a package whose document is in the capture log."""
    payload = PayloadEncoder().encode(raw, None, CaptureReader(captures))
    with CaptureLog.open(captures) as log:
        appended = log.append(records.packument(AT, NAME, payload))
        log.write()
        log.sync()
    known = first(document("1.0.0"))
    chain = Chain(0, {0: appended.place})
    return replace(known, place=appended.place, sha256=payload.sha256, chain=chain)


async def test_it_finds_what_is_found_here(tmp_path: Path) -> None:
    """A first document, and its successor as a delta, with a changed manifest in it."""
    known = captured(tmp_path, ONE)
    changed = TWO.replace(b'"MIT"', b'"ISC"')
    later = Question(NAME, known, "2-b", SINCE)
    findings: list[Finding] = []
    async with ExaminerProcess(tmp_path) as process:
        with CaptureReader(tmp_path) as reader:
            here = Examiner(reader, PayloadEncoder())
            for raw, question in ((ONE, QUESTION), (changed, later), (ONE, later)):
                answer = await process.examine(raw, question, Settings("new"), ())
                assert answer is not None
                findings.append(answer[0])
                assert answer[0] == here.examine(raw, question)[0]
    assert [finding.stale for finding in findings] == [False, False, True]
    assert findings[1].payload is not None
    assert findings[1].payload.base is not None


def test_it_gets_ready_without_the_configuration() -> None:
    """Whose libraries take a third of its start, in which each document waits for it."""
    program = f"import sys, {examining.__name__}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    imported = set(done.stdout.decode().split())
    assert "npmmirror.policy" in imported
    assert imported.isdisjoint({"npmmirror.config", "pydantic", "aiohttp"})


async def test_it_chooses_by_the_policy(tmp_path: Path) -> None:
    """And tells where the tarballs are that the work list asks for, as far as they are there."""
    async with ExaminerProcess(tmp_path) as process:
        answer = await process.examine(TWO, QUESTION, Settings("latest"), ("1.0.0", "9.9.9"))
    assert answer is not None
    dists = {
        version: Dist(f"https://registry.example/{version}.tgz", "0" * 40)
        for version in ("1.1.0", "1.0.0")
    }
    raw = Packument.parse(TWO, name=NAME).versions
    assert answer[1] == Choice(("1.1.0",), dists, {one: bytes(raw[one]) for one in dists})


async def test_what_is_no_document_is_refused(process: ExaminerProcess) -> None:
    """With the reason that is found here."""
    with pytest.raises(NotAPackumentError) as caught:
        await found(process, b"<html>")
    assert caught.value.reason == "html"
    assert (await found(process))[0].rev == "1-a"


async def test_a_damaged_record_is_told_by_the_daemon(
    process: ExaminerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """The document that a changed manifest would be held against cannot be read."""
    known = replace(first(document("1.0.0")), place=Location(7, 300))
    changed = Question(NAME, known, None, SINCE)
    answer = await process.examine(TWO.replace(b'"MIT"', b'"ISC"'), changed, Settings("new"), ())
    assert answer is not None
    assert answer[0].effects is not None
    assert "capture_damaged" in capsys.readouterr().out


async def test_every_one_of_many_gets_his_own_answer(process: ExaminerProcess) -> None:
    """Asked all at once, some of them leave, and one document is as large as is passed."""
    revs: list[str | None] = []

    async def ask(number: int) -> None:
        large = b" " * (examiner_process.MOST_BYTES - len(ONE)) if number == 3 else b""
        finding, _ = await found(process, ONE.replace(b"1-a", b"%d-a" % number) + large)
        revs.append(finding.rev)

    async def leave() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await found(process)

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(ask, number)
            tasks.start_soon(leave)
    assert revs == [f"{number}-a" for number in range(40)]


async def test_only_whose_document_it_died_over_is_told(process: ExaminerProcess) -> None:
    """The others are answered by the next process."""
    await found(process)
    os.kill(the_child(), signal.SIGSTOP)
    ends: dict[int, Finding | Exception] = {}

    async def ask(number: int) -> None:
        try:
            ends[number] = (await found(process))[0]
        except ExaminerDiedError as error:
            ends[number] = error

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(ask, number)
        await anyio.wait_all_tasks_blocked()
        os.kill(the_child(), signal.SIGKILL)
    assert isinstance(ends[0], ExaminerDiedError)
    assert [getattr(ends[number], "rev", None) for number in (1, 2)] == ["1-a", "1-a"]


async def test_one_that_dies_idle_is_started_again(process: ExaminerProcess) -> None:
    """Nobody is told."""
    await found(process)
    first_one = the_child()
    os.kill(first_one, signal.SIGKILL)
    await lost(process)
    assert (await found(process))[0].rev == "1-a"
    assert the_child() != first_one


async def test_one_that_was_started_before_is_taken(tmp_path: Path) -> None:
    """And ends like any other; the next one is made as ever."""
    with StartedExaminer() as early:
        for number in (signal.SIGINT, signal.SIGTERM):
            early.process.send_signal(number)  # a stop that comes before it could ignore it
        async with ExaminerProcess(tmp_path, early) as process:
            await found(process)
            assert the_child() == early.process.pid
            os.kill(early.process.pid, signal.SIGKILL)
            await lost(process)
            await found(process)
            assert the_child() != early.process.pid
    assert not list(filter(is_examiner, children()))


def test_one_that_nobody_takes_leaves_nothing_behind() -> None:
    """The configuration may be refused, or the directory be another's."""
    with StartedExaminer() as early:
        pass
    assert early.process.returncode == -signal.SIGKILL
    assert early.wire.fileno() == -1


def test_one_that_does_not_die_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that waits for a disk cannot be killed, and the daemon is to end all the same."""
    with monkeypatch.context() as stuck, StartedExaminer() as early:

        def wait(timeout: float | None = None) -> int:
            assert timeout is not None
            raise subprocess.TimeoutExpired("examiner", timeout)

        stuck.setattr(early.process, "wait", wait)
    assert early.process.wait(30) == -signal.SIGKILL


def test_one_that_is_told_nothing_ends_in_silence() -> None:
    """The daemon may die before it has said where the captures are."""
    for said in (b"", b"\0\0", b"\0\0\0\7/tmp"):
        with StartedExaminer() as early:
            early.wire.sendall(said)
            early.wire.close()
            assert early.process.wait(30) == 0


def test_the_program_that_is_started_is_the_examiners() -> None:
    """Whoever starts it must not import it."""
    assert examining.__name__ == examiner_start.PROGRAM


async def test_one_that_never_answers_is_killed(
    process: ExaminerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document may have no end for whoever examines it."""
    await found(process)
    os.kill(the_child(), signal.SIGSTOP)
    with monkeypatch.context() as impatient, anyio.fail_after(30):
        impatient.setattr(examiner_process, "ANSWER_SECONDS", 0.1)
        with pytest.raises(ExaminerDiedError):
            await found(process)
    assert (await found(process))[0].rev == "1-a"


async def test_one_that_never_gets_ready_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Python cannot be started a second time, documents are examined here."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    async with ExaminerProcess(tmp_path) as process:
        assert await process.examine(ONE, QUESTION, Settings("new"), ()) is None
    monkeypatch.setattr(sys, "executable", "/nowhere")
    async with ExaminerProcess(tmp_path) as process:
        assert await process.examine(ONE, QUESTION, Settings("new"), ()) is None


async def test_a_name_that_no_message_can_hold_is_examined_here(process: ExaminerProcess) -> None:
    """The feed may have lone surrogates in it; that is no bug, and no fault of the process."""
    assert await process.examine(ONE, Question("odd\ud800"), Settings("new"), ()) is None
    assert (await found(process))[0].rev == "1-a"


async def test_a_bug_there_is_told_here(
    process: ExaminerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the traceback of there."""
    del process

    def buggy(self: Examiner, raw: bytes, question: Question) -> None:
        del self, raw, question
        raise ZeroDivisionError("over there")

    monkeypatch.setattr(Examiner, "examine", buggy)
    with served_here() as wire:
        asked = examining.encode(examining.Asked(QUESTION, Settings("new"), ()))
        await wire.send(examining.LENGTHS.pack(len(asked), 2) + asked + b"{}")
        reply = await wire.reply()
    with pytest.raises(ExaminerBugError, match="over there") as caught:
        examiner_process.taken(reply, NAME)
    assert "in buggy" in str(caught.value.__cause__)


class Wire:
    """The daemon's end of a connection."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._ready = end.recv(examining.LENGTH.size)

    async def send(self, message: bytes) -> None:
        """To the child."""
        await asyncio.to_thread(self._end.sendall, message)

    async def reply(self) -> examining.Reply:
        """Of the child."""
        stream = self._end.makefile("rb")
        (length,) = examining.LENGTH.unpack(await asyncio.to_thread(stream.read, 4))
        reply: examining.Reply = examining.decode_reply(
            await asyncio.to_thread(stream.read, length)
        )
        return reply


@contextmanager
def served_here() -> Iterator[Wire]:
    """The child's work, done by a thread of this process."""
    ours, theirs = socket.socketpair()
    child = examining.Child(theirs, CaptureReader(Path()))
    thread = threading.Thread(target=child.serve)
    thread.start()
    with theirs, ours:
        yield Wire(ours)
        ours.shutdown(socket.SHUT_RDWR)
        thread.join()


async def test_it_ends_with_a_daemon_that_is_killed(tmp_path: Path) -> None:
    """No orphan is left."""
    async with await anyio.open_process(
        [sys.executable, "-c", PARENT, str(tmp_path)], stderr=None
    ) as daemon:
        assert daemon.stdout is not None
        assert (await daemon.stdout.receive()).startswith(b"ready")
        [pid] = children(daemon.pid)
        os.kill(pid, signal.SIGSTOP)  # it need not look at its connection for that
        daemon.kill()
    with anyio.fail_after(30):
        while is_examiner(pid):  # noqa: ASYNC110 - it has no parent that could be asked
            await anyio.sleep(0.01)


async def test_what_stops_the_daemon_does_not_end_it(process: ExaminerProcess) -> None:
    """Ctrl-C, and a service's stop, reach every process; the daemon has yet to drain."""
    await found(process)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(the_child(), number)
    assert (await found(process))[0].rev == "1-a"
