"""Reading the work list: what is due, and what is left."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from npmmirror.clock import moment
from npmmirror.outcome import WorkItem
from npmmirror.sqlite import Row, Transaction, storable

_ITEM: Final = (
    "item, reason, not_before, attempts, rev, seq, since, detail, origin, announced_at, deleted"
)
_IDS: Final = (
    "SELECT json_group_array(id) FROM packages WHERE name IN (SELECT value FROM json_each(?))"
)
# Packages in the order of their oldest due row. Those passed over are skipped inside SQLite, so
# that one with thousands of rows costs a look at its part of the index, and no more.
_CHOOSE: Final = """
SELECT DISTINCT not_before, package_id FROM work_list
WHERE not_before <= ? AND (not_before, package_id) > (?, ?)
  AND package_id NOT IN (SELECT value FROM json_each(?))
  AND origin NOT IN (SELECT value FROM json_each(?))
ORDER BY not_before, package_id LIMIT ?
"""
_CHOOSE_ONLY: Final = """
SELECT DISTINCT not_before, package_id FROM work_list
WHERE not_before <= ? AND (not_before, package_id) > (?, ?)
  AND package_id NOT IN (SELECT value FROM json_each(?))
  AND origin NOT IN (SELECT value FROM json_each(?))
  AND package_id IN (SELECT value FROM json_each(?))
ORDER BY not_before, package_id LIMIT ?
"""
# The packument ('') comes first, as it may say something new of the tarballs.
_ROWS: Final = """
SELECT p.id, p.name, (
    SELECT json_group_array(json_array(
        item, reason, not_before, attempts, rev, seq, since, detail, origin, announced_at,
        deleted))
    FROM (SELECT * FROM work_list WHERE package_id = p.id AND not_before <= ?1
          ORDER BY item LIMIT ?2))
FROM packages AS p WHERE p.id IN (SELECT value FROM json_each(?3))
"""


def names_json(names: Iterable[str]) -> str:
    """Names for `json_each`."""
    return orjson.dumps([storable(name) for name in names]).decode()


def item_of(name: str, row: Sequence[Any]) -> WorkItem:
    """A row of the columns `_ITEM`."""
    *values, origin, announced_at, deleted = row
    return WorkItem(*(name, *values, deleted == 1, origin, announced_at))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the work list: see `IndexReader.due`."""

    at: str
    packages: int
    rows_each: int
    busy: Collection[str]
    only: Collection[str] | None
    held: Collection[str] = ()


async def due(now: Transaction, asked: Asked) -> dict[str, list[WorkItem]]:
    """The due rows of so many packages, those first whose oldest row has waited longest."""
    passed = await _numbers(now, asked.busy)
    among = await _numbers(now, asked.only) if asked.only is not None else None
    held = orjson.dumps([*asked.held]).decode()
    chosen: list[int] = []
    last: Row = ("", 0)
    while len(chosen) < asked.packages:
        wanted = asked.packages - len(chosen)
        values = (asked.at, *last, _json([*passed, *chosen]), held)
        found = await _choose(now, values, among, wanted)
        chosen += dict.fromkeys(number for _, number in found)
        if len(found) < wanted:
            break
        last = found[-1]
    rows = await now.rows(_ROWS, (asked.at, asked.rows_each, _json(chosen)))
    found_rows = {number: (name, orjson.loads(items)) for number, name, items in rows}
    return {
        name: [item_of(name, item) for item in items]
        for name, items in (found_rows[number] for number in chosen)
    }


async def _choose(
    now: Transaction, values: Row, among: Sequence[int] | None, limit: int
) -> list[Row]:
    if among is None:
        return await now.rows(_CHOOSE, (*values, limit))
    return await now.rows(_CHOOSE_ONLY, (*values, _json(among), limit))


async def _numbers(now: Transaction, names: Collection[str]) -> list[int]:
    if not names:
        return []
    [(numbers,)] = await now.rows(_IDS, (names_json(names),))
    found: list[int] = orjson.loads(numbers)
    return found


def _json(numbers: Sequence[int]) -> str:
    return orjson.dumps(numbers).decode()


async def seconds_to_due(now: Transaction, at: str) -> float | None:
    """How long until the next row falls due that is not due yet; None where there is none."""
    row = await now.row(
        "SELECT not_before FROM work_list WHERE not_before > ? ORDER BY not_before LIMIT 1", (at,)
    )
    if row is None:
        return None
    return (moment(row[0]) - moment(at)).total_seconds()


async def work_of(now: Transaction, name: str) -> list[WorkItem]:
    """All rows of a package, the packument's first."""
    rows = await now.rows(
        f"SELECT {_ITEM} FROM work_list "  # noqa: S608  a constant
        "WHERE package_id = (SELECT id FROM packages WHERE name = ?) ORDER BY item",
        (storable(name),),
    )
    return [item_of(name, row) for row in rows]


async def work_left(now: Transaction, names: Collection[str] | None) -> int:
    """How many rows there are, of these packages or of all."""
    if names is None:
        [(count,)] = await now.rows("SELECT count(*) FROM work_list")
    else:
        [(count,)] = await now.rows(
            "SELECT count(*) FROM work_list WHERE package_id IN (SELECT id FROM packages "
            "WHERE name IN (SELECT value FROM json_each(?)))",
            (names_json(names),),
        )
    return int(count)


async def last_errors(now: Transaction, count: int) -> list[WorkItem]:
    """The rows put last that tell of a failure, the newest first."""
    rows = await now.rows(
        f"SELECT (SELECT name FROM packages WHERE id = package_id), {_ITEM} "  # noqa: S608  a constant
        "FROM work_list WHERE attempts > 0 OR not_before IS NULL ORDER BY id DESC LIMIT ?",
        (count,),
    )
    return [item_of(name, row) for name, *row in rows]
