"""What the buffer holds becomes jobs, each change once."""

from collections.abc import Sequence
from typing import Any, cast

import anyio
import pytest
from anyio.streams.memory import MemoryObjectSendStream

from npmmirror.buffer.memory import MemoryBuffer
from npmmirror.change import Change
from npmmirror.pipeline.feed import Feed
from npmmirror.pipeline.gate import Gate
from npmmirror.pipeline.handout import Handout
from npmmirror.pipeline.job import Job, Passed, Result
from npmmirror.pipeline.watermark import Watermark
from tests.pipeline.conftest import ManualClock

pytestmark = pytest.mark.anyio


class NothingFinished:
    """An index that knows of no finished change."""

    async def finished(self, _names: Sequence[str]) -> dict[str, tuple[str | None, bool]]:
        return {}


def feeding(
    clock: ManualClock, jobs: Handout, results: MemoryObjectSendStream[Result], gate: Gate
) -> Feed:
    return Feed(
        jobs,
        results,
        gate,
        cast("Any", NothingFinished()),
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
    send_jobs, receive_jobs = anyio.create_memory_object_stream[Job](100)
    send_results, receive_results = anyio.create_memory_object_stream[Result](100)
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
    send_jobs, receive_jobs = anyio.create_memory_object_stream[Job](100)
    send_results, receive_results = anyio.create_memory_object_stream[Result](100)
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
        assert receive_results.statistics().current_buffer_used == 0
        assert len(watermark) == 1
