"""What the index says of itself, for `npmmirror status`."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from npmmirror.change import Seq
from npmmirror.index import bookkeeping
from npmmirror.receipt import Position
from npmmirror.sqlite import Transaction

LAST_ERRORS: Final = 10
_CHANGE_LISTS: Final = ("maintainers", "dependencies", "dist_tags")

_WORK: Final = "SELECT reason, count(*) FROM work_list WHERE not_before IS {} NULL GROUP BY reason"
_ERRORS: Final = """
SELECT p.name, w.item, w.reason, w.detail, w.attempts, w.not_before, w.since
FROM work_list AS w JOIN packages AS p ON p.id = w.package_id
WHERE w.attempts > 0 OR w.not_before IS NULL ORDER BY w.id DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """The state of the index at one moment.

    `packages` counts by state, `work` and `dead_letters` the work list by reason, `skips` what is
    not wanted by reason. `last_change` is a row of the view `changes`.
    """

    totals: dict[str, int]
    packages: dict[str, int]
    work: dict[str, int]
    dead_letters: dict[str, int]
    skips: dict[str, int]
    last_errors: list[dict[str, Any]]
    last_change: dict[str, Any] | None
    cursor: Seq | None
    checkpoint: Position | None
    following: dict[str, Any] | None
    mark: dict[str, Any] | None


async def index_report(now: Transaction) -> IndexReport:
    """Everything in one snapshot; a handful of short queries."""
    totals = {str(what): int(number) for what, number in await now.rows("SELECT * FROM totals")}
    states = "packages_"
    cursor, checkpoint = await bookkeeping.progress(now)
    following = await bookkeeping.last_following(now)
    mark = await bookkeeping.last_mark(now)
    return IndexReport(
        totals={
            what: totals.get(what, 0)
            for what in ("revisions", "events", "versions", "tarballs", "tarball_bytes")
        },
        packages={
            what.removeprefix(states): number
            for what, number in totals.items()
            if what.startswith(states)
        },
        work=dict(await now.rows(_WORK.format("NOT"))),
        dead_letters=dict(await now.rows(_WORK.format(""))),
        skips=dict(await now.rows("SELECT reason, count(*) FROM skips GROUP BY reason")),
        last_errors=await _errors(now),
        last_change=await _last_change(now),
        cursor=cursor,
        checkpoint=checkpoint,
        following={"feed": following.upstream, "at": following.at} if following else None,
        mark={"ordinal": mark.ordinal, "committed_at": mark.committed_at} if mark else None,
    )


async def _errors(now: Transaction) -> list[dict[str, Any]]:
    keys = ("package", "item", "reason", "detail", "attempts", "not_before", "since")
    rows = await now.rows(_ERRORS, (LAST_ERRORS,))
    return [dict(zip(keys, row, strict=True)) for row in rows]


async def _last_change(now: Transaction) -> dict[str, Any] | None:
    """The package that changed last, as the view `changes` tells it."""
    columns = [name for _, name, *_ in await now.rows("PRAGMA table_info(changes)")]
    row = await now.row(
        "SELECT * FROM changes WHERE ordinal IS NOT NULL ORDER BY ordinal DESC LIMIT 1"
    )
    if row is None:
        return None
    change = dict(zip(columns, row, strict=True))
    for key in _CHANGE_LISTS:
        change[key] = orjson.loads(change[key])
    change["deleted"] = change["deleted"] == 1
    return change
