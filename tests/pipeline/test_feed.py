"""What the buffer holds becomes jobs, each change once."""

from collections.abc import Sequence
from typing import Any, cast

import anyio
import pytest

from npmmirror.buffer.memory import MemoryBuffer
from npmmirror.change import Change
from npmmirror.outcome import Mirrored
from npmmirror.pipeline.channel import Sender, open_channel
from npmmirror.pipeline.feed import Feed
from npmmirror.pipeline.gate import Gate
from npmmirror.pipeline.handout import Handout
from npmmirror.pipeline.job import Done, Job, Passed, Result
from npmmirror.pipeline.watermark import Watermark
from tests.pipeline.conftest import ManualClock

pytestmark = pytest.mark.anyio


class NothingFinished:
    """An index that knows some packages, and of no finished change."""

    def __init__(self, *known: str) -> None:
        self.known = known

    async def finished(self, _names: Sequence[str]) -> dict[str, tuple[str | None, bool] | None]:
        await self.meanwhile()
        return dict.fromkeys(self.known)

    async def meanwhile(self) -> None:
        """What happens behind the snapshot that the answer is of."""


def feeding(
    clock: ManualClock,
    jobs: Handout,
    results: Sender[Result],
    gate: Gate,
    index: NothingFinished | None = None,
) -> Feed:
    return Feed(
        jobs,
        results,
        gate,
        cast("Any", index or NothingFinished()),
        clock,
        workers=8,
        work_share=0.25,
        tarballs_per_job=5,
    )


async def offered(
    clock: ManualClock, pages: Sequence[Sequence[Change]], *, jobs: int
) -> tuple[list[Job], set[int]]:
    """The jobs that come of these pages, and the tickets that are passed without one."""
    buffer = MemoryBuffer()
    watermark = Watermark(buffer, await buffer.end())
    for page in pages:
        await buffer.append(page, observed_at="now", source="feed")
    send_jobs: Sender[Job]
    send_jobs, receive_jobs = open_channel(100)
    send_results: Sender[Result]
    send_results, receive_results = open_channel(100)
    gate = Gate()
    feed = feeding(clock, Handout(send_jobs, lambda _: False), send_results, gate)
    found: list[Job] = []
    passed: set[int] = set()
    with send_jobs, receive_jobs, send_results, receive_results:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.read_buffer, buffer, watermark)
            with anyio.fail_after(10):
                while len(found) < jobs:
                    job = await receive_jobs.receive()
                    job.sent = True
                    found.append(job)
                result = await receive_results.receive()
            assert isinstance(result, Passed)
            passed.update(result.tickets)
            tasks.cancel_scope.cancel()
    assert gate.waiting == 0
    return found, passed


async def test_a_page_that_lies_in_the_buffer_twice_is_worked_off_once(clock: ManualClock) -> None:
    """Seen where a package killed the process: its change came again before it was finished."""
    page = [Change(1, "a", "1-a"), Change(2, "b", "1-b")]
    jobs, passed = await offered(clock, [page, page], jobs=2)
    assert [job.package for job in jobs] == ["a", "b"]
    assert [job.tickets for job in jobs] == [[0], [1]]
    assert passed == {2, 3}


async def test_design_documents_need_no_work(clock: ManualClock) -> None:
    """Their ids start with an underscore."""
    page = [Change(1, "_design/app", "1-a"), Change(2, "a", "1-a")]
    jobs, passed = await offered(clock, [page], jobs=1)
    assert [job.package for job in jobs] == ["a"]
    assert passed == {0}


async def test_what_was_offered_for_another_watermark_is_offered_again(clock: ManualClock) -> None:
    """The buffer was lost while a change was in work: its old ticket is worth nothing."""
    buffer = MemoryBuffer()
    start = await buffer.end()
    await buffer.append([Change(1, "a", "1-a")], observed_at="now", source="feed")
    send_jobs: Sender[Job]
    send_jobs, receive_jobs = open_channel(100)
    send_results: Sender[Result]
    send_results, receive_results = open_channel(100)
    gate = Gate()
    feed = feeding(clock, Handout(send_jobs, lambda _: False), send_results, gate)
    with send_jobs, receive_jobs, send_results, receive_results, anyio.fail_after(10):
        earlier = Watermark(buffer, start)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.read_buffer, buffer, earlier)
            job = await receive_jobs.receive()
            job.sent = True
            tasks.cancel_scope.cancel()
        watermark = Watermark(buffer, start, after=earlier)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.read_buffer, buffer, watermark)
            while not gate.waiting:
                await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        with pytest.raises(anyio.WouldBlock):
            receive_results.receive_nowait()
        assert len(watermark) == 1


async def first_job(
    clock: ManualClock, index: NothingFinished, done: Sequence[Job] = (), *, late: bool = False
) -> Job:
    """The job of a change of `a`, offered after (or, `late`, while) others are committed."""
    buffer = MemoryBuffer()
    watermark = Watermark(buffer, await buffer.end())
    await buffer.append([Change(1, "a", "1-a")], observed_at="now", source="feed")
    send_jobs: Sender[Job]
    send_jobs, receive_jobs = open_channel(100)
    send_results: Sender[Result]
    send_results, receive_results = open_channel(100)
    gate = Gate()
    feed = feeding(clock, Handout(send_jobs, lambda _: False), send_results, gate, index)
    for job in done:
        assert gate.admit(job)

    async def commit() -> None:
        feed.committed([Done(job, Mirrored(changed=True), "now") for job in done])

    if late:
        index.meanwhile = commit  # type: ignore[method-assign]  # what else happens is the test's
    else:
        await commit()
    with send_jobs, receive_jobs, send_results, receive_results, anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.read_buffer, buffer, watermark)
            found = await receive_jobs.receive()
            tasks.cancel_scope.cancel()
    return found


async def test_a_package_that_the_index_does_not_know_is_unseen(clock: ManualClock) -> None:
    """So that nothing is asked about it."""
    assert (await first_job(clock, NothingFinished("b"))).unseen
    assert not (await first_job(clock, NothingFinished("a"))).unseen


async def test_what_is_committed_while_the_index_answers_is_seen(clock: ManualClock) -> None:
    """The answer may be of before."""
    assert not (await first_job(clock, NothingFinished(), [Job("a")], late=True)).unseen
