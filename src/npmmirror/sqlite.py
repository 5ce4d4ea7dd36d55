"""An SQLite file behind one connection: explicit transactions, many rows a step, plain errors."""

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import aiosqlite
import anyio

from npmmirror.errors import NpmmirrorError, StorageError

Row = tuple[Any, ...]
T = TypeVar("T")

BUSY_SECONDS: Final = 10.0
_ROWS_EACH: Final = 64  # aiosqlite's own default, for cursors that are iterated
PAGE_BYTES: Final = 8192
"""Rows of several hundred bytes live in trees without row ids: larger pages keep those flat."""
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNAVAILABLE: Final = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}


class DamagedError(StorageError):
    """The file's content is no sound database."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file is called in errors, and how it is told from files of others.

    `application_id` is written into a new file; a file with another one is refused. `remedy` ends
    the sentence about a damaged file. `unavailable` is raised where the same call may work later.
    """

    title: str
    application_id: int
    remedy: str
    unavailable: type[NpmmirrorError]


class Batch:
    """A statement that takes many rows at each step; `{rows}` in it stands for their values.

    It begins with INSERT, UPDATE or DELETE: by that Python knows to count what it changed.

    The interpreter's lock is let go and taken back at each step. With a busy event loop beside it,
    30 rows took 42 ms at a row a step, and 0.2 ms at many.
    """

    SIZES: Final = (512, 64, 8, 1)

    def __init__(self, sql: str, width: int) -> None:
        row = f"({', '.join('?' * width)})"
        self.sql = {size: sql.replace("{rows}", ", ".join([row] * size)) for size in self.SIZES}


class _Draw:
    """Rows drawn from a source in full steps; what is too few for one more is left in `rest`."""

    def __init__(self, source: Iterator[Row], size: int) -> None:
        self._source = source
        self._size = size
        self.rest: list[Row] = []

    def __iter__(self) -> Iterator[list[Any]]:
        while len(rows := list(islice(self._source, self._size))) == self._size:
            yield list(chain.from_iterable(rows))
        self.rest = rows


def listed(sql: str, count: int, row: str = "?") -> str:
    """The statement with `{list}` in it made so many parameters, or `row`s of them."""
    return sql.replace("{list}", ", ".join([row] * count))


def storable(text: str) -> str:
    """The text as SQLite can hold it: lone surrogates, which JSON may hold, written out."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


class _Connection(aiosqlite.Connection):
    """With a way to do many things in one passage through its thread.

    Each passage takes a turn of the event loop, which is some milliseconds when that is busy; a
    commit of fifty statements took 0.3 s.
    """

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work`, made in the connection's thread."""
        result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]  # aiosqlite's
        return result


class Transaction:
    """The statements of one transaction; or of one moment, where there is none."""

    def __init__(self, connection: _Connection) -> None:
        self._call = connection.call

    async def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query."""
        return await self._call(lambda here: here.execute(sql, parameters).fetchall())

    async def row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row of a query; None where there is none."""
        rows = await self.rows(sql, parameters)
        return rows[0] if rows else None

    async def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; how many rows it changed."""
        return await self._call(lambda here: here.execute(sql, parameters).rowcount)

    async def run_many(self, sql: str, rows: Iterable[Row]) -> int:
        """Run a statement for each row, made as it is needed; how many rows it changed."""
        return await self._call(lambda here: here.executemany(sql, rows).rowcount)

    async def run_batch(self, batch: Batch, rows: Iterable[Row]) -> int:
        """Run a statement over rows, made as they are needed; how many it changed.

        They are made in the connection's thread, away from the event loop.
        """
        return await self._call(partial(_run_batch, batch, rows))

    async def script(self, sql: str) -> None:
        """Run several statements; none of them takes parameters."""
        await self._call(lambda here: here.executescript(sql))

    async def whole(self, steps: Callable[["Transaction"], Coroutine[Any, Any, T]]) -> T:
        """Take many steps in one passage through the connection's thread.

        `steps` is run there, with a transaction of its own kind; it awaits nothing else.
        """
        return await self._call(partial(_run_here, steps))


class _Here(Transaction):
    """A transaction in the connection's own thread: what is awaited is done at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return work(self._connection)


def _run_here(
    steps: Callable[[Transaction], Coroutine[Any, Any, T]], connection: sqlite3.Connection
) -> T:
    coroutine = steps(_Here(connection))
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a step waited for something else than its transaction")


def _ask_here(
    question: Callable[[Transaction], Coroutine[Any, Any, T]], connection: sqlite3.Connection
) -> T:
    connection.execute("BEGIN")
    try:
        return _run_here(question, connection)
    finally:
        connection.rollback()


def _run_batch(batch: Batch, rows: Iterable[Row], connection: sqlite3.Connection) -> int:
    source, changed = iter(rows), 0
    most = batch.SIZES[0]
    rest = list(islice(source, most))
    for size in batch.SIZES if len(rest) == most else batch.SIZES[1:]:
        if len(rest) >= size:
            draw = _Draw(chain(rest, source), size)
            changed += connection.executemany(batch.sql[size], draw).rowcount
            rest = draw.rest
    return changed


class Database:
    """One file in WAL mode, every commit synced, used by one task at a time.

    Made by `Database.open`. All methods raise `FileKind.unavailable` where the file cannot be
    used now, and `DamagedError` where it is damaged.
    """

    def __init__(self, connection: _Connection, path: Path, kind: FileKind) -> None:
        self._connection = connection
        self._lock = anyio.Lock()
        self._path = path
        self._kind = kind

    @classmethod
    async def open(
        cls,
        path: Path,
        kind: FileKind,
        *,
        read_only: bool = False,
        cache_bytes: int = 64 << 20,
        lazy: bool = False,
    ) -> Self:
        """Open a file; one that is not there is made, unless `read_only`.

        A `lazy` one is sound after a loss of power, but the newest commits may be gone.
        """
        with _translated(path, kind):
            connection = await _connect(path, read_only=read_only)
            database = cls(connection, path, kind)
            try:
                await database._prepare(read_only, cache_bytes, "NORMAL" if lazy else "FULL")
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await connection.close()
                raise
        return database

    async def _prepare(self, read_only: bool, cache_bytes: int, synchronous: str) -> None:
        now = Transaction(self._connection)
        if not read_only:
            [(pages,)] = await now.rows("PRAGMA page_count")
            if not pages:
                # Both take effect only before the first table is made.
                await now.run(f"PRAGMA page_size = {PAGE_BYTES}")
                await now.run("PRAGMA auto_vacuum = INCREMENTAL")
            [(mode,)] = await now.rows("PRAGMA journal_mode = WAL")
            if mode != "wal":
                raise StorageError(
                    f"{self._kind.title} {self._path} lies on a file system without shared "
                    f"memory, which SQLite's WAL needs; put it on a local disk."
                )
            await now.run(f"PRAGMA synchronous = {synchronous}")
            await now.run("PRAGMA journal_size_limit = 67108864")
            await now.run("PRAGMA secure_delete = OFF")
        await now.run(f"PRAGMA cache_size = -{cache_bytes // 1024}")
        await now.run("PRAGMA temp_store = MEMORY")
        await self._claim(now, read_only)

    async def _claim(self, now: Transaction, read_only: bool) -> None:
        [(found,)] = await now.rows("PRAGMA application_id")
        [(tables,)] = await now.rows("SELECT count(*) FROM sqlite_schema")
        if found == self._kind.application_id:
            return
        if tables or found or read_only:
            raise StorageError(
                f"{self._kind.title} {self._path} cannot be used: it is another program's "
                f"database, or one that was never finished."
            )
        await now.run(f"PRAGMA application_id = {self._kind.application_id}")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """All or nothing. Not left half-way by a cancellation, which takes effect afterwards."""
        async with self._lock:
            with anyio.CancelScope(shield=True), _translated(self._path, self._kind):
                # Inside the try: a task that is cancelled by asyncio itself leaves BEGIN behind.
                try:
                    await self._connection.execute("BEGIN IMMEDIATE")
                    yield Transaction(self._connection)
                    await self._connection.commit()
                except BaseException:
                    await self._connection.rollback()
                    raise

    @asynccontextmanager
    async def moment(self) -> AsyncIterator[Transaction]:
        """For a single query, which sees one committed state by itself."""
        async with self._lock:
            with _translated(self._path, self._kind):
                yield Transaction(self._connection)

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Transaction]:
        """For a script that holds its own BEGIN and COMMIT; rolled back where it fails."""
        async with self._lock:
            with anyio.CancelScope(shield=True), _translated(self._path, self._kind):
                try:
                    yield Transaction(self._connection)
                finally:
                    await self._connection.rollback()

    @asynccontextmanager
    async def beside(self, other: Path) -> AsyncIterator[Transaction]:
        """A transaction that also reads another file, whose tables are those of the schema `old`.

        All or nothing, as `transaction`. What is wrong with the other file comes as SQLite's own
        error.
        """
        address = _address(other, "ro")
        async with self._lock:
            with anyio.CancelScope(shield=True):
                await self._connection.execute("ATTACH ? AS old", (address,))
                try:
                    try:
                        await self._connection.execute("BEGIN IMMEDIATE")
                        yield Transaction(self._connection)
                        await self._connection.commit()
                    except BaseException:
                        await self._connection.rollback()
                        raise
                finally:
                    await self._connection.execute("DETACH old")

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        """For several queries that see one committed state. To be left soon: it holds the WAL."""
        async with self._lock:
            with _translated(self._path, self._kind):
                try:
                    await self._connection.execute("BEGIN")
                    yield Transaction(self._connection)
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._connection.rollback()

    async def ask(self, question: Callable[[Transaction], Coroutine[Any, Any, T]]) -> T:
        """The answer to a question, whose queries see one committed state.

        All in one passage through the connection's thread; `question` awaits nothing but its
        transaction.
        """
        async with self._lock:
            with _translated(self._path, self._kind):
                return await self._connection.call(partial(_ask_here, question))

    async def close(self) -> None:
        """Close the file, once the call under way is over."""
        with anyio.CancelScope(shield=True):
            async with self._lock:
                await self._connection.close()


def _address(path: Path, mode: str) -> str:
    return f"file:{quote(str(path.absolute()))}?mode={mode}"


def _openable(path: Path, mode: str) -> str:
    """The address of a file that was just opened for a try."""
    address = _address(path, mode)
    sqlite3.connect(address, uri=True).close()
    return address


async def _connect(path: Path, *, read_only: bool) -> _Connection:
    # Tried first, because aiosqlite leaves its thread behind where it cannot open the file.
    address = await anyio.to_thread.run_sync(_openable, path, "ro" if read_only else "rwc")
    connection = _Connection(partial(_connected, address), _ROWS_EACH)
    await connection
    return connection


def _connected(address: str) -> sqlite3.Connection:
    return sqlite3.connect(
        address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=256
    )


def _shut(path: Path) -> bool:
    """Whether a file is there, and its directory may not be written."""
    return path.is_file() and not os.access(path.parent, os.W_OK)


@contextmanager
def _translated(path: Path, kind: FileKind) -> Iterator[None]:
    """Turn SQLite's errors of the file into ours; those of our statements are bugs and stay."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED:
            raise DamagedError(
                f"{kind.title} {path} is damaged ({error}); {kind.remedy}"
            ) from error
        if code == sqlite3.SQLITE_READONLY or (code == sqlite3.SQLITE_CANTOPEN and _shut(path)):
            raise kind.unavailable(
                f"{kind.title} {path} cannot be used: this user may not write it, or not its "
                "directory, which SQLite needs even to read where no daemon runs. Be the service's "
                "user (`sudo -u npmmirror ...`), or make a copy that you own; a file system that is "
                f"mounted read-only has to be mounted anew ({error})."
            ) from error
        if code in _UNAVAILABLE:
            raise kind.unavailable(f"{kind.title} {path} cannot be used: {error}.") from error
        raise
