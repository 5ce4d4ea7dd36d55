"""What other mirrors ask: what changed since an ordinal, and which packages there are.

The rows are written by SQLite itself, as JSON: ten thousand of them as objects of Python would hold
the interpreter's lock, and so the event loop, for tens of milliseconds. Steps of a transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from npmmirror.sqlite import Transaction, storable

_HEAD: Final = """
SELECT coalesce((SELECT max(ordinal) FROM marks), 0),
    coalesce((SELECT sum(number) FROM totals
              WHERE what IN ('packages_live', 'packages_unpublished', 'packages_security_hold')), 0)
"""
# As `change.made_rev` has it. What is erased has no document, and yet an entry.
_REV: Final = (
    "coalesce(p.rev, (SELECT r.ordinal || '-' || lower(hex(r.sha256)) FROM revisions AS r "
    "WHERE r.ordinal = p.revision), p.ordinal || '-' || printf('%064x', p.ordinal))"
)
_THERE: Final = "p.state IN ('live', 'unpublished', 'security_hold')"
_CHANGE: Final = (
    '\'{"seq":\' || p.touched || \',"id":\' || json_quote(p.name) || \',"changes":[{"rev":\' || '
    f"json_quote({_REV}) || '}}]' || iif({_THERE}, '}}', ',\"deleted\":true}}')"
)
_LISTED: Final = (
    "'{\"id\":' || json_quote(p.name) || ',\"key\":' || json_quote(p.name) || "
    f"',\"value\":{{\"rev\":' || json_quote({_REV}) || iif({_THERE}, '}}}}', "
    '\',"deleted":true},"doc":null}\')'
)
_CHANGES: Final = (
    "SELECT CAST(group_concat(row, ',') AS BLOB), count(*), max(seq) FROM ("  # noqa: S608  constants
    f"SELECT {_CHANGE} AS row, p.touched AS seq FROM packages AS p "
    "WHERE p.touched > ?1 AND p.touched <= ?2 AND p.state <> '' "
)
_AMONG: Final = "AND p.name IN (SELECT value FROM json_each(?4)) "
_BY_SEQ: Final = {
    False: "ORDER BY p.touched LIMIT ?3)",
    True: "ORDER BY p.touched DESC LIMIT ?3)",
}
_NAMES: Final = (
    "SELECT CAST(group_concat(row, ',') AS BLOB), count(*) FROM ("  # noqa: S608  constants
    f"SELECT {_LISTED} AS row FROM packages AS p WHERE {_THERE} "
)
_BY_NAME: Final = {False: "ORDER BY p.name LIMIT ?)", True: "ORDER BY p.name DESC LIMIT ?)"}
# In the order of the question, each as often as it is asked for.
_KEYS: Final = f"""
SELECT CAST(group_concat(row, ',') AS BLOB), count(*) FROM (
    SELECT iif(p.id IS NULL, '{{"key":' || json_quote(j.value) || ',"error":"not_found"}}',
               {_LISTED}) AS row
    FROM json_each(?1) AS j LEFT JOIN packages AS p ON p.name = j.value AND p.state <> ''
    ORDER BY j.id LIMIT ?2
)
"""  # noqa: S608  constants


@dataclass(frozen=True, slots=True)
class FeedHead:
    """Where our own feed ends: the newest mark's ordinal, and how many packages there are."""

    update_seq: int
    doc_count: int


@dataclass(frozen=True, slots=True)
class FeedRows:
    """Rows of an answer: JSON objects with commas between them, and how many they are.

    `last` is the greatest seq among them, None where they have none. All of one committed state.
    """

    json: bytes
    count: int
    head: FeedHead
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """A stretch of the names in the order of their bytes; None: from or to the very end.

    `low` belongs to it, and so does `high` unless `without_high`; alike `low` and `without_low`.
    """

    low: str | None = None
    high: str | None = None
    without_low: bool = False
    without_high: bool = False


async def head(now: Transaction) -> FeedHead:
    """Where the feed ends: what no mark is behind of is not told yet."""
    [(update_seq, doc_count)] = await now.rows(_HEAD)
    return FeedHead(update_seq, doc_count)


async def changes(
    now: Transaction,
    after: int,
    limit: int,
    *,
    descending: bool = False,
    names: Sequence[str] | None = None,
) -> FeedRows:
    """Packages whose newest change has an ordinal above `after`, by that ordinal; one row each.

    The newest first where `descending`; of these `names` alone where they are given.
    """
    end = await head(now)
    sql = _CHANGES + ("" if names is None else _AMONG) + _BY_SEQ[descending]
    parameters: list[int | str] = [after, end.update_seq, limit]
    if names is not None:
        parameters.append(_list(names))
    [(rows, count, last)] = await now.rows(sql, parameters)
    return FeedRows(rows or b"", count, end, last)


async def listing(
    now: Transaction, stretch: Names, limit: int, *, descending: bool = False
) -> FeedRows:
    """Packages that are there, by name."""
    bounds, parameters = _bounds(stretch)
    sql = _NAMES + bounds + _BY_NAME[descending]
    [(rows, count)] = await now.rows(sql, [*parameters, limit])
    return FeedRows(rows or b"", count, await head(now))


async def listed(now: Transaction, names: Sequence[str], limit: int) -> FeedRows:
    """These packages, in this order; one that was never there has a row that says so."""
    [(rows, count)] = await now.rows(_KEYS, (_list(names), limit))
    return FeedRows(rows or b"", count, await head(now))


def _bounds(stretch: Names) -> tuple[str, list[int | str]]:
    bounds = ""
    parameters: list[int | str] = []
    if stretch.low is not None:
        bounds += f"AND p.name {'>' if stretch.without_low else '>='} ? "
        parameters.append(storable(stretch.low))
    if stretch.high is not None:
        bounds += f"AND p.name {'<' if stretch.without_high else '<='} ? "
        parameters.append(storable(stretch.high))
    return bounds, parameters


def _list(names: Sequence[str]) -> str:
    return orjson.dumps([storable(name) for name in names]).decode()
