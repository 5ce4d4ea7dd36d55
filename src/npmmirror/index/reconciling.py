"""Holding a listing of all packages against the index, in a file of its own beside it.

The listing is millions of names in no order that can be trusted, and names come twice: so it lies
in a table on disk (`Listing`), and what differs is found by an anti-join, part by part, each in a
transaction that ends soon.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

from npmmirror.index.bringing import DEAD_LETTER, GENERATION_HELD, LEFT_OUT, OTHER, OVERDUE
from npmmirror.index.schema import IndexUnavailableError
from npmmirror.sqlite import Batch, Database, FileKind, Transaction, storable

KIND: Final = FileKind(
    title="The listing",
    application_id=0x6E706D6C,
    remedy="it is made anew by the next reconciliation.",
    unavailable=IndexUnavailableError,
)
PART: Final = 20_000
"""Names that are compared in one transaction: some 100 ms, in a thread."""
CACHE_BYTES: Final = 32 << 20

What = Literal["missing", "older", "returned", "unlisted"]
"""`missing`: nothing of it is captured. `older`: what is captured is older than what is listed.
`returned`: it counts as removed, and is listed. `unlisted`: it is held, and not listed."""
KINDS: Final[tuple[What, ...]] = ("missing", "older", "returned", "unlisted")

_SCHEMA: Final = """
CREATE TABLE listed (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, rev TEXT) STRICT;
CREATE TABLE changed (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE found (
    id INTEGER PRIMARY KEY, what TEXT NOT NULL, name TEXT NOT NULL, rev TEXT, held TEXT,
    announced INTEGER NOT NULL, waits INTEGER NOT NULL
) STRICT;
CREATE INDEX found_by_what ON found (what, waits);
"""
# A name that comes twice keeps its newest revision.
_LISTED: Final = Batch(
    "INSERT INTO listed (name, rev) VALUES {rows} ON CONFLICT DO UPDATE SET rev = excluded.rev "
    "WHERE CAST(excluded.rev AS INTEGER) >= CAST(rev AS INTEGER)",
    2,
)
_DISMISSED: Final = Batch("DELETE FROM found WHERE id IN (VALUES {rows})", 1)
_CHANGED: Final = Batch("INSERT OR IGNORE INTO changed VALUES {rows}", 1)
_WAITS: Final = (
    "EXISTS (SELECT 1 FROM old.work_list AS w "  # noqa: S608  constants
    f"WHERE w.package_id = p.id AND w.item = '' AND NOT ({DEAD_LETTER}))"
)
_UNCHANGED: Final = "NOT EXISTS (SELECT 1 FROM changed AS c WHERE c.name = {name})"
_COMPARE: Final = f"""
INSERT INTO found (what, name, rev, held, announced, waits)
SELECT CASE WHEN p.id IS NULL OR p.state = '' THEN 'missing'
            WHEN p.state = 'removed' THEN 'returned' ELSE 'older' END,
    l.name, l.rev, p.rev, f.package_id IS NOT NULL, {_WAITS}
FROM listed AS l LEFT JOIN old.packages AS p ON p.name = l.name
LEFT JOIN old.finished AS f ON f.package_id = p.id
LEFT JOIN old.work_list AS w ON w.package_id = p.id AND w.item = ''
WHERE l.id > ?1 AND l.id <= ?2
    AND ((p.id IS NULL AND ?3) OR (p.state = '' AND (?3 OR f.package_id IS NOT NULL))
         OR p.state = 'removed'
         OR (p.state NOT IN ('', 'erased')
             AND (CAST(l.rev AS INTEGER) > {GENERATION_HELD} OR {OVERDUE.format(listed="l.rev")}
                  OR {OTHER.format(listed="l.rev", tables="old.")})))
    AND {_UNCHANGED.format(name="l.name")}
    AND (p.id IS NULL OR NOT {LEFT_OUT.format(skips="old.skips", listed="l.rev")})
"""  # noqa: S608  constants
# Of a mirror that was only ever to have what is announced, the rest is counted.
_NEVER_ANNOUNCED: Final = """
SELECT count(*) FROM listed AS l LEFT JOIN old.packages AS p ON p.name = l.name
LEFT JOIN old.finished AS f ON f.package_id = p.id
WHERE l.id > ? AND l.id <= ? AND coalesce(p.state, '') = '' AND f.package_id IS NULL
"""
_ABSENT: Final = f"""
INSERT INTO found (what, name, rev, held, announced, waits)
SELECT 'unlisted', p.name, NULL, p.rev, 1, {_WAITS}
FROM old.packages AS p
WHERE p.id > ?1 AND p.id <= ?2 AND p.state IN ('live', 'security_hold')
    AND NOT EXISTS (SELECT 1 FROM listed AS l WHERE l.name = p.name)
    AND {_UNCHANGED.format(name="p.name")}
"""  # noqa: S608  constants


class Difference(NamedTuple):
    """What differs: the revision listed, and the one held.

    `announced`: the feed told this mirror of the package once. `waits`: it has its turn on the work
    list still.
    """

    id: int
    what: What
    name: str
    rev: str | None
    held: str | None
    announced: bool
    waits: bool


class Listing:
    """A listing of all packages, and what it differs in from the index beside it.

    Made by `Listing.begin`; an async context manager, which deletes its file. All methods raise
    `IndexUnavailableError` where a file cannot be used now.
    """

    def __init__(self, database: Database, path: Path, index: Path) -> None:
        self._database = database
        self._path = path
        self._index = index

    @classmethod
    async def begin(cls, path: Path, index: Path) -> Self:
        """An empty one in a new file, to be held against an index."""
        _remove(path)
        try:
            return cls(await _made(path), path, index)
        except BaseException:
            _remove(path)
            raise

    async def __aenter__(self) -> Self:
        """The listing itself."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close and delete the file."""
        await self._database.close()
        _remove(self._path)

    async def add(self, rows: Iterable[tuple[str, str | None]]) -> None:
        """Names that are listed, with their revisions."""
        async with self._database.transaction() as now:
            await now.run_batch(_LISTED, ((storable(name), rev) for name, rev in rows))

    async def except_for(self, names: Iterable[str]) -> None:
        """Names that nothing is to be said of: they changed while they were listed."""
        async with self._database.transaction() as now:
            await now.run_batch(_CHANGED, ((storable(name),) for name in names))

    async def counts(self) -> tuple[int, int]:
        """How many names are listed, and how many changed."""
        async with self._database.moment() as now:
            [(listed, changed)] = await now.rows(
                "SELECT (SELECT count(*) FROM listed), (SELECT count(*) FROM changed)"
            )
        return listed, changed

    async def ends(self) -> tuple[int, int]:
        """The last numbers to give to `compare` and to `find_absent`."""
        async with self._both() as now:
            [(listed, packages)] = await now.rows(
                "SELECT (SELECT coalesce(max(id), 0) FROM listed), "
                "(SELECT coalesce(max(id), 0) FROM old.packages)"
            )
        return listed, packages

    async def compare(self, after: int, *, whole: bool) -> int:
        """Hold the next `PART` of the listing against the index.

        Of a mirror that is not to have the `whole`, packages that were never announced are counted
        alone: how many there were in this part.
        """
        async with self._both() as now:
            await now.run(_COMPARE, (after, after + PART, whole))
            if whole:
                return 0
            [(count,)] = await now.rows(_NEVER_ANNOUNCED, (after, after + PART))
        return int(count)

    async def find_absent(self, after: int) -> None:
        """Hold the next `PART` of the index against the listing."""
        async with self._both() as now:
            await now.run(_ABSENT, (after, after + PART))

    @asynccontextmanager
    async def _both(self) -> AsyncIterator[Transaction]:
        """A transaction that sees the index too, as the schema `old`."""
        try:
            async with self._database.beside(self._index) as now:
                yield now
        except sqlite3.Error as error:
            raise IndexUnavailableError(f"The listing cannot be compared: {error}.") from error

    async def differences(self, after: int, limit: int) -> list[Difference]:
        """Differences behind a number, in the order in which they were found."""
        async with self._database.moment() as now:
            rows = await now.rows(
                "SELECT id, what, name, rev, held, announced, waits FROM found "
                "WHERE id > ? ORDER BY id LIMIT ?",
                (after, limit),
            )
        return [
            Difference(number, what, name, rev, held, told == 1, waits == 1)
            for number, what, name, rev, held, told, waits in rows
        ]

    async def dismiss(self, numbers: Iterable[int]) -> None:
        """Forget differences that are none of ours."""
        async with self._database.transaction() as now:
            await now.run_batch(_DISMISSED, ((number,) for number in numbers))

    async def tally(self) -> dict[tuple[What, bool], int]:
        """How many differences there are, by what, and whether they are on the work list."""
        async with self._database.moment() as now:
            rows = await now.rows("SELECT what, waits, count(*) FROM found GROUP BY 1, 2")
        return {(what, waits == 1): count for what, waits, count in rows}


async def _made(path: Path) -> Database:
    database = await Database.open(path, KIND, cache_bytes=CACHE_BYTES, lazy=True)
    try:
        async with database.bare() as now:
            await now.script(_SCHEMA)
    except BaseException:
        await database.close()
        raise
    return database


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
