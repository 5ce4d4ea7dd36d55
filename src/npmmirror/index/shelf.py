"""The versions of packages with their files, as far as retention needs them."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from npmmirror.outcome import HELD
from npmmirror.sqlite import Row, Transaction, storable

# One row with everything in it as JSON: see `known`.
_SHELF: Final = """
SELECT p.name, p.state, p.latest,
    (SELECT json_group_array(json_array(
        version, present, published_at, state, reason, size, path))
     FROM versions WHERE package_id = p.id {only}),
    (SELECT json_group_array(version) FROM skips WHERE package_id = p.id AND reason = 'too_large'),
    (SELECT json_group_array(item) FROM work_list WHERE package_id = p.id)
FROM packages AS p
"""
_HELD: Final = "AND state IN ('held', 'unverifiable')"
_ONE: Final = f"{_SHELF.format(only='')} WHERE p.name = ?"
_HELD_AFTER: Final = f"{_SHELF.format(only=_HELD)} WHERE p.name > ? ORDER BY p.name LIMIT ?"
_AFTER: Final = f"{_SHELF.format(only='')} WHERE p.name > ? ORDER BY p.name LIMIT ?"
_SKIPPED: Final = (
    "SELECT version FROM skips WHERE reason = 'too_large' "
    "AND package_id = (SELECT id FROM packages WHERE name = ?)"
)
_SKIPPED_PACKAGES: Final = """
SELECT p.name FROM packages AS p
WHERE p.name > ?1 AND p.name <= ?2
    AND EXISTS (SELECT 1 FROM skips AS s WHERE s.package_id = p.id AND s.version = ''
                AND s.reason IN ('policy', 'too_large'))
    AND NOT EXISTS (SELECT 1 FROM work_list AS w WHERE w.package_id = p.id AND w.item = '')
ORDER BY p.name
"""


@dataclass(frozen=True, slots=True)
class Shelved:
    """A version. `size` and `path` are of our file, `reason` says why it was dropped."""

    version: str
    present: bool
    published_at: str | None
    state: str
    reason: str | None
    size: int | None
    path: str | None

    @property
    def held(self) -> bool:
        """Whether its file is here."""
        return self.state in HELD


@dataclass(frozen=True, slots=True)
class Shelf:
    """A package's versions. `latest` is what the dist-tag names, `state` the package's.

    `too_large` are the versions that were skipped for their size, `waiting` the items that are on
    the work list.
    """

    package: str
    state: str
    latest: str | None
    versions: tuple[Shelved, ...]
    too_large: frozenset[str]
    waiting: frozenset[str]


async def shelf(now: Transaction, name: str) -> Shelf | None:
    """All versions of a package; None where its name was never met."""
    row = await now.row(_ONE, (storable(name),))
    return _shelf(row) if row is not None else None


async def shelves(now: Transaction, after: str, limit: int, *, held_only: bool) -> list[Shelf]:
    """Packages behind a name, in the order of their names; those without versions among them."""
    query = _HELD_AFTER if held_only else _AFTER
    return [_shelf(row) for row in await now.rows(query, (storable(after), limit))]


async def too_large(now: Transaction, name: str) -> set[str]:
    """The versions of a package that were skipped for their size."""
    return {version for (version,) in await now.rows(_SKIPPED, (storable(name),))}


async def skipped_packages(now: Transaction, after: str, last: str) -> list[str]:
    """Packages in a range of names that were skipped as a whole and are not on the work list."""
    rows = await now.rows(_SKIPPED_PACKAGES, (storable(after), storable(last)))
    return [name for (name,) in rows]


def _shelf(row: Row) -> Shelf:
    name, state, latest, versions, large, waiting = row
    found: list[list[Any]] = orjson.loads(versions)
    return Shelf(
        name,
        state,
        latest,
        tuple(Shelved(version, present == 1, *rest) for version, present, *rest in found),
        frozenset(orjson.loads(large)),
        frozenset(orjson.loads(waiting)),
    )
