"""The feed's model: one row a package, in the order of their seqs, with all that npm leaves open."""

import base64
import bisect
import hashlib
import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

MAX_LIMIT = 10_000
DEFAULT_LIMIT = 1_000


class BadQueryError(ValueError):
    """A query that the feed answers with 400; the text is the reason it gives."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of `_changes`. `seq` counts from 1; what is served may be opaque."""

    seq: int
    id: str
    rev: str
    deleted: bool = False


class Feed:
    """Rows ascend; a new change of a package replaces its row; seqs have gaps.

    Args:
        seed: of the gaps, and of what opaque seqs look like.
        opaque: seqs are strings as CouchDB gives them.
        gaps: seqs that no row has lie between rows, at the end too.
    """

    def __init__(self, *, seed: int = 0, opaque: bool = False, gaps: bool = True) -> None:
        self.opaque = opaque
        self.gaps = gaps
        self._seed = seed
        self._random = Random(f"feed {seed}")
        self._head = 0
        self._order: list[Row] = []
        self._rows: dict[str, Row] = {}
        self._hidden: dict[str, Row] = {}

    @property
    def head(self) -> int:
        """The number of the newest seq, which no row need have."""
        return self._head

    def announce(self, name: str, rev: str, *, deleted: bool = False) -> int:
        """Give a package a new row at the head; its number."""
        self._hidden.pop(name, None)
        row = Row(self._next(), name, rev, deleted)
        self._append(row)
        return row.seq

    def withhold(self, name: str, rev: str, *, deleted: bool = False) -> int:
        """Take a seq for a change whose row appears only with `reveal`; the old row goes now."""
        self._rows.pop(name, None)
        row = Row(self._next(), name, rev, deleted)
        self._hidden[name] = row
        return row.seq

    def hide(self, name: str) -> None:
        """Take a package's row out of sight until `reveal`."""
        row = self._hidden[name] = self._rows.pop(name)
        del self._order[bisect.bisect_left(self._order, row.seq, key=lambda other: other.seq)]

    def reveal(self, name: str) -> int:
        """Put a hidden row where its seq belongs, which by now lies behind `last_seq`."""
        row = self._hidden.pop(name)
        bisect.insort(self._order, row, key=lambda other: other.seq)
        self._rows[name] = row
        return row.seq

    def lose(self) -> int:
        """Let a seq pass without a row, as for a change that the feed lost."""
        return self._next()

    def reset_head(self, head: int) -> None:
        """Number all rows anew, in their order, so that the feed ends at `head`.

        Raises:
            ValueError: there are more rows than that.
        """
        rows = list(self._live())
        if head < len(rows):
            raise ValueError(f"{len(rows)} rows do not fit below {head}")
        first = head - len(rows) + 1
        self._order = [
            Row(first + place, row.id, row.rev, row.deleted) for place, row in enumerate(rows)
        ]
        self._rows = {row.id: row for row in self._order}
        self._hidden.clear()
        self._head = head

    def row(self, name: str) -> Row | None:
        """The row of a package, if one is to be seen."""
        return self._rows.get(name)

    def served(self, number: int) -> int | str:
        """A seq as it is served."""
        if not self.opaque:
            return number
        tail = hashlib.sha256(f"{self._seed} {number}".encode()).digest()[:18]
        return f"{number}-g1AAAA{base64.urlsafe_b64encode(tail).decode()}"

    def number(self, served: str) -> int:
        """The number of a seq that was served.

        Raises:
            BadQueryError: it is none.
        """
        number, dash, tail = served.strip('"').partition("-")
        plain = number.isascii() and number.isdigit()
        if not plain or bool(dash and tail) != (self.opaque and number != "0"):
            raise BadQueryError(f"invalid since: {served}")
        return int(number)

    def changes(
        self,
        since: int = 0,
        limit: int = DEFAULT_LIMIT,
        *,
        descending: bool = False,
        names: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """An answer of `_changes`, ready for JSON."""
        found = self._from(since, descending=descending)
        wanted = (row for row in found if names is None or row.id in names)
        rows = list(itertools.islice(wanted, limit))
        ended = len(rows) < limit and not descending
        last = max(self._head, since) if ended or not rows else rows[-1].seq
        return {"results": [self._shown(row) for row in rows], "last_seq": self.served(last)}

    def root(self, doc_count: int) -> dict[str, Any]:
        """The answer of the feed's root."""
        return {
            "db_name": "registry",
            "engine": "npm-replicate",
            "doc_count": doc_count,
            "update_seq": self.served(self._head),
        }

    def _shown(self, row: Row) -> dict[str, Any]:
        shown = {"seq": self.served(row.seq), "id": row.id, "changes": [{"rev": row.rev}]}
        return {**shown, "deleted": True} if row.deleted else shown

    def _from(self, since: int, *, descending: bool) -> Iterator[Row]:
        if descending:
            return (row for row in reversed(self._order) if self._rows.get(row.id) is row)
        start = bisect.bisect_right(self._order, since, key=lambda row: row.seq)
        return (
            row
            for place in range(start, len(self._order))
            if self._rows.get((row := self._order[place]).id) is row
        )

    def _live(self) -> Iterator[Row]:
        return (row for row in self._order if self._rows.get(row.id) is row)

    def _append(self, row: Row) -> None:
        self._rows[row.id] = row
        self._order.append(row)
        if len(self._order) > 2 * len(self._rows) + 1_000:
            self._order = list(self._live())

    def _next(self) -> int:
        self._head += self._random.choice((1, 2, 2, 3, 5)) if self.gaps else 1
        return self._head
