"""Passing things on through anyio's channels.

Its `send` and `receive` let all other tasks take a turn before they return, even where nothing has
to be waited for. That is a round of the event loop, several times for each change.
"""

from typing import TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

T = TypeVar("T")


async def send(channel: MemoryObjectSendStream[T], item: T) -> None:
    """Hand an item over, as soon as there is room or somebody who takes it."""
    try:
        channel.send_nowait(item)
    except anyio.WouldBlock:
        await channel.send(item)


async def receive(channel: MemoryObjectReceiveStream[T]) -> T:
    """The next item.

    Raises:
        anyio.EndOfStream: none will come any more.
    """
    try:
        return channel.receive_nowait()
    except anyio.WouldBlock:
        return await channel.receive()
