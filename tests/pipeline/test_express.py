"""What a client waits for passes by what nobody waits for, and is done once."""

from contextlib import ExitStack
from typing import Any, cast

import anyio
import pytest

from npmmirror.outcome import Mirrored
from npmmirror.pipeline.channel import Receiver, Sender, open_channel
from npmmirror.pipeline.feed import Feed
from npmmirror.pipeline.gate import Gate
from npmmirror.pipeline.handout import Handout
from npmmirror.pipeline.job import Done, Job, Result
from npmmirror.policy import Want
from tests.pipeline.conftest import ManualClock

pytestmark = pytest.mark.anyio


class Made:
    """A feed with nobody who takes its jobs, and both ways on which they go."""

    def __init__(self, stack: ExitStack, clock: ManualClock, *suspects: str) -> None:
        self.gate = Gate()
        send_jobs: Sender[Job]
        send_express: Sender[Job]
        send_results: Sender[Result]
        send_jobs, self.jobs = open_channel(0)
        send_express, self.express = open_channel(0)
        send_results, results = open_channel(9)
        for end in (send_jobs, self.jobs, send_express, self.express, send_results, results):
            stack.enter_context(end)
        self.handout = Handout(send_jobs, suspects.__contains__, express=send_express)
        self.feed = Feed(
            self.handout,
            send_results,
            self.gate,
            cast("Any", None),
            clock,
            workers=2,
            work_share=0.5,
            tarballs_per_job=5,
        )


async def taken(way: Receiver[Job]) -> Job:
    """The next job on a way."""
    with anyio.fail_after(10):
        return await way.receive()


async def test_an_express_job_has_a_way_of_its_own(clock: ManualClock) -> None:
    """Though one stands on the other that nobody takes."""
    with ExitStack() as stack:
        made = Made(stack, clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.feed.submit, Job("slow"))
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(made.feed.submit, Job("a", express=True))
            assert (await taken(made.express)).package == "a"
            tasks.cancel_scope.cancel()


async def test_a_job_that_waits_for_a_worker_is_hurried(clock: ManualClock) -> None:
    """By an express one of its package, which joined it; both ways lead to the same job."""
    with ExitStack() as stack:
        made = Made(stack, clock)
        first = Job("a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.feed.submit, first)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(made.feed.submit, Job("a", express=True))
            assert await taken(made.express) is first
            assert await taken(made.jobs) is first


async def test_a_suspect_is_not_hurried(clock: ManualClock) -> None:
    """What may kill the process passes alone, whoever waits for it."""
    with ExitStack() as stack:
        made = Made(stack, clock, "bad")
        first = Job("bad")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.feed.submit, first)
            await anyio.wait_all_tasks_blocked()
            await made.feed.submit(Job("bad", express=True))
            with pytest.raises(anyio.WouldBlock):
                made.express.receive_nowait()
            tasks.cancel_scope.cancel()


async def test_an_express_job_behind_one_in_work_goes_its_way_after_the_commit(
    clock: ManualClock,
) -> None:
    """Not behind other jobs that were promoted before."""
    with ExitStack() as stack:
        made = Made(stack, clock)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.feed.send_promoted)
            running = [Job("slow"), Job("a")]
            for job in running:
                made.gate.admit(job)
                job.sent = True
            await made.feed.submit(Job("slow"))
            await made.feed.submit(Job("a", express=True))
            made.feed.committed([Done(job, Mirrored(), "now") for job in running])
            assert (await taken(made.express)).package == "a"
            tasks.cancel_scope.cancel()


def test_a_light_job_wants_the_document_alone_until_somebody_wants_more() -> None:
    """A change, a person's wish, or a row that wants tarballs."""
    assert Job("a", light=True).metadata_only
    for other in (Job("a", want=Want()), Job("a")):
        job = Job("a", light=True)
        job.join(other)
        assert not job.metadata_only


def test_a_light_job_stays_light_beside_tarballs_that_clients_wait_for() -> None:
    """In whichever order they come."""
    tarball, document = Job("a", document=False), Job("a", light=True)
    tarball.join(document)
    assert tarball.document
    assert tarball.metadata_only
    document.join(Job("a", document=False))
    assert document.metadata_only
