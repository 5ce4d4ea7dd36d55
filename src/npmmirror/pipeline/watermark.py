"""The longest finished prefix of what was read from the buffer."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from npmmirror.buffer.base import Buffer, Entry, Item, Position
from npmmirror.change import Seq


@dataclass(slots=True)
class _Open:
    item: Item
    finished: bool = False


class Watermark:
    """Hands a ticket to each item read, and knows how far everything before is finished.

    Each lane of the buffer has a prefix of its own: a slow package holds back its own lane alone.
    Tickets count up in the order of reading, so that prefixes are found without comparing
    positions, which are opaque.

    Args:
        buffer: where items are read from.
        start: the position that they are read from on.
        after: the watermark before this one. Its tickets may still come back, and mean nothing.
    """

    def __init__(self, buffer: Buffer, start: Position, after: "Watermark | None" = None) -> None:
        self._buffer = buffer
        self._items: deque[_Open] = deque()
        self._lanes: dict[int, deque[_Open]] = {}
        self._own: int = after.next_ticket if after is not None else 0
        self._first = self._own
        self.position = start
        self.seq: Seq | None = None
        """Of the last change of the prefix of all lanes; None before the first since the start."""

    def open(self, item: Item) -> int:
        """The ticket of an item, which follows the last one opened in its lane."""
        opened = _Open(item)
        self._items.append(opened)
        self._lanes.setdefault(item.place[0], deque()).append(opened)
        return self.next_ticket - 1

    def finish(self, tickets: list[int]) -> Position:
        """Note that these are finished; the position behind the finished prefix of each lane.

        To be called when the effects are about to be committed with the position that it returns.
        """
        lanes: dict[int, None] = {}
        for ticket in tickets:
            if ticket >= self._own:
                opened = self._items[ticket - self._first]
                opened.finished = True
                lanes[opened.item.place[0]] = None
        passed = [item for lane in lanes for item in _taken_off(self._lanes[lane])]
        if passed:
            self.position = self._buffer.advance(self.position, passed)
        for item in _taken_off(self._items):
            self._first += 1
            if isinstance(item, Entry):
                self.seq = item.change.seq
        return self.position

    @property
    def next_ticket(self) -> int:
        """The ticket of the item that is opened next."""
        return self._first + len(self._items)

    @property
    def oldest(self) -> Entry | None:
        """The first entry read that is not finished; None where there is none, or it is a gap."""
        item = self._items[0].item if self._items else None
        return item if isinstance(item, Entry) else None

    def __len__(self) -> int:
        """How many items lie behind the prefix of all lanes, finished or not."""
        return len(self._items)


def _taken_off(opened: deque[_Open]) -> Iterator[Item]:
    """The finished items in front, which are taken away."""
    while opened and opened[0].finished:
        yield opened.popleft().item
