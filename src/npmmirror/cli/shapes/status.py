"""What `status` prints."""

import msgspec

from npmmirror.cli.shapes.buffer import SetAside
from npmmirror.cli.shapes.cold_start import Backfill, Reconciliation
from npmmirror.cli.shapes.shape import Counts, Seq, Shape


class Totals(Shape):
    """What is in the index."""

    packages: Counts
    versions: int
    tarballs: int
    tarball_bytes: int
    revisions: int
    events: int


class RegistryKeys(Shape):
    """The registry's keys: the record that holds them, and since when they are so."""

    ordinal: int
    at: str
    keyids: list[str]


class Signatures(Shape):
    """What the signatures of versions are worth."""

    states: Counts
    invalid: list[str]
    keys: RegistryKeys | None
    attestations: int


class Daemon(Shape):
    """The daemon's process."""

    pid: int
    started_at: str
    state: str


class HeadWentBack(Shape):
    """When the feed's head was last found below the cursor."""

    at: str
    before: Seq
    after: Seq


class Feed(Shape):
    """How far the feed was read."""

    url: str | None
    cursor: Seq | None
    head: Seq | None
    follow_lag: int | None
    error: str | None
    drift: int | None
    late_rows: int | None
    window_read_at: str | None
    rebuilds: int | None
    registry_revs: str | None
    head_went_back: HeadWentBack | None


class MirrorLag(Shape):
    """How far what was announced is finished."""

    lag: int | None
    oldest_unfinished_at: str | None
    at_head: bool | None


class Buffer(Shape):
    """The buffer."""

    backend: str
    depth: int | None
    error: str | None
    set_aside: SetAside


class Fetch(Shape):
    """What is being fetched."""

    in_work: int
    packages: list[str]
    waiting: int
    paused: str | None
    paused_since: str | None
    finished: int
    requests: int
    bytes_received: int


class LastError(Shape):
    """A row of the work list that failed."""

    package: str
    item: str
    reason: str
    not_before: str | None
    attempts: int
    rev: str | None
    seq: Seq | None
    since: str
    detail: str
    deleted: bool
    origin: str
    announced_at: str | None


class LastChange(Shape):
    """A row of the view `changes`."""

    package: str
    seq: Seq | None
    revision: str | None
    latest_version: str | None
    author: str | None
    maintainers: list[str | None]
    dependencies: dict[str, str | None]
    versions: int
    modifications: int
    modified_at: str | None
    dist_tags: dict[str, str]
    deleted: bool
    path: str | None
    ordinal: int
    observed_at: str


class PolicyChange(Shape):
    """How far a changed policy is applied."""

    since: str
    packages: int
    queued_packages: int
    queued_tarballs: int


class Quantiles(Shape):
    """How long a leg took, in seconds; null where there is nothing to tell of."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None


class Latency(Shape):
    """From the publication of versions until they were durable, leg by leg."""

    announced: Quantiles
    observed: Quantiles
    captured: Quantiles
    held: Quantiles
    until_captured: Quantiles
    until_held: Quantiles


class LatencyWindows(Shape):
    """Of the last 24 hours, and of seven days."""

    day: Latency
    week: Latency


class LastCommit(Shape):
    """The last mark."""

    ordinal: int
    committed_at: str


class Disk(Shape):
    """A disk: its sizes, or why it does not answer."""

    path: str
    free_bytes: int | msgspec.UnsetType = msgspec.UNSET
    total_bytes: int | msgspec.UnsetType = msgspec.UNSET
    free_inodes: int | msgspec.UnsetType | None = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET


class HeldRemovals(Shape):
    """What the breaker holds."""

    tripped: bool
    held: int
    since: str | None


class Status(Shape):
    """What `status` prints; with `--watch` a line each time."""

    version: str
    daemon: Daemon | None
    feed: Feed
    mirror: MirrorLag
    buffer: Buffer
    fetch: Fetch | None
    totals: Totals
    signatures: Signatures
    work_list: Counts
    dead_letters: Counts
    skips: Counts
    manifest_confusions: Counts
    removals: HeldRemovals
    policy_change: PolicyChange | None
    backfill: Backfill | None
    reconciliation: Reconciliation | None
    last_errors: list[LastError]
    last_change: LastChange | None
    last_commit: LastCommit | None
    latency: LatencyWindows
    disks: list[Disk]
