"""The channel between tasks does what anyio's does, and loses nothing to a cancellation."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.pipeline.channel import Sender, open_channel

pytestmark = pytest.mark.anyio

Open = Callable[[int], tuple[Any, Any]]

TURNS = 6
"""Rounds of the event loop, after which all tasks wait."""
STEPS = st.lists(st.sampled_from(["send", "receive", "cancel"]), max_size=25)


async def story(opened: Open, room: int, steps: list[str]) -> list[str]:
    """What came of each step; what waits is cancelled at the end."""
    told: list[str] = []
    scopes: list[anyio.CancelScope] = []
    sender, receiver = opened(room)

    async def act(number: int, what: str) -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            if what == "send":
                await sender.send(number)
                told.append(f"{number} sent")
            else:
                told.append(f"{number} received {await receiver.receive()}")

    async with anyio.create_task_group() as tasks:
        for number, step in enumerate(steps):
            if step != "cancel":
                tasks.start_soon(act, number, step)
            elif scopes:
                scopes.pop(number % len(scopes)).cancel()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            told.append("-")
        tasks.cancel_scope.cancel()
    sender.close()
    receiver.close()
    return [" ".join(sorted(part.split("; "))) for part in "; ".join(told).split("-")]


@settings(max_examples=100, deadline=None)
@given(room=st.integers(0, 3), steps=STEPS)
def test_it_does_what_anyios_does(room: int, steps: list[str]) -> None:
    """Whoever sends, receives and gives up, in whatever order."""

    async def both() -> tuple[list[str], list[str]]:
        theirs = await story(anyio.create_memory_object_stream[int], room, steps)
        return await story(open_channel, room, steps), theirs

    ours, theirs = anyio.run(both)
    assert ours == theirs


@pytest.mark.parametrize("others", [0, 1])
async def test_an_item_that_comes_as_its_receiver_is_cancelled_is_not_lost(others: int) -> None:
    """The next one has it: one that waits, or one that comes."""
    sender: Sender[int]
    sender, receiver = open_channel(0)
    with sender, receiver:
        first, *other = [asyncio.ensure_future(receiver.receive()) for _ in range(1 + others)]
        await asyncio.sleep(0)
        sender.send_nowait(1)
        first.cancel()  # anyio's scopes let such a task have what came; asyncio does not
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await (other[0] if other else receiver.receive()) == 1


async def test_those_who_receive_are_told_when_all_senders_are_closed() -> None:
    """Not before; and items that are there still come out."""
    sender: Sender[str]
    sender, receiver = open_channel(2)
    other = sender.clone()
    sender.send_nowait("last")
    sender.close()
    with receiver:
        assert await receiver.receive() == "last"
        with pytest.raises(anyio.WouldBlock):
            receiver.receive_nowait()
        other.close()
        with pytest.raises(anyio.EndOfStream):
            await receiver.receive()
    with pytest.raises(anyio.ClosedResourceError):
        sender.clone()
