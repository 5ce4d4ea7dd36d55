"""What `backfill` and `reconcile` print, and what `status` tells of them."""

import msgspec

from npmmirror.cli.shapes.shape import Shape


class Backfill(Shape):
    """How far a backfill is."""

    state: str
    source: str
    only: list[str]
    metadata_only: bool
    started_at: str
    total: int | None
    listed: int
    done: int
    queued: int
    current: int
    left_out: int
    waiting: int
    woken: int
    tarballs: int
    untried: int
    failed: int
    per_second: float | None
    seconds_left: int | None
    error: str | None


class Backfilled(Backfill):
    """What `backfill` prints; `left` only where no daemon did it."""

    left: int | msgspec.UnsetType = msgspec.UNSET


class Steered(Shape):
    """What `backfill` prints with `--pause` or `--cancel`."""

    there: bool


class Reconciliation(Shape):
    """How far a reconciliation is."""

    started_at: str
    phase: str
    done: int
    total: int | None
    bytes: int
    total_bytes: int | None


class Reconciled(Shape):
    """What `reconcile` prints."""

    started_at: str
    ended_at: str
    feed: str | None
    dry_run: bool
    listed: int
    total: int | None
    changed: int
    missing: int
    older: int
    returned: int
    unlisted: int
    waiting: int
    not_expected: int
    queued: int
    woken: int
    disbelieved: str | None
    report: str
    by_daemon: bool
