"""Packages that upstream has no longer: held by the breaker, on the way to be confirmed, gone.

Lists are paged by a place that each page's last row gives.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

import orjson

from npmmirror.change import Seq
from npmmirror.index.group import Group, HeldRemoval
from npmmirror.index.rows import Package, json_text
from npmmirror.outcome import WorkItem
from npmmirror.sqlite import Transaction, storable

GONE: Final = ("unpublished", "security_hold", "removed")
"""The states of what upstream has no longer; as the index `packages_gone` has them."""

_GONE: Final = "state IN ('unpublished', 'security_hold', 'removed')"
_HELD: Final = (
    "SELECT p.name, h.held_at, h.seq, h.evidence FROM held_removals AS h "
    "JOIN packages AS p ON p.id = h.package_id"
)
_HOLD: Final = """
INSERT INTO held_removals (package_id, held_at, seq, evidence) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET seq = excluded.seq, evidence = excluded.evidence
"""
_UNHOLD: Final = "DELETE FROM held_removals WHERE package_id = ?"
_DECIDED: Final = """
INSERT OR REPLACE INTO removal_breaker
SELECT 1, ? WHERE NOT EXISTS (SELECT 1 FROM held_removals)
"""
_STANDING: Final = """
SELECT (SELECT count(*) FROM held_removals), (SELECT min(held_at) FROM held_removals),
    coalesce((SELECT number FROM totals WHERE what = 'packages_live'), 0),
    (SELECT decided_at FROM removal_breaker)
"""
# Asked with each removal: nothing of it counts rows, of which there may be millions.
_TRIPPED: Final = """
SELECT EXISTS (SELECT 1 FROM held_removals),
    coalesce((SELECT number FROM totals WHERE what = 'packages_live'), 0)
"""
_REMOVED_SINCE: Final = f"""
SELECT substr(observed_at, 1, 16), count(*) FROM packages
WHERE {_GONE} AND state = 'removed' AND observed_at > ? GROUP BY 1 ORDER BY 1
"""  # noqa: S608  a constant
_CONFIRMING: Final = """
SELECT w.id, p.name, w.reason, w.not_before, w.attempts, w.rev, w.seq, w.since, w.detail, w.deleted
FROM work_list AS w JOIN packages AS p ON p.id = w.package_id
WHERE w.id > ?1 AND (w.attempts > 0 OR w.not_before IS NULL)
    AND w.item = '' AND w.reason = 'not_found' AND p.state <> ''
ORDER BY w.id LIMIT ?2
"""
_HOLDINGS: Final = """
    (SELECT count(*) FROM versions WHERE package_id = p.id),
    (SELECT count(*) FROM versions
     WHERE package_id = p.id AND state IN ('held', 'unverifiable')),
    (SELECT coalesce(sum(size), 0) FROM versions
     WHERE package_id = p.id AND state IN ('held', 'unverifiable')),
    (SELECT count(*) FROM revisions WHERE package_id = p.id)
"""
_ALL_HELD: Final = f"""
SELECT p.id, p.name, h.held_at, h.seq, h.evidence, {_HOLDINGS}
FROM held_removals AS h JOIN packages AS p ON p.id = h.package_id
WHERE h.package_id > ? ORDER BY h.package_id LIMIT ?
"""  # noqa: S608  a constant
# The event that says why: the newest of its kind, which is one of the package's last.
_PACKAGES_GONE: Final = f"""
SELECT p.id, p.name, p.state, p.observed_at, p.seq, p.rev, p.ordinal, {_HOLDINGS}, e.happened_at,
    coalesce(e.detail, '{{}}')
FROM packages AS p LEFT JOIN events AS e ON e.id = (
    SELECT max(id) FROM events WHERE package_id = p.id
    AND kind IN ('package_removed', 'package_unpublished', 'security_hold'))
WHERE {_GONE} AND (?1 IS NULL OR state = ?1) AND (p.observed_at, p.id) > (?2, ?3)
ORDER BY p.observed_at, p.id LIMIT ?4
"""  # noqa: S608  constants


@dataclass(frozen=True, slots=True)
class Standing:
    """The breaker's: how many removals are `held`, since when, and how many packages are `live`.

    `decided_at` is when the operator last decided about the last of them.
    """

    held: int
    held_since: str | None
    live: int
    decided_at: str | None


@dataclass(frozen=True, slots=True)
class Holdings:
    """What we hold of a package: versions known, tarballs and their bytes, revisions."""

    versions: int
    tarballs: int
    tarball_bytes: int
    revisions: int


@dataclass(frozen=True, slots=True)
class GonePackage:
    """A package that upstream has no longer.

    `happened_at` and `detail` are those of the event that told it; without one (it was gone at its
    first sight) they are None and empty. `place` is where the next page begins.
    """

    name: str
    state: str
    observed_at: str
    seq: Seq | None
    rev: str | None
    ordinal: int
    holdings: Holdings
    happened_at: str | None
    detail: dict[str, Any]
    place: tuple[str, int]


class Removals:
    """What an index says of removals; `query` lends a connection for one short transaction."""

    def __init__(self, query: Callable[[], AbstractAsyncContextManager[Transaction]]) -> None:
        self._query = query

    async def standing(self) -> Standing:
        """Where the breaker is."""
        async with self._query() as now:
            return await standing(now)

    async def tripped(self) -> tuple[bool, int]:
        """Whether any removal is held, and how many packages are live."""
        async with self._query() as now:
            [(held, live)] = await now.rows(_TRIPPED)
        return held == 1, live

    async def since(self, at: str) -> list[tuple[str, int]]:
        """How many packages were removed behind a time, by minute (`2026-11-22T08:00`)."""
        async with self._query() as now:
            rows = await now.rows(_REMOVED_SINCE, (at,))
        return [(minute, count) for minute, count in rows]

    async def of(self, name: str) -> HeldRemoval | None:
        """The removal of a package that is held; None where none is."""
        async with self._query() as now:
            row = await now.row(f"{_HELD} WHERE p.name = ?", (storable(name),))
        return _held(row) if row is not None else None

    async def held(self, after: int, limit: int) -> list[tuple[int, HeldRemoval, Holdings]]:
        """Removals that are held, each behind its place, with what we hold of the package."""
        async with self._query() as now:
            rows = await now.rows(_ALL_HELD, (after, limit))
        return [(row[0], _held(row[1:5]), Holdings(*row[5:])) for row in rows]

    async def confirming(self, after: int, limit: int) -> list[tuple[int, WorkItem]]:
        """Rows of captured packages that were not there and are asked for again, by place."""
        async with self._query() as now:
            rows = await now.rows(_CONFIRMING, (after, limit))
        return [
            (place, WorkItem(*(name, "", *told, deleted == 1)))
            for place, name, *told, deleted in rows
        ]

    async def gone(
        self, after: tuple[str, int], limit: int, state: str | None = None
    ) -> list[GonePackage]:
        """Packages that are gone (of one state, or all), oldest first, behind a place."""
        async with self._query() as now:
            return [_gone(row) for row in await now.rows(_PACKAGES_GONE, (state, *after, limit))]


async def standing(now: Transaction) -> Standing:
    """Where the breaker is."""
    [row] = await now.rows(_STANDING)
    return Standing(*row)


async def put(now: Transaction, group: Group, packages: Mapping[str, Package]) -> None:
    """Hold what the breaker held, and let go of what is decided, or was contradicted.

    A removal that is applied is held no more, nor is one whose package has a new document.
    """
    [(any_held,)] = await now.rows("SELECT EXISTS (SELECT 1 FROM held_removals)")
    if any_held:
        ended = [doc.name for doc in group.documents if doc.effects is not None]
        ended += [*(gone.name for gone in group.gone), *group.unheld]
        await now.run_many(_UNHOLD, [(packages[name].id,) for name in ended])
    if group.held:
        await now.run_many(
            _HOLD,
            [
                (packages[held.name].id, held.at, _seq(held.seq), json_text(held.evidence))
                for held in group.held
            ],
        )
    if group.decided_at is not None:
        await now.run(_DECIDED, (group.decided_at,))


def _seq(seq: Seq | None) -> Seq | None:
    return storable(seq) if isinstance(seq, str) else seq


def _held(row: Sequence[Any]) -> HeldRemoval:
    name, at, seq, evidence = row
    return HeldRemoval(name, at, orjson.loads(evidence), seq)


def _gone(row: Sequence[Any]) -> GonePackage:
    number, name, state, observed_at, seq, rev, ordinal, *holdings, happened_at, detail = row
    return GonePackage(
        *(name, state, observed_at, seq, rev, ordinal, Holdings(*holdings)),
        *(happened_at, orjson.loads(detail), (observed_at, number)),
    )
