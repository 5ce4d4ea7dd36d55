"""One group's commit: its rows put into the tables, in their order, within one transaction."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import orjson

from npmmirror.failpoints import reach
from npmmirror.index import (
    bookkeeping,
    confusions,
    erasing,
    latency,
    removals,
    signing,
    statements,
)
from npmmirror.index.group import Group
from npmmirror.index.rows import Batches, Compared, Package, cleaned, names
from npmmirror.sqlite import Batch, Row, Transaction, listed, storable

NAMES_EACH: Final = 1000

_PACKAGES: Final = (
    "SELECT json_group_array(json_array(name, id, state)) FROM packages WHERE name IN ({list})"
)
_STANDING: Final = (
    "SELECT count(*), coalesce(sum(held), 0), coalesce(sum(held * size), 0) FROM ("
    "SELECT state IN ('held', 'unverifiable') AS held, coalesce(size, 0) AS size "
    "FROM (VALUES {list}) AS k CROSS JOIN versions "
    "WHERE package_id = k.column1 AND version = k.column2)"
)

Rows = Iterable[Row]
Clean = Callable[[Rows], Rows]
"""Makes rows such that SQLite can hold them."""


async def put_group(now: Transaction, group: Group, clean: Clean) -> None:
    """Put a group into every table that it touches; its rows are put as `clean` makes them."""
    packages = await packages_of(now, names(group), [name for name, _ in group.work_done])
    commit = _Commit(now, Batches(group, packages), clean)
    reach("index.begun")
    await commit.captures()
    await commit.files()
    await commit.signing()
    await commit.confusions()
    await commit.latencies()
    await commit.erasures()
    await commit.work()
    await removals.put(now, group, packages)
    await commit.totals()
    await bookkeeping.close_group(now, group)


async def packages_of(
    now: Transaction, needed: Sequence[str], found: Sequence[str]
) -> dict[str, Package]:
    """The packages of these names.

    Where they have no numbers, those `needed` are given some, and those to be `found` are left out.
    """
    wanted = list(dict.fromkeys((*needed, *found)))
    packages: dict[str, Package] = {}
    for start in range(0, len(wanted), NAMES_EACH):
        packages |= await _look_up(now, wanted[start : start + NAMES_EACH])
    new = [name for name in needed if name not in packages]
    if new:
        [(last,)] = await now.rows("SELECT coalesce(max(id), 0) FROM packages")
        stored = dict.fromkeys(storable(name) for name in new)
        numbers = {name: number for number, name in enumerate(stored, start=last + 1)}
        await now.run_batch(statements.NAME, [(numbers[name], name) for name in stored])
        packages |= {name: Package(numbers[storable(name)]) for name in new}
    return packages


async def _look_up(now: Transaction, names: Sequence[str]) -> dict[str, Package]:
    spelt = [storable(name) for name in names]
    [(found,)] = await now.rows(
        listed(_PACKAGES, len(spelt)),
        spelt,
    )
    rows = {name: Package(number, state) for name, number, state in orjson.loads(found)}
    return {name: rows[stored] for name, stored in zip(names, spelt, strict=True) if stored in rows}


class _Commit:
    """One transaction of a group, table by table."""

    def __init__(self, now: Transaction, batches: Batches, clean: Clean) -> None:
        self._now = now
        self._batches = batches
        self._packages = batches.packages
        self._clean = clean
        self._totals = batches.counts()

    async def _put(self, batch: Batch, rows: Rows) -> int:
        return await self._now.run_batch(batch, self._clean(rows))

    async def captures(self) -> None:
        """What documents and their absence say."""
        batches = self._batches
        await self._put(statements.DOCUMENT, batches.documents())
        await self._put(statements.STALE, batches.stale())
        await self._put(statements.GONE, batches.gone())
        await self._put(statements.TOUCH, batches.touched())
        await self._versions()
        await self._clear("tags")
        await self._put(statements.TAG, batches.tags())
        await self._clear("people")
        await self._put(statements.PERSON, batches.people())
        await self._clear("dependencies")
        await self._put(statements.DEPENDENCY, batches.dependencies())
        await self._put(statements.REVISION, batches.revisions())
        await self._put(statements.EVENT, batches.events())

    async def _versions(self) -> None:
        seen = [pair for pair in self._batches.compared if self._packages[pair[0].name].state]
        new = [pair for pair in self._batches.compared if not self._packages[pair[0].name].state]
        again = [cleaned(row[:2]) for row in self._batches.versions(seen)]
        self._totals.subtract(await signing.counted(self._now, again))
        # Insertion passes over rows that are there, so that it counts those that are new; a
        # package seen first has none, unless a tarball of it was stored without any document.
        self._totals["versions"] += await self._insert_versions(seen)
        await self._put(statements.VERSION, self._batches.versions(seen))
        inserted = await self._insert_versions(new)
        self._totals["versions"] += inserted
        if inserted < sum(len(effects.versions) for _, effects in new):
            await self._put(statements.VERSION, self._batches.versions(new))
        await self._put(statements.VANISHED, self._batches.vanished())
        self._totals.update(await signing.counted(self._now, again))
        self._totals.update(self._batches.signed(new))
        await self._put(signing.UNKNOWN, self._batches.unknown_signers())

    async def _insert_versions(self, compared: list[Compared]) -> int:
        return await self._put(statements.NEW_VERSION, self._batches.versions(compared))

    async def _clear(self, field: str) -> None:
        """Empty a set's table of the packages whose documents bring its rows anew."""
        packages = [
            package.id
            for doc, effects in self._batches.compared
            if getattr(effects, field) is not None and (package := self._packages[doc.name]).state
        ]
        if packages:
            await self._now.run(listed(statements.CLEAR[field], len(packages)), packages)

    async def files(self) -> None:
        """What tarballs were stored and dropped."""
        rows = self._batches.files()
        for start in range(0, len(rows), NAMES_EACH):
            await self._files(rows[start : start + NAMES_EACH])

    async def _files(self, rows: list[Row]) -> None:
        keys = [row[:2] for row in rows]
        before = await self._standing(keys)
        await self._put(statements.FILE, rows)
        after = await self._standing(keys)
        for what, old, new in zip(
            ("versions", "tarballs", "tarball_bytes"), before, after, strict=True
        ):
            self._totals[what] += new - old

    async def confusions(self) -> None:
        """What the files say otherwise than their packuments."""
        await self._put(confusions.CLEAR, self._batches.compared_files())
        await self._put(confusions.PUT, self._batches.confusions())

    async def _standing(self, keys: list[Row]) -> Row:
        """Of these versions: how many have a row, how many a file, and of how many bytes."""
        values = [value for key in map(cleaned, keys) for value in key]
        [found] = await self._now.rows(listed(_STANDING, len(keys), "(?, ?)"), values)
        return found

    async def signing(self) -> None:
        """The registry's keys, and answers about attestations."""
        await self._put(signing.KEYS, self._batches.keys())
        rows = list(self._batches.bundles())
        if rows:
            keys = [cleaned(row[:2]) for row in rows]
            self._totals[signing.BUNDLES] -= await signing.bundled(self._now, keys)
            await self._put(signing.BUNDLE, rows)
            self._totals[signing.BUNDLES] += await signing.bundled(self._now, keys)

    async def latencies(self) -> None:
        """How long the versions that came, and their files, were on their way."""
        await latency.put(self._now, self._batches, self._put)

    async def erasures(self) -> None:
        """Take out what is to be erased, the group's own part of it included."""
        for erasure in self._batches.group.erasures:
            number = self._packages[erasure.name].id
            await latency.take_out(self._now, number)
            self._totals.update(await erasing.erase(self._now, number, erasure))

    async def work(self) -> None:
        """What is finished, not wanted, and left to do."""
        batches = self._batches
        await self._put(statements.FINISHED, batches.finished())
        await self._put(statements.UNSKIP, batches.unskipped())
        await self._put(statements.SKIP, batches.skips())
        await self._put(statements.WORK_DONE, batches.work_done())
        await self._put(statements.WAKE, batches.wake())
        await self._put(statements.WORK, batches.work_put())

    async def totals(self) -> None:
        """Add up what the group brought; the last step of its tables."""
        rows = [(what, number) for what, number in self._totals.items() if number]
        await self._put(statements.TOTAL, rows)
