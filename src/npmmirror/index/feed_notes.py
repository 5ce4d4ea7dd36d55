"""What is noted of the feed beside the cursor: where it stood when, and when its head fell."""

from dataclasses import asdict, dataclass
from typing import Final

import orjson

from npmmirror.change import Seq
from npmmirror.index import bookkeeping, carrying
from npmmirror.receipt import Receipt
from npmmirror.sqlite import Database, Transaction, storable

_REVS: Final = "registry_revs"
"""The key of `meta` under which it stands whether documents have a `_rev`."""
_STALE_ANEW: Final = (
    "UPDATE work_list SET attempts = 0, not_before = ? WHERE item = '' AND reason = 'stale'"
)
_OPEN_REGRESSION: Final = (
    "SELECT at, before, after FROM regressions "
    "WHERE at >= coalesce((SELECT value FROM meta WHERE key = 'reconciled_at'), '') "
    "ORDER BY at DESC LIMIT 1"
)
MOST_CURSORS: Final = 5000
"""Cursors that are kept, one a minute or a page: for more than three days, or 50 million rows."""


@dataclass(frozen=True, slots=True)
class SeenCursor:
    """A place that the feed was read to, and when; `rows` lie between the place before and this."""

    number: int
    at: str
    cursor: Seq
    rows: int


@dataclass(frozen=True, slots=True)
class Regression:
    """The feed's head was found below the cursor `before`; following went on from `after`."""

    at: str
    before: Seq
    after: Seq


@dataclass(frozen=True, slots=True)
class RegistryRevs:
    """Whether the documents of a registry (its base URL) have a `_rev`; since when that is known."""

    registry: str
    given: bool
    since: str


class FeedNotes:
    """The writer's part that keeps these notes. Each call is one transaction.

    All methods raise `IndexUnavailableError` where the file cannot be written now.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def cursors(self) -> list[SeenCursor]:
        """The places that are remembered, oldest first."""
        async with self._database.moment() as now:
            rows = await now.rows(
                "SELECT number, seen_at, cursor, rows FROM cursors ORDER BY number"
            )
        return [SeenCursor(*row) for row in rows]

    async def remember(self, seen: SeenCursor) -> None:
        """Remember a place; the oldest of very many is forgotten."""
        async with self._database.transaction() as now:
            await now.run(
                "INSERT INTO cursors VALUES (?, ?, ?, ?)",
                (seen.number, seen.at, _stored(seen.cursor), seen.rows),
            )
            await now.run("DELETE FROM cursors WHERE number <= ?", (seen.number - MOST_CURSORS,))

    async def forget_before(self, number: int) -> None:
        """Forget the places before this one."""
        async with self._database.transaction() as now:
            await now.run("DELETE FROM cursors WHERE number < ?", (number,))

    async def keep_registry_revs(self, revs: RegistryRevs, *, anew: bool) -> None:
        """Keep it. `anew`: it was otherwise before, so what was taken for stale is due again."""
        text = orjson.dumps(asdict(revs)).decode()
        async with self._database.transaction() as now:
            await now.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_REVS, text))
            if anew:
                await now.run(_STALE_ANEW, (revs.since,))

    async def take_head(self, regression: Regression, receipt: Receipt) -> None:
        """Go on from a head that lies below the cursor, and ask for a reconciliation.

        `receipt` is of a page of no rows at the buffer's end. The receipts before it are forgotten:
        their cursors are none of this feed any more. What the buffer holds is still worked off.
        """
        async with self._database.transaction() as now:
            await bookkeeping.forget_cursor(now)
            await bookkeeping.receive(now, receipt, regression.at, keep=1)
            await now.run(
                "INSERT OR REPLACE INTO regressions VALUES (?, ?, ?)",
                (regression.at, regression.before, regression.after),
            )
            await carrying.ask_reconciliation(now, regression.at)


async def registry_revs(now: Transaction) -> RegistryRevs | None:
    """What is kept; None where it was not found out yet."""
    row = await now.row("SELECT value FROM meta WHERE key = ?", (_REVS,))
    return RegistryRevs(**orjson.loads(row[0])) if row is not None else None


async def last_regression(now: Transaction) -> Regression | None:
    """The newest; None where none was, or a reconciliation that began since came to its end."""
    row = await now.row(_OPEN_REGRESSION)
    return Regression(*row) if row is not None else None


def _stored(seq: Seq) -> Seq:
    return storable(seq) if isinstance(seq, str) else seq
