"""The embedded buffer: one SQLite file, `buffer.db`, for those who need no broker."""

import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import anyio
import orjson
import structlog

from npmmirror.buffer.base import BufferUnavailableError, Entry, Item, Position, Receipt
from npmmirror.change import Change
from npmmirror.errors import StorageError
from npmmirror.failpoints import reach
from npmmirror.sqlite import DamagedError, Database, FileKind, Row, Transaction

log = structlog.get_logger(__name__)

KIND: Final = FileKind(
    title="The buffer",
    application_id=0x6E706D62,
    remedy="start anew: the damaged file is moved aside, and the feed is read again.",
    unavailable=BufferUnavailableError,
)
VERSION: Final = 1
BLOCK_ENTRIES: Final = 500
"""Entries in a row of the table: as many as feed reads at once."""
TRIM_BLOCKS: Final = 100
"""Blocks deleted in one transaction, between which others have their turn."""

# Entries are numbered 1, 2, 3 ... without gaps. `last` only grows, so that no number is used again
# even when no entry is left. A block is deleted as a whole, once all of it lies at or below
# `trimmed`; what lies there of a block that is kept counts as deleted.
_SCHEMA: Final = (
    """
CREATE TABLE buffer (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    identity TEXT NOT NULL,     -- tells this file from one made anew
    last     INTEGER NOT NULL,  -- the number of the newest entry ever
    trimmed  INTEGER NOT NULL   -- entries up to this one are deleted
) STRICT
""",
    """
CREATE TABLE blocks (
    last        INTEGER PRIMARY KEY,  -- the number of the block's newest entry
    first       INTEGER NOT NULL,     -- the number of its oldest
    observed_at TEXT NOT NULL,
    source      TEXT NOT NULL,        -- the feed's address
    entries     BLOB NOT NULL         -- JSON: [[seq, id, rev, deleted], ...]
) STRICT
""",
    "PRAGMA user_version = 1",
)
_ENTRY_TAIL: Final = "SELECT first, entries FROM blocks WHERE last >= ? ORDER BY last LIMIT 1"


class SqliteBuffer:
    """A `Buffer` in a file. Made by `SqliteBuffer.open`; one process uses it at a time."""

    def __init__(self, database: Database, identity: str, last: int, trimmed: int) -> None:
        self._database = database
        self._identity = identity
        self._last = last
        self._trimmed = trimmed
        self._appended = anyio.Event()

    @classmethod
    async def open(cls, path: Path, new_identity: Callable[[], str] | None = None) -> Self:
        """Open buffer.db. Where it is not there, or damaged, a new buffer takes its place.

        A damaged file is moved aside. The receipts in the index tell that the buffer is another
        one, and have the feed read again.

        Raises:
            BufferUnavailableError: it cannot be opened or made.
            StorageError: it is another program's, or of a newer npmmirror.
        """
        identity = new_identity or (lambda: uuid.uuid4().hex)
        try:
            return await cls._open(path, identity)
        except DamagedError as error:
            aside = await anyio.to_thread.run_sync(_move_aside, path)
            log.warning("buffer_damaged", error=str(error), moved_to=str(aside))
            return await cls._open(path, identity)

    @classmethod
    async def look(cls, path: Path) -> Self:
        """Open buffer.db to read it, beside whoever writes to it; it is as it was just now.

        Raises:
            BufferUnavailableError: it is not there, or cannot be opened.
            StorageError: it is damaged, or another program's.
        """
        database = await Database.open(path, KIND, read_only=True, cache_bytes=1 << 20)
        try:
            async with database.moment() as now:
                [row] = await now.rows("SELECT identity, last, trimmed FROM buffer")
        except BaseException:
            await database.close()
            raise
        return cls(database, *row)

    @classmethod
    async def _open(cls, path: Path, new_identity: Callable[[], str]) -> Self:
        database = await Database.open(path, KIND, cache_bytes=8 << 20)
        try:
            identity, last, trimmed = await _prepared(database, path, new_identity)
        except BaseException:
            await database.close()
            raise
        return cls(database, identity, last, trimmed)

    @property
    def identity(self) -> str:
        """See `Buffer.identity`."""
        return self._identity

    async def refresh(self) -> None:
        """See `Buffer.refresh`: nobody else writes to the file while this is open."""

    async def append(
        self, changes: Sequence[Change], *, observed_at: str, source: str
    ) -> tuple[Position, str]:
        """See `Buffer.append`. An empty page gives the end as it is, and its tail."""
        if not changes:
            async with self._database.moment() as now:
                return self._position(self._last), await _tail_of(now, self._last) or ""
        async with self._database.transaction() as now:
            [(before,)] = await now.rows("SELECT last FROM buffer")
            blocks = _blocks(changes, before)
            await now.run_many(
                "INSERT INTO blocks (last, first, observed_at, source, entries) "
                "VALUES (?, ?, ?, ?, ?)",
                ((*numbers, observed_at, source, entries) for *numbers, entries in blocks),
            )
            last = before + len(changes)
            await now.run("UPDATE buffer SET last = ?", (last,))
            reach("buffer.before_commit")
        reach("buffer.committed")
        self._last = last
        self._appended.set()
        self._appended = anyio.Event()
        return self._position(last), _tail(changes[-1])

    async def read(self, after: Position, limit: int) -> list[Item]:
        """See `Buffer.read`."""
        number = max(self._number(after), self._trimmed)
        async with self._database.moment() as now:
            rows = await now.rows(
                "SELECT first, observed_at, source, entries FROM blocks "
                "WHERE last > ?1 AND last < ?2 + ?3 AND first <= ?2 ORDER BY last",
                (number, number + limit, BLOCK_ENTRIES),
            )
        return [*islice(_entries(rows, number), limit)]

    async def wait(self, after: Position) -> None:
        """See `Buffer.wait`."""
        while self._last <= self._number(after):
            await self._appended.wait()

    def advance(self, position: Position, items: Sequence[Item]) -> Position:
        """See `Buffer.advance`."""
        return self._position(items[-1].place[1]) if items else position

    def covers(self, position: Position, other: Position) -> bool:
        """See `Buffer.covers`."""
        ours = position.buffer == other.buffer == self._identity
        return ours and int(position.value) >= int(other.value)

    async def start(self) -> Position:
        """See `Buffer.start`."""
        return self._position(self._trimmed)

    async def end(self) -> Position:
        """See `Buffer.end`."""
        return self._position(self._last)

    async def holds(self, receipt: Receipt) -> bool:
        """See `Buffer.holds`."""
        if receipt.end.buffer != self._identity:
            return False
        number = int(receipt.end.value)
        async with self._database.snapshot() as now:
            [(last, trimmed)] = await now.rows("SELECT last, trimmed FROM buffer")
            if number > last:
                return False
            known = number <= trimmed or not receipt.tail
            return known or await _tail_of(now, number) == receipt.tail

    async def reaches(self, position: Position) -> bool:
        """See `Buffer.reaches`."""
        if position.buffer != self._identity:
            return False
        number = int(position.value)
        async with self._database.snapshot() as now:
            [(last, trimmed)] = await now.rows("SELECT last, trimmed FROM buffer")
            [(there,)] = await now.rows(
                "SELECT coalesce(sum(last - max(first - 1, ?1)), 0) FROM blocks WHERE last > ?1",
                (number,),
            )
        return bool(trimmed <= number <= last and there == last - number)

    async def trim(self, before: Position) -> int:
        """See `Buffer.trim`."""
        number = min(self._number(before), self._last)
        gone = number - self._trimmed
        if gone <= 0:
            return 0
        async with self._database.transaction() as now:
            await now.run("UPDATE buffer SET trimmed = ?", (number,))
        self._trimmed = number
        reach("buffer.trimmed")
        while await self._delete_blocks(number):
            pass
        return gone

    async def _delete_blocks(self, number: int) -> bool:
        """Delete some blocks and give their room back; whether there may be more."""
        async with self._database.transaction() as now:
            deleted = await now.run(
                "DELETE FROM blocks WHERE last IN "
                "(SELECT last FROM blocks WHERE last <= ? ORDER BY last LIMIT ?)",
                (number, TRIM_BLOCKS),
            )
        reach("buffer.blocks_deleted")
        async with self._database.bare() as now:
            # As a script: any other way Python takes one step of it, which frees one page.
            await now.script("PRAGMA incremental_vacuum(1000)")
        return deleted == TRIM_BLOCKS

    async def depth(self, after: Position) -> int:
        """See `Buffer.depth`."""
        return max(self._last - max(self._number(after), self._trimmed), 0)

    async def close(self) -> None:
        """See `Buffer.close`."""
        await self._database.close()

    async def __aenter__(self) -> Self:
        """The buffer itself."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close it."""
        await self.close()

    def _position(self, number: int) -> Position:
        return Position(self._identity, str(number))

    def _number(self, position: Position) -> int:
        if position.buffer != self._identity:
            raise ValueError(f"{position} is of another buffer than {self._identity}")
        return int(position.value)


async def _prepared(database: Database, path: Path, identity: Callable[[], str]) -> Row:
    """The row of the table `buffer`; the tables are made where there are none."""
    async with database.moment() as now:
        [(version,)] = await now.rows("PRAGMA user_version")
        [(sound,)] = await now.rows("PRAGMA quick_check(1)")
    if version > VERSION:
        raise StorageError(f"The buffer {path} was made by a newer npmmirror; install that one.")
    if sound != "ok":
        raise DamagedError(f"{KIND.title} {path} is damaged ({sound}); {KIND.remedy}")
    async with database.transaction() as now:
        if not version:
            for statement in _SCHEMA:
                await now.run(statement)
            await now.run("INSERT INTO buffer VALUES (1, ?, 0, 0)", (identity(),))
        [row] = await now.rows("SELECT identity, last, trimmed FROM buffer")
    return row


async def _tail_of(now: Transaction, number: int) -> str | None:
    """The tail of the page whose last entry has this number; None where that is not there."""
    row = await now.row(_ENTRY_TAIL, (number,))
    if row is None or row[0] > number:
        return None
    first, entries = row
    return _tail(_change(_loads(entries)[number - first]))


def _tail(change: Change) -> str:
    return json.dumps([change.seq, change.id, change.rev])


def _change(row: Any) -> Change:
    seq, name, rev, deleted = row
    return Change(seq, name, rev, deleted)


def _blocks(changes: Sequence[Change], before: int) -> Iterator[tuple[int, int, bytes]]:
    """Each block's last number, its first, and its entries."""
    for start in range(0, len(changes), BLOCK_ENTRIES):
        block = changes[start : start + BLOCK_ENTRIES]
        rows = [(change.seq, change.id, change.rev, change.deleted) for change in block]
        yield before + start + len(block), before + start + 1, _dumps(rows)


def _dumps(rows: list[Row]) -> bytes:
    try:
        return orjson.dumps(rows)
    except TypeError:
        # Lone surrogates and integers of more than 64 bits, which JSON may hold.
        return json.dumps(rows).encode()


def _loads(entries: bytes) -> Any:
    try:
        rows = orjson.loads(entries)
    except orjson.JSONDecodeError:
        return json.loads(entries)
    # orjson makes a float of an integer of more than 64 bits.
    huge = any(isinstance(seq, float) for seq, *_ in rows)
    return json.loads(entries) if huge else rows


def _entries(blocks: Sequence[Row], after: int) -> Iterator[Entry]:
    for first, observed_at, source, entries in blocks:
        for number, row in enumerate(_loads(entries), start=first):
            if number > after:
                yield Entry(_change(row), (0, number), observed_at, source)


def _move_aside(path: Path) -> Path:
    """Rename a damaged file, and what SQLite keeps beside it, to a name that is free."""
    aside = next(
        free
        for n in range(1, 1_000_000)
        if not (free := path.with_name(f"{path.name}.damaged-{n}")).exists()
    )
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return aside
