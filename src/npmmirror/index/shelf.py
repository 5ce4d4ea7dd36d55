"""The versions of packages with their files, as far as retention needs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from npmmirror.outcome import HELD, NOT_HELD, WorkItem
from npmmirror.sqlite import Row, Transaction, storable

# One row with everything in it as JSON: see `known`.
_SHELF: Final = """
SELECT p.name, p.state, p.latest,
    (SELECT json_group_array(json_array(
        version, present, published_at, state, reason, size, path))
     FROM versions WHERE package_id = p.id {only}),
    (SELECT json_group_array(version) FROM skips WHERE package_id = p.id AND reason = 'too_large'),
    (SELECT json_group_array(item) FROM work_list WHERE package_id = p.id),
    EXISTS (SELECT 1 FROM skips
            WHERE package_id = p.id AND version = '' AND reason = 'policy'),
    EXISTS (SELECT 1 FROM skips
            WHERE package_id = p.id AND version = '' AND reason = 'packument_too_large'),
    EXISTS (SELECT 1 FROM held_removals WHERE package_id = p.id)
        OR EXISTS (SELECT 1 FROM finished WHERE package_id = p.id AND deleted = 1)
        OR EXISTS (SELECT 1 FROM work_list WHERE package_id = p.id AND item = ''
                   AND (deleted = 1 OR attempts > 0 OR not_before IS NULL))
FROM packages AS p
"""
_HELD: Final = "AND state IN ('held', 'unverifiable')"
_ONE: Final = f"{_SHELF.format(only='')} WHERE p.name = ?"
_OF: Final = f"{_SHELF.format(only='')} WHERE p.name IN (SELECT value FROM json_each(?))"  # noqa: S608  constants
_AMONG: Final = "WHERE p.name > ? AND p.name <= ? ORDER BY p.name"
_HELD_AMONG: Final = f"{_SHELF.format(only=_HELD)} {_AMONG}"
_ALL_AMONG: Final = f"{_SHELF.format(only='')} {_AMONG}"
# Counted up to the limit alone: one package may have tens of thousands.
_SIZES: Final = """
SELECT name, (SELECT count(*) FROM (SELECT 1 FROM versions WHERE package_id = p.id LIMIT ?3))
FROM packages AS p WHERE name > ?1 ORDER BY name LIMIT ?2
"""
_SKIPPED: Final = (
    "SELECT version FROM skips WHERE reason = 'too_large' "
    "AND package_id = (SELECT id FROM packages WHERE name = ?)"
)
_NOT_HELD: Final = (
    "SELECT version FROM skips WHERE +reason = ? "
    "AND package_id = (SELECT id FROM packages WHERE name = ?) ORDER BY version"
)
_LENGTH: Final = (
    "SELECT r.length FROM packages AS p JOIN revisions AS r ON r.ordinal = p.revision "
    "WHERE p.name = ?"
)
_APPLIED: Final = "policy_applied"
"""The key of `meta` under which the policy stands that was applied last."""
_NEW_WORK: Final = (
    "INSERT OR IGNORE INTO work_list "
    "(package_id, item, reason, not_before, attempts, deleted, since, detail, origin) "
    "SELECT id, ?, ?, ?, 0, 0, ?, '', ? FROM packages WHERE name = ?"
)


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
    the work list; `skipped` says that the policy did not want the package when it last changed,
    `outsized` that its document was too large then.
    `doubted`: it may be gone upstream, for the feed calls it deleted, its removal is held by the
    breaker, or the last look at it failed.
    """

    package: str
    state: str
    latest: str | None
    versions: tuple[Shelved, ...]
    too_large: frozenset[str]
    waiting: frozenset[str]
    skipped: bool
    outsized: bool
    doubted: bool


async def shelf(now: Transaction, name: str) -> Shelf | None:
    """All versions of a package; None where its name was never met."""
    found = await row(now, name)
    return read(found) if found is not None else None


async def rows_of(now: Transaction, names: Sequence[str]) -> list[Row]:
    """The rows of the packages of these names that are known."""
    return await now.rows(_OF, (orjson.dumps([storable(name) for name in names]).decode(),))


async def row(now: Transaction, name: str) -> Row | None:
    """The row of a package that `read` makes its shelf of."""
    return await now.row(_ONE, (storable(name),))


@dataclass(frozen=True, slots=True)
class Page:
    """Packages behind a name, in the order of their names: so many, and so many versions of them.

    A package with more versions is a page of its own. `held_only`: held versions alone are wanted.
    """

    after: str
    packages: int
    versions: int
    held_only: bool


async def page(now: Transaction, asked: Page) -> list[Row]:
    """The rows that `read` makes shelves of; packages without versions are among them."""
    after, versions = storable(asked.after), asked.versions
    last = None
    for name, count in await now.rows(_SIZES, (after, asked.packages, versions)):
        versions -= count
        if last is not None and versions < 0:
            break
        last = name
    if last is None:
        return []
    return await now.rows(_HELD_AMONG if asked.held_only else _ALL_AMONG, (after, last))


async def too_large(now: Transaction, name: str) -> set[str]:
    """The versions of a package that were skipped for their size."""
    return {version for (version,) in await now.rows(_SKIPPED, (storable(name),))}


async def not_held(now: Transaction, name: str) -> list[str]:
    """The versions of a package whose tarballs upstream, a mirror, did not hold."""
    return [version for (version,) in await now.rows(_NOT_HELD, (NOT_HELD, storable(name)))]


async def any_not_held(now: Transaction) -> bool:
    """Whether there is any such version."""
    [(found,)] = await now.rows("SELECT EXISTS (SELECT 1 FROM skips WHERE reason = ?)", (NOT_HELD,))
    return bool(found)


async def document_length(now: Transaction, name: str) -> int | None:
    """How many bytes the newest document of a package has that is not stale, decompressed."""
    found = await now.row(_LENGTH, (storable(name),))
    return found[0] if found is not None else None


async def applied_policy(now: Transaction) -> str | None:
    """What is kept of the policy that was applied last, in its owner's words."""
    found = await now.row("SELECT value FROM meta WHERE key = ?", (_APPLIED,))
    return found[0] if found is not None else None


async def apply_policy(now: Transaction, text: str) -> None:
    """Keep it."""
    await now.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_APPLIED, text))


async def put_new_work(now: Transaction, rows: Sequence[WorkItem]) -> int:
    """Put rows on the work list, but where there is one of the same item; how many."""
    put = 0
    for new in rows:
        item, package = storable(new.item), storable(new.package)
        values = (item, new.reason, new.not_before, new.since, new.origin, package)
        put += await now.run(_NEW_WORK, values)
    return put


def read(found: Row) -> Shelf:
    """A shelf of its row. With many thousand versions that takes its time: not for the loop."""
    name, state, latest, versions, large, waiting, skipped, outsized, doubted = found
    all_of_them: list[list[Any]] = orjson.loads(versions)
    return Shelf(
        name,
        state,
        latest,
        tuple(Shelved(version, present == 1, *rest) for version, present, *rest in all_of_them),
        frozenset(orjson.loads(large)),
        frozenset(orjson.loads(waiting)),
        skipped == 1,
        outsized == 1,
        doubted == 1,
    )
