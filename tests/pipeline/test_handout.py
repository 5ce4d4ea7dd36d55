"""Suspects pass alone, all others side by side."""

from collections.abc import Callable

import anyio
import pytest

from npmmirror.pipeline.channel import Receiver, Sender, open_channel
from npmmirror.pipeline.handout import Handout
from npmmirror.pipeline.job import Job

pytestmark = pytest.mark.anyio


def made(*suspects: str, buffer: int = 0) -> tuple[Handout, Receiver[Job], Callable[[], None]]:
    send: Sender[Job]
    send, receive = open_channel(buffer)

    def close() -> None:
        send.close()
        receive.close()

    return Handout(send, suspects.__contains__), receive, close


async def test_others_pass_side_by_side() -> None:
    """None waits for another's commit."""
    handout, jobs, close = made(buffer=3)
    for name in "abc":
        await handout.send(Job(name))
    assert [jobs.receive_nowait().package for _ in "abc"] == ["a", "b", "c"]
    assert not handout.alone
    close()


async def test_a_suspect_waits_until_nobody_is_in_work_and_holds_up_the_rest() -> None:
    """Those before it are committed first; those behind it set out once it is committed."""
    handout, jobs, close = made("bad", buffer=9)
    await handout.send(Job("before"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(handout.send, Job("bad"))
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(handout.send, Job("behind"))
        await anyio.wait_all_tasks_blocked()
        assert [jobs.receive_nowait().package] == ["before"]
        handout.committed(["before"])
        await anyio.wait_all_tasks_blocked()
        assert [jobs.receive_nowait().package] == ["bad"]
        assert handout.alone
        with pytest.raises(anyio.WouldBlock):
            jobs.receive_nowait()
        handout.committed(["bad"])
    assert [jobs.receive_nowait().package] == ["behind"]
    close()


async def test_suspects_pass_one_after_the_other() -> None:
    """Each alone, also where many wait."""
    suspects = [f"bad-{number}" for number in range(5)]
    handout, jobs, close = made(*suspects, buffer=9)
    seen: list[str] = []
    async with anyio.create_task_group() as tasks:
        for name in suspects:
            tasks.start_soon(handout.send, Job(name))
        for _ in suspects:
            await anyio.wait_all_tasks_blocked()
            seen.append(jobs.receive_nowait().package)
            with pytest.raises(anyio.WouldBlock):
                jobs.receive_nowait()
            handout.committed(seen[-1:])
    assert sorted(seen) == suspects
    close()


@pytest.mark.parametrize("suspects", [(), ("x",)])
async def test_who_is_cancelled_while_waiting_holds_up_nobody(suspects: tuple[str, ...]) -> None:
    """Whether it waited for a worker or for its turn."""
    handout, jobs, close = made(*suspects)
    with anyio.move_on_after(0.01):
        await handout.send(Job("x"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(handout.send, Job("y"))
        assert (await jobs.receive()).package == "y"
    close()
