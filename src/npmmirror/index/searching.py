"""Finding packages by parts of their names, in a bounded time, beside everything else.

The index of names is walked; for 4.4 million names that takes a second or two, in which the
interpreter's lock is let go most of the time. No other table helps: a table of trigrams would be
larger than all names, and be written with each new one.
"""

import heapq
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from npmmirror.index.names import BEHIND
from npmmirror.index.schema import IndexUnavailableError

SECONDS: Final = 2.0
_STEPS: Final = 20_000
"""Of SQLite's machine, between two looks at the clock."""
_ROWS: Final = 500
_ROOM: Final = 5000
_SERVED: Final = "state IN ('live', 'security_hold')"
_BEGINNING: Final = (
    f"SELECT name FROM packages WHERE name >= ?1 AND name < ?2 AND {_SERVED} "  # noqa: S608  constants
    "ORDER BY name LIMIT 1000"
)
_CONTAINING: Final = f"SELECT name FROM packages WHERE {{words}} AND {_SERVED}"  # noqa: S608  constants


@dataclass(frozen=True, slots=True)
class NamesFound:
    """What a search found.

    Attributes:
        names: With how well each matches: 0 the name itself, 1 it without its scope, 2 a name that
            begins so, 3 any other.
        total: How many match; of those that were looked at, where `whole` is false.
        whole: Whether all names were looked at.
    """

    names: tuple[tuple[int, str], ...]
    total: int
    whole: bool


class NameSearch:
    """Searches an index's file on a connection of its own; for one thread at a time.

    A context manager.
    """

    def __init__(self, path: Path, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        self._connection.execute("PRAGMA cache_size = -4096")

    def __enter__(self) -> Self:
        """The search itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self._connection.close()

    def find(self, words: Sequence[str], *, start: int, count: int) -> NamesFound:
        """The names that have all of these words (in small letters) in them.

        The best come first, of equal ones the shorter; `count` of them from `start` on.

        Raises:
            IndexUnavailableError: the file cannot be read now.
        """
        try:
            return self._find(words, start, count)
        except sqlite3.Error as error:
            raise IndexUnavailableError(f"The index cannot be searched: {error}.") from error

    def _find(self, words: Sequence[str], start: int, count: int) -> NamesFound:
        search = _Search(words, start + count, time.monotonic() + self._seconds)
        # What begins so comes along the index at once, however little time there is for the rest.
        beginning = self._connection.execute(_BEGINNING, (words[0], words[0] + BEHIND))
        for (name,) in beginning.fetchall():
            search.take_first(name)
        self._connection.set_progress_handler(search.is_late, _STEPS)
        try:
            self._walk(words, search)
        except sqlite3.OperationalError:
            if not search.late:  # else it was we who ended it
                raise
        finally:
            self._connection.set_progress_handler(None, 0)
        names = tuple((rank, name) for rank, _, name in search.best()[start:])
        return NamesFound(names, search.total, not search.late)

    def _walk(self, words: Sequence[str], search: "_Search") -> None:
        terms = " AND ".join(["instr(lower(name), ?)"] * len(words))
        containing = self._connection.execute(_CONTAINING.replace("{words}", terms), words)
        while rows := containing.fetchmany(_ROWS):
            for (name,) in rows:
                search.take(name)


class _Search:
    """The best names that were found so far, how many there were, and when to end."""

    def __init__(self, words: Sequence[str], most: int, end: float) -> None:
        self._words = words
        self._most = most
        self._end = end
        self._best: list[tuple[int, int, str]] = []
        self._first: set[str] = set()
        self.total = 0
        self.late = False

    def is_late(self) -> bool:
        """Whether the time is over: SQLite then gives up."""
        self.late = time.monotonic() > self._end
        return self.late

    def take_first(self, name: str) -> None:
        """Take a name that will be found again."""
        if self._take(name):
            self._first.add(name)

    def take(self, name: str) -> None:
        """Take a name."""
        if name not in self._first:
            self._take(name)

    def best(self) -> list[tuple[int, int, str]]:
        """The best names, the best first."""
        self._best = heapq.nsmallest(self._most, self._best)
        return self._best

    def _take(self, name: str) -> bool:
        low = name.lower()
        if not all(word in low for word in self._words):
            return False
        self.total += 1
        self._best.append((_rank(low, self._words), len(name), name))
        if len(self._best) > self._most + _ROOM:
            self.best()
        return True


def _rank(name: str, words: Sequence[str]) -> int:
    bare, whole = name.rpartition("/")[2], "-".join(words)
    if name == whole:
        return 0
    if bare == whole:
        return 1
    return 2 if name.startswith(words[0]) or bare.startswith(words[0]) else 3
