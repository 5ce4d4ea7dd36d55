"""Bringing packages onto the work list that nobody announced: by a listing, or by their names.

Steps of a transaction. A listing is long: what is asked of SQLite is asked for many names at once,
and nothing of it is read into memory but what is to be put.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from npmmirror.origin import brought_by, is_metadata_only, origins
from npmmirror.sqlite import Batch, Transaction, storable

Name = tuple[str, str | None]
"""A package, and the revision that a listing tells of it (None: it tells none)."""

GENERATION_HELD: Final = (
    "nullif(max(coalesce(CAST(p.rev AS INTEGER), 0), coalesce(CAST(f.rev AS INTEGER), 0)), 0)"
)
"""The number of the newest revision of a package that is captured or finished; NULL: not known.

A cast takes the digits in front of a revision. A registry may tell no revisions in its documents:
then the feed's word on the last change that is finished counts.
"""
_NAMES: Final = (
    "INSERT INTO packages (name) SELECT value ->> 0 FROM json_each(?) WHERE true "
    "ON CONFLICT DO NOTHING"
)
# A dead letter is woken, but for one that the process died of: a person has to say so.
DEAD_LETTER: Final = "w.not_before IS NULL AND w.reason <> 'sudden_deaths'"
LEFT_OUT: Final = (
    "EXISTS (SELECT 1 FROM {skips} AS s WHERE s.package_id = p.id AND s.version = '' "
    "AND s.reason = 'packument_too_large' "
    "AND coalesce(CAST({listed} AS INTEGER) <= CAST(f.rev AS INTEGER), 1))"
)
"""Whether a package is skipped for the size of its document, and nothing newer is listed."""
OVERDUE: Final = (
    f"(w.package_id IS NOT NULL AND {DEAD_LETTER} "
    "AND coalesce(CAST({listed} AS INTEGER) > CAST(p.rev AS INTEGER), 1))"
)
"""Whether a dead letter stands for a revision that is not captured; its change counts as finished."""
_DIGEST: Final = "substr({listed}, instr({listed}, '-') + 1)"
OTHER: Final = (
    f"(p.rev IS NULL AND length({_DIGEST}) = 64 AND {_DIGEST} <> "  # noqa: S608  constants
    "(SELECT lower(hex(r.sha256)) FROM {tables}revisions AS r "
    "WHERE r.ordinal = p.revision))"
)
"""Whether a revision that a mirror made of a digest names another document than the captured one.

The number before it is of that mirror's own log, which may have begun anew (`change.names_document`).
"""
_STANDS: Final = (
    f"CASE WHEN w.package_id IS NULL THEN 'new' WHEN {DEAD_LETTER} THEN 'dead' ELSE 'waits' END"
)
# An erased package stays erased: whoever lists it is not whoever had it erased.
_WANTED: Final = f"""
SELECT p.id, j.value ->> 1, {_STANDS}
FROM json_each(?1) AS j CROSS JOIN packages AS p ON p.name = j.value ->> 0
LEFT JOIN finished AS f ON f.package_id = p.id
LEFT JOIN work_list AS w ON w.package_id = p.id AND w.item = ''
WHERE (?2 OR NOT {LEFT_OUT.format(skips="skips", listed="(j.value ->> 1)")}) AND (
   p.state IN ('', 'removed')
   OR (p.state <> 'erased'
       AND (?2 OR CAST(j.value ->> 1 AS INTEGER) > {GENERATION_HELD}
            OR {OVERDUE.format(listed="(j.value ->> 1)")}
            OR {OTHER.format(listed="(j.value ->> 1)", tables="")})))
"""  # noqa: S608  a constant
_UNLISTED: Final = f"""
SELECT p.id, NULL, {_STANDS}
FROM json_each(?1) AS j CROSS JOIN packages AS p ON p.name = j.value ->> 0
LEFT JOIN work_list AS w ON w.package_id = p.id AND w.item = ''
WHERE p.state IN ('live', 'unpublished', 'security_hold')
"""  # noqa: S608  a constant
_WAKE: Final = Batch(
    "UPDATE work_list SET attempts = 0, not_before = k.column2, "
    "deleted = deleted AND NOT coalesce(CAST(k.column3 AS INTEGER) > CAST(rev AS INTEGER), 0), "
    "rev = iif(CAST(k.column3 AS INTEGER) > coalesce(CAST(rev AS INTEGER), 0), k.column3, rev) "
    "FROM (VALUES {rows}) AS k WHERE package_id = k.column1 AND item = ''",
    3,
)
_PUT: Final = Batch(
    "INSERT OR IGNORE INTO work_list "
    "(package_id, item, reason, not_before, attempts, rev, deleted, since, detail, origin) "
    "VALUES {rows}",
    10,
)


# Who brought the documents alone may have left some that failed.
_WITH_TARBALLS: Final = (
    "UPDATE work_list SET origin = ? WHERE origin = ? "
    "AND package_id IN (SELECT value FROM json_each(?)) AND item = ''"
)


@dataclass(frozen=True, slots=True)
class Bringing:
    """How packages are brought: by whom, why, and when that is.

    Of those that are captured only those are brought whose listed revision is newer, or all where
    `ask_again`. `unlisted` ones are brought because they are held and a listing has them not.
    """

    origin: str
    reason: str
    at: str
    ask_again: bool = False
    unlisted: bool = False


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of them: `queued` are new rows; `waiting` had one before; the rest need none.

    `woken` had one that was given up: it is due again, with all attempts before it.
    """

    queued: int = 0
    waiting: int = 0
    woken: int = 0


async def bring(now: Transaction, names: Sequence[Name], how: Bringing) -> Brought:
    """Put rows for the packuments of these packages, where they are wanted and none has its turn."""
    revs = {storable(name): rev for name, rev in names}
    given = orjson.dumps(list(revs.items())).decode()
    if how.unlisted:
        wanted = await now.rows(_UNLISTED, (given,))
    else:
        await now.run(_NAMES, (given,))
        wanted = await now.rows(_WANTED, (given, how.ask_again))
    rows = [
        (package, "", how.reason, how.at, 0, rev, 0, how.at, "", how.origin)
        for package, rev, stands in wanted
        if stands == "new"
    ]
    dead = [(package, how.at, rev) for package, rev, stands in wanted if stands == "dead"]
    await now.run_batch(_PUT, rows)
    await now.run_batch(_WAKE, dead)
    if not is_metadata_only(how.origin):
        there = [package for package, _, stands in wanted if stands != "new"]
        bare = brought_by(how.origin, metadata_only=True)
        await now.run(_WITH_TARBALLS, (how.origin, bare, orjson.dumps(there).decode()))
    return Brought(len(rows), len(wanted) - len(rows) - len(dead), len(dead))


async def untried_packages(now: Transaction, who: str, most: int) -> int:
    """How many of those rows are packuments; looked for among `most`."""
    [(count,)] = await now.rows(
        "SELECT count(*) FILTER (WHERE item = '') FROM (SELECT item FROM work_list "
        "WHERE origin IN (?, ?) AND origin <> '' AND attempts = 0 AND not_before IS NOT NULL "
        "LIMIT ?)",
        (*origins(who), most),
    )
    return int(count)


async def untried(now: Transaction, who: str, most: int) -> int:
    """How many rows that somebody brought wait for their first try; counted up to `most`."""
    [(count,)] = await now.rows(
        "SELECT count(*) FROM (SELECT 1 FROM work_list "
        "WHERE origin IN (?, ?) AND origin <> '' AND attempts = 0 AND not_before IS NOT NULL "
        "LIMIT ?)",
        (*origins(who), most),
    )
    return int(count)


async def failed(now: Transaction, who: str) -> int:
    """How many rows that somebody brought were tried and are not done."""
    [(count,)] = await now.rows(
        "SELECT count(*) FROM work_list WHERE origin IN (?, ?) AND origin <> '' "
        "AND (attempts > 0 OR not_before IS NULL)",
        origins(who),
    )
    return int(count)


async def withdraw(now: Transaction, who: str) -> int:
    """Take back the rows that somebody brought and that were never tried; how many."""
    return await now.run(
        "DELETE FROM work_list WHERE origin IN (?, ?) AND origin <> '' AND attempts = 0",
        origins(who),
    )


async def meta(now: Transaction, key: str) -> str | None:
    """What the index notes about itself under a key."""
    row = await now.row("SELECT value FROM meta WHERE key = ?", (key,))
    return row[0] if row is not None else None


async def set_meta(now: Transaction, key: str, value: str) -> None:
    """Note something about the index."""
    await now.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
