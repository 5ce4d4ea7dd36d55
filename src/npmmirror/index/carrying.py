"""What a rebuilt index takes over from the one before it, and what it asks for instead.

Derived tables are made of the archive; of the operational ones each stands here, with what
becomes of it. Steps of a transaction that sees the index before as the schema `old`.
"""

from typing import Final

from npmmirror.index import bookkeeping
from npmmirror.sqlite import Transaction

RECONCILE: Final = "reconcile"
"""The resumption that asks for a reconciliation: nothing of it is done yet."""
CARRIED: Final = frozenset(
    {
        *("meta", "skips", "checks", "resumptions", "work_list", "regressions"),
        *("held_removals", "removal_breaker"),
    }
)
"""Operational tables that are taken over wherever the index before can be read."""
CARRIED_IF_COMMON: Final = frozenset({"progress", "receipts", "finished", "cursors"})
"""Those that say what is finished: taken over only where the log holds all that it was made of."""

_AGREES: Final = """
SELECT EXISTS (
    SELECT 1 FROM main.marks AS m JOIN old.marks AS o USING (ordinal, header_sha256)
    WHERE o.ordinal = (SELECT max(ordinal) FROM old.marks))
"""
# Numbers of packages are each file's own: names tell which is which.
_NAMES: Final = """
INSERT OR IGNORE INTO main.packages (name)
SELECT name FROM old.packages WHERE id IN (
    SELECT package_id FROM old.skips UNION SELECT package_id FROM old.work_list
    UNION SELECT package_id FROM old.finished)
"""
_SKIPS: Final = """
INSERT OR REPLACE INTO main.skips
SELECT n.id, t.version, t.reason, t.detail, t.at
FROM old.skips AS t JOIN old.packages AS o ON o.id = t.package_id
JOIN main.packages AS n ON n.name = o.name
WHERE n.state <> 'erased'
"""
_CHECKS: Final = """
INSERT OR REPLACE INTO main.checks
SELECT n.id, t.version, t.checked_at, t.result, t.detail
FROM old.checks AS t JOIN old.packages AS o ON o.id = t.package_id
JOIN main.packages AS n ON n.name = o.name
JOIN main.versions AS v ON v.package_id = n.id AND v.version = t.version
WHERE v.state <> '' AND n.state <> 'erased'
"""
_RESUMPTIONS: Final = "INSERT OR REPLACE INTO main.resumptions SELECT * FROM old.resumptions"
_META: Final = "INSERT OR IGNORE INTO main.meta SELECT * FROM old.meta"
# A version that the archive knows nothing of cannot be fetched by itself.
_WORK: Final = """
INSERT OR REPLACE INTO main.work_list
    (package_id, item, reason, not_before, attempts, rev, seq, deleted, since, detail{ours})
SELECT n.id, t.item, t.reason, t.not_before, t.attempts, t.rev, t.seq, t.deleted, t.since,
    t.detail{theirs}
FROM old.work_list AS t JOIN old.packages AS o ON o.id = t.package_id
JOIN main.packages AS n ON n.name = o.name
LEFT JOIN main.versions AS v ON v.package_id = n.id AND v.version = t.item
WHERE n.state <> 'erased'
    AND (t.item = '' OR (v.version IS NOT NULL AND v.state NOT IN ('held', 'unverifiable')))
ORDER BY t.id
"""
_SKIPPED: Final = """
DELETE FROM main.work_list WHERE item <> '' AND EXISTS (
    SELECT 1 FROM main.skips AS s
    WHERE s.package_id = work_list.package_id AND s.version = work_list.item)
"""
_PROGRESS: Final = "INSERT OR REPLACE INTO main.progress SELECT * FROM old.progress"
_RECEIPTS: Final = "INSERT OR REPLACE INTO main.receipts SELECT * FROM old.receipts"
_FINISHED: Final = """
INSERT OR REPLACE INTO main.finished
SELECT n.id, t.seq, t.rev, t.deleted
FROM old.finished AS t JOIN old.packages AS o ON o.id = t.package_id
JOIN main.packages AS n ON n.name = o.name
"""
_BEFORE_WORK: Final = (_NAMES, _SKIPS, _CHECKS, _RESUMPTIONS, _META)
_LATER: Final = {"announced_at": 4, "origin": 6}
"""Columns of the work list, and the schema that brought each."""
_IF_COMMON: Final = (_PROGRESS, _RECEIPTS, _FINISHED)
_REGRESSIONS: Final = "INSERT OR REPLACE INTO main.regressions SELECT * FROM old.regressions"
_CURSORS: Final = "INSERT OR REPLACE INTO main.cursors SELECT * FROM old.cursors"
_WITH_FEED_NOTES: Final = 3
"""The schema that brought the last two."""
# What has a newer record by now is not gone, or is so already.
_HELD_REMOVALS: Final = """
INSERT OR REPLACE INTO main.held_removals
SELECT n.id, t.held_at, t.seq, t.evidence
FROM old.held_removals AS t JOIN old.packages AS o ON o.id = t.package_id
JOIN main.packages AS n ON n.name = o.name
WHERE n.state NOT IN ('', 'removed', 'erased') AND n.ordinal <= o.ordinal
"""
_BREAKER: Final = "INSERT OR REPLACE INTO main.removal_breaker SELECT * FROM old.removal_breaker"
_WITH_BREAKER: Final = 5
"""The schema that brought the last two."""
_UNWANTED: Final = """
DELETE FROM work_list WHERE item <> '' AND NOT EXISTS (
    SELECT 1 FROM versions AS v JOIN packages AS p ON p.id = v.package_id
    WHERE v.package_id = work_list.package_id AND v.version = work_list.item
        AND (v.state <> '' OR (v.present = 1 AND p.state NOT IN ('removed', 'erased'))))
"""


def _work(schema: int) -> str:
    """The statement for the work list of an index with that schema."""
    later = [name for name, since in _LATER.items() if schema >= since]
    return _WORK.format(
        ours="".join(f", {name}" for name in later),
        theirs="".join(f", t.{name}" for name in later),
    )


async def drop_unwanted(now: Transaction) -> None:
    """Take off the work list what upstream has no longer: it was never asked for in time."""
    await now.run(_UNWANTED)


async def carry(now: Transaction) -> bool | None:
    """Take over what the index before knows and the archive does not.

    Returns:
        Whether the log holds everything that the index before was made of. Where it does not, what
        that index calls finished may be lost, and is not taken over. None where it was made by a
        newer program, and nothing is.
    """
    [(theirs,)] = await now.rows("PRAGMA old.user_version")
    [(ours,)] = await now.rows("PRAGMA main.user_version")
    if not 0 < theirs <= ours:
        return None
    [(agrees,)] = await now.rows(_AGREES)
    always = (*_BEFORE_WORK, _work(theirs), _SKIPPED)
    for statement in (*always, *(_IF_COMMON if agrees else ())):
        await now.run(statement)
    if theirs >= _WITH_FEED_NOTES:
        for statement in (_REGRESSIONS, *((_CURSORS,) if agrees else ())):
            await now.run(statement)
    if theirs >= _WITH_BREAKER:
        for statement in (_HELD_REMOVALS, _BREAKER):
            await now.run(statement)
    return bool(agrees)


async def carry_progress(now: Transaction) -> None:
    """Take over how far the feed was read, and nothing that was made of it."""
    [(theirs,)] = await now.rows("PRAGMA old.user_version")
    notes = (_REGRESSIONS, _CURSORS) if theirs >= _WITH_FEED_NOTES else ()
    for statement in (_PROGRESS, _RECEIPTS, *notes):
        await now.run(statement)


async def take_bearings(now: Transaction, at: str) -> None:
    """Have a place to follow the feed from, and ask for a reconciliation."""
    cursor, _ = await bookkeeping.progress(now)
    marked = await bookkeeping.last_marked_cursor(now)
    if cursor is None and marked is not None:
        await bookkeeping.set_cursor(now, marked)
    await ask_reconciliation(now, at)


async def ask_reconciliation(now: Transaction, at: str) -> None:
    """Have a reconciliation begin from its beginning, also where one is under way."""
    await now.run(
        "INSERT INTO resumptions (command, started_at, place) VALUES (?, ?, '') "
        "ON CONFLICT DO UPDATE SET started_at = excluded.started_at, place = ''",
        (RECONCILE, at),
    )
