"""Closable bounded channels between the tasks of a pipeline, on futures of the event loop alone.

anyio's do the same and more. Each of their waits makes an event and looks up library, task and
backend, several times for each change: `benchmarks/README.md`, "Catching up", has what that costs.
The exceptions are anyio's.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Generic, Self, TypeVar

import anyio

T = TypeVar("T")


class _Channel(Generic[T]):
    """What both ends share."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.items: deque[T] = deque()
        self.receivers: deque[asyncio.Future[T]] = deque()
        self.senders: deque[tuple[asyncio.Future[None], T]] = deque()
        self.sending = 0
        self.receiving = 0

    def hand(self, item: T) -> bool:
        """Give an item to somebody who waits for one; whether there was anybody."""
        while self.receivers:
            receiver = self.receivers.popleft()
            if not receiver.done():
                receiver.set_result(item)
                return True
        return False

    def take(self) -> None:
        """Take in what a sender waits with, as its item's turn comes."""
        while self.senders:
            sender, item = self.senders.popleft()
            if not sender.done():
                sender.set_result(None)
                self.items.append(item)
                return

    def nobody_sends(self) -> None:
        """Tell those who wait that nothing will come."""
        for receiver in self.receivers:
            if not receiver.done():
                receiver.set_exception(anyio.EndOfStream())
        self.receivers.clear()

    def nobody_receives(self) -> None:
        """Tell those who wait that nobody will take what they have."""
        for sender, _ in self.senders:
            if not sender.done():
                sender.set_exception(anyio.BrokenResourceError())
        self.senders.clear()


class Sender(Generic[T]):
    """The end that things are put in at. Clones are closed one by one."""

    def __init__(self, channel: _Channel[T]) -> None:
        self._channel = channel
        self._closed = False
        channel.sending += 1

    def send_nowait(self, item: T) -> None:
        """Hand an item over.

        Raises:
            WouldBlock: there is no room, and nobody waits for one.
            BrokenResourceError: nobody will ever take it.
            ClosedResourceError: this end was closed.
        """
        channel = self._channel
        if self._closed:
            raise anyio.ClosedResourceError
        if not channel.receiving:
            raise anyio.BrokenResourceError
        if not channel.hand(item):
            if len(channel.items) >= channel.room:
                raise anyio.WouldBlock
            channel.items.append(item)

    async def send(self, item: T) -> None:
        """Hand an item over, as soon as there is room or somebody who takes it.

        Where that can be done at once, no other task has a turn. Raises as `send_nowait`.
        """
        try:
            self.send_nowait(item)
        except anyio.WouldBlock:
            place = (asyncio.get_running_loop().create_future(), item)
            self._channel.senders.append(place)
            try:
                await place[0]
            except asyncio.CancelledError:
                with suppress(ValueError):  # taken at the last moment
                    self._channel.senders.remove(place)
                raise

    def clone(self) -> "Sender[T]":
        """Another end of this kind; those who receive are told when all are closed."""
        if self._closed:
            raise anyio.ClosedResourceError
        return Sender(self._channel)

    def close(self) -> None:
        """Close this end; a second time does nothing."""
        if not self._closed:
            self._closed = True
            self._channel.sending -= 1
            if not self._channel.sending:
                self._channel.nobody_sends()

    def __enter__(self) -> Self:
        """The end itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()


class Receiver(Generic[T]):
    """The end that things are taken out at, in the order in which they came."""

    def __init__(self, channel: _Channel[T]) -> None:
        self._channel = channel
        self._closed = False
        channel.receiving += 1

    def receive_nowait(self) -> T:
        """The next item.

        Raises:
            WouldBlock: there is none now.
            EndOfStream: none will come any more.
            ClosedResourceError: this end was closed.
        """
        channel = self._channel
        if self._closed:
            raise anyio.ClosedResourceError
        if channel.senders:
            channel.take()
        if channel.items:
            return channel.items.popleft()
        if not channel.sending:
            raise anyio.EndOfStream
        raise anyio.WouldBlock

    async def receive(self) -> T:
        """The next item, as soon as there is one; at once, no other task has a turn.

        Raises:
            EndOfStream: none will come any more.
            ClosedResourceError: this end was closed.
        """
        try:
            return self.receive_nowait()
        except anyio.WouldBlock:
            return await self._wait()

    async def _wait(self) -> T:
        channel = self._channel
        place: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        channel.receivers.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if not place.done() or place.cancelled():
                with suppress(ValueError):
                    channel.receivers.remove(place)
            elif place.exception() is None and not channel.hand(place.result()):
                channel.items.appendleft(place.result())  # it came as this task was cancelled
            raise

    def clone(self) -> "Receiver[T]":
        """Another end of this kind; each item comes out at one of them."""
        if self._closed:
            raise anyio.ClosedResourceError
        return Receiver(self._channel)

    def close(self) -> None:
        """Close this end; a second time does nothing."""
        if not self._closed:
            self._closed = True
            self._channel.receiving -= 1
            if not self._channel.receiving:
                self._channel.nobody_receives()

    def __enter__(self) -> Self:
        """The end itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()

    async def __aiter__(self) -> AsyncIterator[T]:
        """All items until none will come any more."""
        while True:
            try:
                item = await self.receive()
            except anyio.EndOfStream:
                return
            yield item


def open_channel(room: int) -> tuple[Sender[T], Receiver[T]]:
    """A channel that holds so many items; with no room each one is handed from task to task."""
    channel: _Channel[T] = _Channel(room)
    return Sender(channel), Receiver(channel)
