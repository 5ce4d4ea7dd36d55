"""The longest finished prefix of what was read from the buffer."""

from collections import deque
from dataclasses import dataclass

from npmmirror.buffer.base import Buffer, Entry, Position
from npmmirror.change import Seq


@dataclass(slots=True)
class _Open:
    entry: Entry
    finished: bool = False


class Watermark:
    """Hands a ticket to each entry read, and knows how far everything before is finished.

    Tickets count up from 0 in the order of reading, so that the prefix is found without
    comparing positions, which are opaque.
    """

    def __init__(self, buffer: Buffer, start: Position) -> None:
        self._buffer = buffer
        self._entries: deque[_Open] = deque()
        self._first = 0
        self.position = start
        self.seq: Seq | None = None
        """Of the last change of the prefix; None before the first since the start."""

    def open(self, entry: Entry) -> int:
        """The ticket of an entry, which follows the last one opened."""
        self._entries.append(_Open(entry))
        return self._first + len(self._entries) - 1

    def finish(self, tickets: list[int]) -> Position:
        """Note that these are finished; the position behind the finished prefix.

        To be called when the effects are about to be committed with the position that it returns.
        """
        for ticket in tickets:
            self._entries[ticket - self._first].finished = True
        passed: list[Entry] = []
        while self._entries and self._entries[0].finished:
            passed.append(self._entries.popleft().entry)
        self._first += len(passed)
        if passed:
            self.position = self._buffer.advance(self.position, passed)
            self.seq = passed[-1].change.seq
        return self.position

    @property
    def oldest(self) -> Entry | None:
        """The oldest entry that is not finished."""
        return self._entries[0].entry if self._entries else None

    def __len__(self) -> int:
        """How many entries lie behind the prefix, finished or not."""
        return len(self._entries)
