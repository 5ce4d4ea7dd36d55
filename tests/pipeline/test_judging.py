"""Small tarballs written and judged in the examiner's process: the same is found as here."""

import hashlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import orjson
import pytest

from npmmirror.archive import DiskFaultError, TarballStore
from npmmirror.integrity import sri
from npmmirror.pipeline import examiner_process, examining
from npmmirror.pipeline.examiner_process import ExaminerDiedError, ExaminerProcess
from npmmirror.pipeline.intake import Claim, Intake, Judgement
from npmmirror.testing import ScriptedRegistry
from npmmirror.worker_threads import WorkerThreads
from tests.pipeline.test_examiner_process import served_here, the_child

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

NAME = "left-pad"


@pytest.fixture(scope="module")
def body() -> bytes:
    """A tarball."""
    registry = ScriptedRegistry()
    registry.publish(NAME, "1.0.0")
    return registry.tarball(NAME, "1.0.0")


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[ExaminerProcess]:
    """A process over an empty capture log."""
    async with ExaminerProcess(tmp_path) as started:
        yield started


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TarballStore]:
    """A store in which nothing is yet."""
    with WorkerThreads(1, "store") as threads:
        found = TarballStore(
            staging=tmp_path / "staging", packages=tmp_path / "packages", threads=threads
        )
        found.prepare_staging()
        yield found


def claim(body: bytes, **more: object) -> Claim:
    """What upstream says of it."""
    told = orjson.dumps({"name": NAME, "version": "1.0.0", **more})
    return Claim("1.0.0", None, sri(hashlib.sha512(body).hexdigest()), None, manifest=told)


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    """A body as it comes."""
    for start in range(0, len(body), 100):
        yield body[start : start + 100]


@pytest.mark.parametrize("case", ["right", "wrong", "confusion", "sha1", "unverifiable"])
async def test_it_judges_as_is_judged_here(
    process: ExaminerProcess, store: TarballStore, body: bytes, case: str
) -> None:
    """Digests, claim and `package.json`; the file has the bytes."""
    sha1 = hashlib.sha1(body, usedforsecurity=False).hexdigest()
    told = {
        "right": claim(body),
        "wrong": claim(b"other" + body),
        "confusion": claim(body, scripts={"install": "evil"}),
        "sha1": Claim("1.0.0", None, None, sha1),
        "unverifiable": Claim("1.0.0", None, None, None),
    }[case]
    found: list[Judgement] = []
    for token, judge in (("1", process), ("2", None)):
        intake = Intake(NAME, told, judge)
        staged = await store.receive(
            token, chunks(body), intake, max_bytes=1 << 20, elsewhere=intake.elsewhere
        )
        assert staged.path.read_bytes() == body
        assert staged.size == len(body)
        found.append(intake.judgement)
    assert found[0] == found[1]
    assert found[0].matches == (case != "wrong")
    assert found[0].unverifiable == (case == "unverifiable")
    assert bool(found[0].verdict) == (case == "wrong")


async def test_a_large_one_is_not_sent_there(
    process: ExaminerProcess, store: TarballStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written as it comes, in pieces, by the threads."""
    monkeypatch.setattr(ExaminerProcess, "take_in", None)
    large = bytes(3 << 20)
    intake = Intake(NAME, claim(large), process)
    staged = await store.receive(
        "1", chunks(large), intake, max_bytes=1 << 30, elsewhere=intake.elsewhere
    )
    assert intake.judgement.matches
    assert staged.path.stat().st_size == len(large)


async def test_an_empty_one_is_a_file_as_well(
    process: ExaminerProcess, store: TarballStore
) -> None:
    """Upstream may answer with nothing."""
    intake = Intake(NAME, claim(b"x"), process)
    staged = await store.receive(
        "1", chunks(b""), intake, max_bytes=100, elsewhere=intake.elsewhere
    )
    assert (staged.size, staged.path.read_bytes()) == (0, b"")
    assert not intake.judgement.matches


async def test_a_disk_that_refuses_there_is_told_here(
    process: ExaminerProcess, store: TarballStore, tmp_path: Path, body: bytes
) -> None:
    """As the disk's fault, and nothing is left of the file."""
    intake = Intake(NAME, claim(body), process)
    assert await intake.elsewhere(tmp_path / "first", [body])
    limits = resource.prlimit(the_child(), resource.RLIMIT_NOFILE)
    resource.prlimit(the_child(), resource.RLIMIT_NOFILE, (1, limits[1]))
    with pytest.raises(DiskFaultError):
        await store.receive(
            "1", chunks(body), intake, max_bytes=1 << 20, elsewhere=intake.elsewhere
        )
    assert not list((tmp_path / "staging").iterdir())
    resource.prlimit(the_child(), resource.RLIMIT_NOFILE, limits)
    assert await intake.elsewhere(tmp_path / "next", [body])


async def test_a_tarball_that_it_dies_over_leaves_nothing(
    process: ExaminerProcess, store: TarballStore, tmp_path: Path, body: bytes
) -> None:
    """Neither a file nor a process; the next one is judged by another."""
    await process.take_in(NAME, claim(body), tmp_path / "first", [body])
    os.kill(the_child(), signal.SIGSTOP)
    intake = Intake(NAME, claim(body), process)

    async def receive() -> None:
        with pytest.raises(ExaminerDiedError):
            await store.receive(
                "1", chunks(body), intake, max_bytes=1 << 20, elsewhere=intake.elsewhere
            )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        store.temp_path("1", ".tgz").write_bytes(body[:10])  # as far as it came
        os.kill(the_child(), signal.SIGKILL)
    assert not list((tmp_path / "staging").iterdir())
    found = await process.take_in(NAME, claim(body), tmp_path / "second", [body])
    assert found is not None
    assert found.matches


async def test_a_disk_that_hangs_there_is_the_disks_fault(
    process: ExaminerProcess, tmp_path: Path, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the tarball's, which uses up no attempt."""
    await process.take_in(NAME, claim(body), tmp_path / "first", [body])
    os.kill(the_child(), signal.SIGSTOP)
    with monkeypatch.context() as impatient, anyio.fail_after(30):
        impatient.setattr(examiner_process, "ANSWER_SECONDS", 0.1)
        with pytest.raises(DiskFaultError, match="no answer"):
            await process.take_in(NAME, claim(body), tmp_path / "second", [body])


async def test_one_that_cannot_be_killed_holds_nobody_up(
    process: ExaminerProcess, tmp_path: Path, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a disk does not die: the next question goes to another process."""
    await process.take_in(NAME, claim(body), tmp_path / "first", [body])
    stuck = the_child()
    os.kill(stuck, signal.SIGSTOP)
    with monkeypatch.context() as impatient, anyio.fail_after(30):
        impatient.setattr(examiner_process, "ANSWER_SECONDS", 0.1)
        impatient.setattr(process._wire, "_kill", lambda: None)
        with pytest.raises(DiskFaultError, match="no answer"):
            await process.take_in(NAME, claim(body), tmp_path / "second", [body])
    assert await process.take_in(NAME, claim(body), tmp_path / "second", [body])
    os.kill(stuck, signal.SIGKILL)


async def test_a_file_that_was_begun_before_is_begun_anew(
    process: ExaminerProcess, tmp_path: Path, body: bytes
) -> None:
    """A question that was lost with a process may have been worked on by it."""
    path = tmp_path / "begun"
    path.write_bytes(body + b"more")
    found = await process.take_in(NAME, claim(body), path, [body])
    assert found is not None
    assert path.read_bytes() == body


async def test_a_path_need_not_be_text(
    process: ExaminerProcess, tmp_path: Path, body: bytes
) -> None:
    """Directories have any bytes in their names."""
    path = tmp_path / os.fsdecode(b"\xff.tgz")
    assert await process.take_in(NAME, claim(body), path, [body])
    assert path.read_bytes() == body


async def test_a_name_that_no_message_can_hold_is_judged_here(
    process: ExaminerProcess, store: TarballStore, body: bytes
) -> None:
    """By the threads: the feed may have lone surrogates in it."""
    intake = Intake("odd\ud800", claim(body), process)
    staged = await store.receive(
        "1", chunks(body), intake, max_bytes=1 << 20, elsewhere=intake.elsewhere
    )
    assert intake.judgement.matches
    assert staged.path.read_bytes() == body


async def test_a_tarball_that_was_cut_short_is_not_written(tmp_path: Path, body: bytes) -> None:
    """The daemon died as it sent it."""
    path = tmp_path / "short"
    asked = examining.Brought(NAME, "1.0.0", None, None, None, os.fsencode(path))
    head = examining.encode(asked)
    with served_here() as wire:
        await wire.send(examining.LENGTHS.pack(len(head), len(body)) + head + body[:-1])
    assert not path.exists()


async def test_who_leaves_meanwhile_leaves_no_file(
    process: ExaminerProcess, store: TarballStore, tmp_path: Path, body: bytes
) -> None:
    """What the process writes after that is waited for, and removed."""
    intake = Intake(NAME, claim(body), process)
    os.kill(the_child(), signal.SIGSTOP)
    async with anyio.create_task_group() as tasks:

        async def receive() -> None:
            await store.receive(
                "1", chunks(body), intake, max_bytes=1 << 20, elsewhere=intake.elsewhere
            )

        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        os.kill(the_child(), signal.SIGCONT)
    await process.take_in(NAME, claim(body), tmp_path / "next", [body])
    with anyio.fail_after(30):  # a thread removes it
        while list((tmp_path / "staging").iterdir()):  # noqa: ASYNC110 - nothing tells of it
            await anyio.sleep(0.01)


async def test_without_a_process_it_is_judged_here(
    store: TarballStore, tmp_path: Path, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the threads, as large ones are."""
    monkeypatch.setattr(sys, "executable", "/nowhere")
    async with ExaminerProcess(tmp_path) as process:
        intake = Intake(NAME, claim(body), process)
        staged = await store.receive(
            "1", chunks(body), intake, max_bytes=1 << 20, elsewhere=intake.elsewhere
        )
    assert intake.judgement.matches
    assert staged.path.read_bytes() == body
