"""The state of the whole index in a few numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from npmmirror.change import Seq
from npmmirror.index import bookkeeping, confusions, feed_notes, removals, signing, worklist
from npmmirror.index.group import Mark, StoredKeys
from npmmirror.outcome import WorkItem
from npmmirror.receipt import Position
from npmmirror.sqlite import Transaction

ERRORS_SHOWN: Final = 10
INVALID_SHOWN: Final = 10

_LAST_CHANGE: Final = (
    "package, seq, revision, latest_version, author, maintainers, dependencies, versions, "
    "modifications, modified_at, dist_tags, deleted, path, ordinal, observed_at"
)
_JSON_COLUMNS: Final = {"maintainers", "dependencies", "dist_tags"}
_PREFIX: Final = "packages_"
# Each goes along an index of its own: to sort millions of rows takes seconds, and their size.
_BY_REASON: Final = "SELECT reason, count(*) FROM {rows} GROUP BY 1 ORDER BY 2 DESC"
WAITING: Final = _BY_REASON.format(rows="work_list WHERE not_before IS NOT NULL")
DEAD: Final = _BY_REASON.format(rows="work_list WHERE not_before IS NULL")
SKIPS: Final = _BY_REASON.format(rows="skips")


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """Counts and places.

    `packages` counts by state; `work_list` (what still has its turn), `dead_letters` and `skips`
    count by reason, and so do `manifest_confusions`: files whose `package.json` is not as published. `last_errors` has the newest first. `last_change` is the newest row of the view `changes`, its
    JSON columns as objects.
    """

    packages: Mapping[str, int]
    versions: int
    tarballs: int
    tarball_bytes: int
    revisions: int
    events: int
    work_list: Mapping[str, int]
    dead_letters: Mapping[str, int]
    skips: Mapping[str, int]
    manifest_confusions: Mapping[str, int]
    last_errors: tuple[WorkItem, ...]
    last_change: Mapping[str, Any] | None
    cursor: Seq | None
    checkpoint: Position | None
    receipts: int
    last_mark: Mark | None
    regression: feed_notes.Regression | None = None
    registry_revs: feed_notes.RegistryRevs | None = None
    held_removals: int = 0
    held_since: str | None = None
    signatures: Mapping[str, int] = field(default_factory=dict)
    """How many versions are in each state of their signatures."""
    invalid_signatures: tuple[tuple[str, str], ...] = ()
    """Packages and versions whose signatures are wrong, the first few by name."""
    keys: StoredKeys | None = None
    attestations: int = 0
    """Versions about whose attestations upstream was asked and answered."""


async def status(now: Transaction) -> IndexStatus:
    """Look at everything; the queries of one snapshot."""
    totals: dict[str, int] = dict(await now.rows("SELECT what, number FROM totals ORDER BY what"))
    [(receipts,)] = await now.rows("SELECT count(*) FROM receipts")
    cursor, checkpoint = await bookkeeping.progress(now)
    held = await removals.standing(now)
    return IndexStatus(
        packages={
            what.removeprefix(_PREFIX): number
            for what, number in totals.items()
            if what.startswith(_PREFIX) and number
        },
        versions=totals.get("versions", 0),
        tarballs=totals.get("tarballs", 0),
        tarball_bytes=totals.get("tarball_bytes", 0),
        revisions=totals.get("revisions", 0),
        events=totals.get("events", 0),
        work_list=dict(await now.rows(WAITING)),
        dead_letters=dict(await now.rows(DEAD)),
        skips=dict(await now.rows(SKIPS)),
        manifest_confusions=await confusions.counted(now),
        last_errors=tuple(await worklist.last_errors(now, ERRORS_SHOWN)),
        last_change=await last_change(now),
        cursor=cursor,
        checkpoint=checkpoint,
        receipts=receipts,
        last_mark=await bookkeeping.last_mark(now),
        regression=await feed_notes.last_regression(now),
        registry_revs=await feed_notes.registry_revs(now),
        held_removals=held.held,
        held_since=held.held_since,
        signatures={
            what.removeprefix(signing.TOTAL): number
            for what, number in totals.items()
            if what.startswith(signing.TOTAL) and number
        },
        invalid_signatures=tuple(await signing.invalid(now, INVALID_SHOWN)),
        keys=await signing.keys_at(now),
        attestations=totals.get(signing.BUNDLES, 0),
    )


async def last_change(now: Transaction) -> dict[str, Any] | None:
    """The newest row of the view `changes`, in full."""
    row = await now.row(
        f"SELECT {_LAST_CHANGE} FROM changes WHERE ordinal IS NOT NULL "  # noqa: S608  a constant
        "ORDER BY ordinal DESC LIMIT 1"
    )
    if row is None:
        return None
    change = dict(zip(_LAST_CHANGE.split(", "), row, strict=True))
    change |= {column: orjson.loads(change[column]) for column in _JSON_COLUMNS}
    return change | {"deleted": change["deleted"] == 1}
