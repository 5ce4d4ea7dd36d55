"""Reading index.db beside the writer: connections that cannot write, in short transactions."""

from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import anyio
import orjson

from npmmirror.capture import Location
from npmmirror.change import Seq
from npmmirror.confusion import Confusion
from npmmirror.effects import DependencyFacts, Known
from npmmirror.index import (
    auditing,
    bookkeeping,
    bringing,
    confusions,
    known,
    listing,
    names,
    status,
    worklist,
)
from npmmirror.index.auditing import Key, StoredRow
from npmmirror.index.group import KeptReceipt, Mark, Resumption, StoredFollowing
from npmmirror.index.listing import EventRow, HeldFile, PackageRow, RevisionRow, VersionRow
from npmmirror.index.removals import Removals
from npmmirror.index.rounds import Rounds
from npmmirror.index.schema import KIND, Schema, own
from npmmirror.index.status import IndexStatus
from npmmirror.outcome import NOT_HELD, WorkItem
from npmmirror.receipt import Position
from npmmirror.sqlite import Database, Transaction, listed, storable

T = TypeVar("T")

CONNECTIONS: Final = 2
NAMES_EACH: Final = 1000

_FINISHED: Final = (
    "SELECT json_group_array(json_array(p.name, f.rev, f.deleted)) FROM packages AS p "
    "LEFT JOIN finished AS f ON f.package_id = p.id WHERE p.name IN ({list})"
)
_LACKING: Final = (
    "SELECT name FROM packages AS p WHERE EXISTS (SELECT 1 FROM skips AS s "
    "WHERE s.package_id = p.id AND +s.reason = ?) AND name IN ({list})"
)
_CLAIMS: Final = (
    "SELECT version, tarball, integrity, shasum FROM versions "
    "WHERE package_id = (SELECT id FROM packages WHERE name = ?) AND version IN ({list})"
)

Claim = tuple[str, str | None, str | None, str | None]
"""Version, `dist.tarball`, `dist.integrity`, `dist.shasum`."""


class IndexReader:
    """Answers from the last committed state. Made by `IndexReader.open`.

    All methods raise `IndexUnavailableError` where the file cannot be read now.
    """

    def __init__(self, databases: Sequence[Database]) -> None:
        self._free = list(databases)
        self._room = anyio.Semaphore(len(self._free), max_value=len(self._free))
        self._databases = databases
        self._known = Rounds(self._known_of, known.MOST)
        self.removals = Removals(self._query)

    @classmethod
    async def open(
        cls, path: Path, *, connections: int = CONNECTIONS, schema: Schema | None = None
    ) -> Self:
        """Open an index that a writer has made.

        Raises:
            StorageError: it is not there, damaged, or of another version than this program.
        """
        async with AsyncExitStack() as stack:
            databases = []
            for _ in range(connections):
                database = await Database.open(path, KIND, read_only=True, cache_bytes=16 << 20)
                stack.push_async_callback(database.close)
                databases.append(database)
            await (schema or own()).check(databases[0], path)
            stack.pop_all()
        return cls(databases)

    async def close(self) -> None:
        """Close the connections, each once its query is over."""
        for database in self._databases:
            await database.close()

    async def __aenter__(self) -> Self:
        """The reader itself."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close it."""
        await self.close()

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Database]:
        async with self._room:
            database = self._free.pop()
            try:
                yield database
            finally:
                self._free.append(database)

    @asynccontextmanager
    async def _query(self) -> AsyncIterator[Transaction]:
        async with self._lent() as database, database.moment() as now:
            yield now

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Transaction]:
        async with self._lent() as database, database.snapshot() as now:
            yield now

    async def ask(self, question: Callable[[Transaction], Coroutine[Any, Any, T]]) -> T:
        """The answer to a question of another module of this room, from one committed state."""
        async with self._lent() as database:
            return await database.ask(question)

    async def known(self, name: str) -> Known | None:
        """What is known of a package; None where nothing of it was captured."""
        return await self._known.ask(name)

    async def _known_of(self, names: Sequence[str]) -> dict[str, Known]:
        async with self._query() as now:
            return await known.known(now, names)

    async def finished(self, names: Sequence[str]) -> dict[str, tuple[str | None, bool] | None]:
        """Rev and `deleted` of the last finished change of packages; None where there was none.

        Packages of which the index knows nothing at all are left out.
        """
        found: dict[str, tuple[str | None, bool] | None] = {}
        for start in range(0, len(names), NAMES_EACH):
            spelt = {storable(name): name for name in names[start : start + NAMES_EACH]}
            async with self._query() as now:
                [(rows,)] = await now.rows(listed(_FINISHED, len(spelt)), [*spelt])
            found |= {
                spelt[name]: None if deleted is None else (rev, deleted == 1)
                for name, rev, deleted in orjson.loads(rows)
            }
        return found

    async def lacking(self, names: Sequence[str]) -> list[str]:
        """Those of these packages of which upstream, a mirror, did not hold a tarball."""
        spelt = {storable(name): name for name in names}
        async with self._query() as now:
            rows = await now.rows(listed(_LACKING, len(spelt)), [NOT_HELD, *spelt])
        return [spelt[name] for (name,) in rows]

    async def claims(self, package: str, versions: Sequence[str]) -> list[Claim]:
        """What upstream says of the tarballs of these versions, as far as they are known."""
        found: list[Claim] = []
        for start in range(0, len(versions), NAMES_EACH):
            spelt = [storable(version) for version in versions[start : start + NAMES_EACH]]
            async with self._query() as now:
                rows = await now.rows(listed(_CLAIMS, len(spelt)), [storable(package), *spelt])
            found += [(version, tarball, sri, sha) for version, tarball, sri, sha in rows]
        return found

    async def due(
        self,
        now: str,
        *,
        packages: int,
        rows_each: int,
        busy: Collection[str] = (),
        only: Collection[str] | None = None,
        held: Collection[str] = (),
    ) -> dict[str, list[WorkItem]]:
        """The due rows of the work list, by package, those first that have waited longest.

        At most `packages` packages, none of them `busy`, and all of them of `only` where that is
        given; at most `rows_each` rows of each, the packument's first. No package is chosen for a
        row whose origin is among `held`.
        """
        asked = worklist.Asked(now, packages, rows_each, busy, only, held)
        async with self._snapshot() as view:
            return await worklist.due(view, asked)

    async def seconds_to_due(self, now: str) -> float | None:
        """How long until the next row falls due that is not due yet; None where there is none."""
        async with self._query() as view:
            return await worklist.seconds_to_due(view, now)

    async def work_of(self, name: str) -> list[WorkItem]:
        """All rows of the work list of a package, the packument's first."""
        async with self._query() as now:
            return await worklist.work_of(now, name)

    async def work_left(self, names: Collection[str] | None = None) -> int:
        """How many rows the work list has, of these packages or of all."""
        async with self._query() as now:
            return await worklist.work_left(now, names)

    async def status(self) -> IndexStatus:
        """The state of the whole in a few numbers."""
        async with self._snapshot() as now:
            return await status.status(now)

    async def package(self, name: str) -> PackageRow | None:
        """A package; None where its name was never met."""
        async with self._query() as now:
            return await listing.package(now, name)

    async def versions(self, name: str, version: str | None = None) -> list[VersionRow]:
        """The versions of a package, or one of them, in the order of their bytes."""
        async with self._query() as now:
            return await listing.versions(now, name, version)

    async def confusions(self, name: str, version: str | None = None) -> dict[str, Confusion]:
        """By version, which files' `package.json` differ from the packument; of one, or of all."""
        async with self._query() as now:
            return await confusions.of(now, name, version)

    async def dependencies(self, name: str, version: str) -> list[DependencyFacts]:
        """The dependencies of a version that a dist-tag names."""
        async with self._query() as now:
            return await listing.dependencies(now, name, version)

    async def revisions(self, name: str) -> list[RevisionRow]:
        """The captured packuments of a package, oldest first, stale ones among them."""
        async with self._query() as now:
            return await listing.revisions(now, name)

    async def events(self, name: str, after: int = 0) -> list[EventRow]:
        """The events of a package behind an id, oldest first."""
        async with self._query() as now:
            return await listing.events(now, name, after)

    async def held(
        self, after: tuple[str, str] = ("", ""), limit: int = 1000, only: str | None = None
    ) -> list[HeldFile]:
        """Tarballs that are held, of one package or of all.

        Ordered byte by byte by name and version, behind the pair `after`: the last pair of an
        answer is the place to go on from.
        """
        async with self._query() as now:
            return await listing.held(now, after, limit, only)

    async def stored(self, keys: Sequence[Key]) -> dict[Key, StoredRow]:
        """What is known of the files of these versions (name, version), as far as they are known."""
        async with self._query() as now:
            return await auditing.keyed(now, keys)

    async def all_stored(
        self, after: Key = ("", ""), limit: int = 1000, only: str | None = None
    ) -> list[StoredRow]:
        """Versions whose files are held or were dropped, paged as by `held`."""
        async with self._query() as now:
            return await auditing.stored(now, after, limit, only)

    async def damaged(
        self, after: Key = ("", ""), limit: int = 1000, only: str | None = None
    ) -> list[StoredRow]:
        """Versions whose files `verify` found damaged and that are not whole again; so paged."""
        async with self._query() as now:
            return await auditing.damaged(now, after, limit, only)

    async def revisions_at(self, ordinals: Sequence[int]) -> dict[int, tuple[str, str, Location]]:
        """Package, SHA-256 (hex) and place of those revisions of these ordinals that are known."""
        async with self._query() as now:
            return await auditing.revisions_at(now, ordinals)

    async def revisions_after(
        self, ordinal: int, limit: int
    ) -> list[tuple[int, str, str, Location, int]]:
        """Ordinal, package, SHA-256 (hex), place and length of the revisions behind an ordinal."""
        async with self._query() as now:
            return await auditing.revisions_after(now, ordinal, limit)

    async def known_paths(self, paths: Sequence[str]) -> set[str]:
        """Those of these paths that some version's file has; reads the whole table."""
        async with self._query() as now:
            return await auditing.known_paths(now, paths)

    async def names(self, after: str = "", limit: int = 1000) -> list[str]:
        """Names of packages of which something was captured, behind one, in their order."""
        async with self._query() as now:
            rows = await now.rows(
                "SELECT name FROM packages WHERE name > ? AND state <> '' ORDER BY name LIMIT ?",
                (storable(after), limit),
            )
        return [name for (name,) in rows]

    async def names_from(self, beginning: str, limit: int) -> list[str]:
        """Names of captured packages that begin so, in their order."""
        prefix = storable(beginning)
        async with self._query() as now:
            rows = await now.rows(names.STARTING, (prefix, prefix + names.BEHIND, limit))
        return [name for (name,) in rows]

    async def captured_among(self, asked: Sequence[str]) -> list[str]:
        """Those of these names of which something was captured."""
        found: list[str] = []
        for start in range(0, len(asked), NAMES_EACH):
            spelt = [storable(name) for name in asked[start : start + NAMES_EACH]]
            async with self._query() as now:
                rows = await now.rows(listed(names.AMONG, len(spelt)), spelt)
            found += [name for (name,) in rows]
        return found

    async def resumption(self, command: str) -> Resumption | None:
        """How far a long command came; None where it is not in the middle of anything."""
        async with self._query() as now:
            return await bookkeeping.resumption(now, command)

    async def untried(self, who: str, most: int) -> int:
        """How many rows that somebody brought wait for their first try; counted up to `most`."""
        async with self._query() as now:
            return await bringing.untried(now, who, most)

    async def untried_packages(self, who: str, most: int) -> int:
        """How many of so many rows at most that somebody brought, untried, are packuments."""
        async with self._query() as now:
            return await bringing.untried_packages(now, who, most)

    async def failed(self, who: str) -> int:
        """How many rows that somebody brought were tried and are not done."""
        async with self._query() as now:
            return await bringing.failed(now, who)

    async def meta(self, key: str) -> str | None:
        """What the index notes about itself under a key; None where it does not."""
        async with self._query() as now:
            return await bringing.meta(now, key)

    async def cursor(self) -> Seq | None:
        """The feed's cursor; None before the first."""
        async with self._query() as now:
            return (await bookkeeping.progress(now))[0]

    async def checkpoint(self) -> Position | None:
        """The position before which everything is finished; None before the first."""
        async with self._query() as now:
            return (await bookkeeping.progress(now))[1]

    async def receipts(self) -> list[KeptReceipt]:
        """The page receipts that are kept, oldest first."""
        async with self._query() as now:
            return await bookkeeping.receipts(now)

    async def last_mark(self) -> Mark | None:
        """How far the capture log is indexed; None where nothing of it is."""
        async with self._query() as now:
            return await bookkeeping.last_mark(now)

    async def mark_at(self, at: str) -> Mark | None:
        """The newest mark of that time or before; None where there is none."""
        async with self._query() as now:
            return await bookkeeping.mark_at(now, at)

    async def following(self) -> StoredFollowing | None:
        """The first start of following; None where there was none."""
        async with self._query() as now:
            return await bookkeeping.first_following(now)
