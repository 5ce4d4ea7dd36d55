"""The shapes of everything that commands print with `--json`, for scripts and for the tests.

`docs/commands.md` explains the keys; `docs/json-schema.json` is made of this module. Keys may be
added in later versions; none is renamed, removed or given another type without a new major version.
"""

from typing import Any

import msgspec

from npmmirror.cli.output import say_json

Seq = int | str
"""A seq or cursor of the feed: a number of npm's, an opaque text of others."""
Counts = dict[str, int]
"""Numbers by state or reason."""


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """An object with just these keys, all of them always there."""


class SyncedPackage(Shape):
    """An element of what `sync` prints."""

    package: str
    complete: bool
    outcome: str | None
    tarballs: Counts
    missing: dict[str, str]
    waiting: int


class Retried(Shape):
    """What `retry` prints."""

    by_daemon: bool
    rows: int
    left: int | None


class Totals(Shape):
    """What is in the index."""

    packages: Counts
    versions: int
    tarballs: int
    tarball_bytes: int
    revisions: int
    events: int


class Daemon(Shape):
    """The daemon's process."""

    pid: int
    started_at: str
    state: str


class Feed(Shape):
    """How far the feed was read."""

    url: str | None
    cursor: Seq | None
    head: Seq | None
    follow_lag: int | None
    error: str | None


class MirrorLag(Shape):
    """How far what was announced is finished."""

    lag: int | None
    oldest_unfinished_at: str | None
    at_head: bool | None


class SetAside(Shape):
    """Records of the buffer that are no changes."""

    count: int
    directory: str
    newest: list[dict[str, Any]]


class Buffer(Shape):
    """The buffer."""

    backend: str
    depth: int | None
    error: str | None
    set_aside: SetAside


class BufferPartition(Shape):
    """How far a partition is worked off; the embedded buffer has one."""

    partition: int
    start: int
    checkpoint: int | None
    end: int
    depth: int
    group: int | None
    group_lag: int | None


class UnwantedSetting(Shape):
    """A setting of the topic that is not as the mirror would have it."""

    key: str
    value: str
    wanted: str


class BufferTopic(Shape):
    """The topic, where the backend is Kafka."""

    name: str
    id: str
    cluster: str
    partitions: int
    configured_partitions: int
    replicas: int
    configured_replicas: int
    in_sync: int
    configuration: dict[str, str | None]
    unwanted: list[UnwantedSetting]


class BufferStatus(Shape):
    """What `buffer status` prints."""

    backend: str
    set_aside: SetAside
    identity: str
    checkpoint_is_ours: bool | None
    depth: int | None
    place: str
    partitions: list[BufferPartition]
    group: str | None
    brokers: list[str] | None
    topic: BufferTopic | None


class BufferedChange(Shape):
    """A change that waits in the buffer."""

    seq: Seq
    id: str
    rev: str | None
    deleted: bool
    observed_at: str
    source: str


class Peeked(Shape):
    """An element of what `buffer peek` prints; null where a record is no change."""

    partition: int
    offset: int
    change: BufferedChange | None


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


class Status(Shape):
    """What `status` prints; with `--watch` a line each time."""

    version: str
    daemon: Daemon | None
    feed: Feed
    mirror: MirrorLag
    buffer: Buffer
    fetch: Fetch | None
    totals: Totals
    work_list: Counts
    dead_letters: Counts
    skips: Counts
    last_errors: list[LastError]
    last_change: LastChange | None
    last_commit: LastCommit | None
    disks: list[Disk]


class Skipped(Shape):
    """Why a package is not wanted."""

    reason: str
    detail: str
    at: str


class Person(Shape):
    """Somebody whom a document names."""

    role: str
    name: str | None
    email: str | None


class DocumentWork(Shape):
    """The row of the work list for a document."""

    reason: str
    detail: str
    attempts: int
    next_try: str | None
    since: str


class ShownVersion(Shape):
    """A version, in what is shown of its package."""

    version: str
    present: bool
    published_at: str | None
    deprecated: str | None
    path: str | None
    size: int | None
    tarball: str
    reason: str | None
    detail: str | None
    attempts: int
    next_try: str | None


class ShownRevision(Shape):
    """A captured document, in what is shown of its package."""

    revision: int
    ordinal: int
    rev: str | None
    announced_rev: str | None
    seq: Seq | None
    observed_at: str
    stale: bool
    sha256: str
    length: int


class ShownEvent(Shape):
    """An event."""

    id: int
    kind: str
    seq: Seq | None
    version: str | None
    tag: str | None
    happened_at: str | None
    observed_at: str
    publisher: str | None
    detail: dict[str, Any]


class Package(Shape):
    """What `show NAME` prints."""

    package: str
    state: str
    skipped: Skipped | None
    ordinal: int | None
    seq: Seq | None
    rev: str | None
    observed_at: str | None
    created_at: str | None
    modified_at: str | None
    latest: str | None
    latest_author: str | None
    license: str | None
    dist_tags: dict[str, str]
    people: list[Person]
    problems: list[str]
    document_work: DocumentWork | None
    versions: list[ShownVersion]
    revisions: list[ShownRevision]
    events: list[ShownEvent]


class Dist(Shape):
    """What upstream claims of a tarball."""

    tarball: str | None
    integrity: str | None
    shasum: str | None
    file_count: int | None
    unpacked_size: int | None


class Dependency(Shape):
    """What a version needs."""

    kind: str
    name: str
    requirement: str


class Version(ShownVersion):
    """What `show NAME@VERSION` prints."""

    package: str
    package_state: str
    dist: Dist
    license: str | None
    publisher: str | None
    has_install_script: bool
    unverifiable: bool
    sha512: str | None
    verified_at: str | None
    checked_at: str | None
    check: str | None
    dist_tags: list[str]
    dependencies: list[Dependency] | None
    events: list[ShownEvent]


class Revision(ShownRevision):
    """What `show NAME --revision N` prints."""

    package: str
    etag: str | None
    segment: int
    offset: int
    stored_length: int
    delta: bool
    version_count: int | None
    dist_tags: dict[str, str] | None


class Finding(Shape):
    """Something that is not as it should be."""

    what: str
    package: str | None
    version: str | None
    path: str | None
    detail: str
    repair: str | None
    repaired: bool


class Verified(Shape):
    """What `verify` prints."""

    well: bool
    packages: list[str] | None
    started_at: str
    ended_at: str
    records: int
    documents: int
    documents_erased: int
    document_bytes: int
    tarballs: int
    tarball_bytes: int
    files: int
    problems: int
    repaired: int
    refused: str | None
    findings: list[Finding]
    findings_left_out: int


class Damaged(Shape):
    """Records that are lost to the index."""

    segment: int
    offset: int
    ordinal: int | None
    count: int
    package: str | None
    reason: str


class MovedAside(Shape):
    """Bytes at the end of the log that were no records."""

    segment: int
    offset: int
    length: int
    path: str


class HeldFiles(Shape):
    """What became of the files that are held."""

    count: int
    missing_count: int
    altered_count: int
    missing: list[tuple[str, str]]
    altered: list[tuple[str, str]]
    unreachable: str | None
    too_many: bool


class Reindexed(Shape):
    """What `reindex` prints."""

    whole: bool
    records: int
    bytes: int
    seconds: float
    resumed_at: int | None
    damaged: int
    damages: list[Damaged]
    set_aside: list[MovedAside]
    files: HeldFiles
    carried: str
    kept: str | None
    totals: Totals | None


class Erased(Shape):
    """What `erase` prints."""

    package: str
    erased: bool
    documents: int
    document_bytes: int
    files: int
    file_bytes: int
    damaged: list[str]
    elsewhere: list[str]


class ResetPart(Shape):
    """A part that a reset takes away."""

    part: str
    places: list[str]
    count: int
    unit: str
    bytes: int | None


class Reset(Shape):
    """What `reset` prints."""

    data_dir: str
    parts: list[str]
    unfinished: list[str]
    done: bool
    going: list[ResetPart]
    cursor: Seq | None
    since: Seq
    strangers: list[str]
    strangers_left_out: int


class ConfigMeaning(Shape):
    """What a configuration means."""

    follows: str
    run_asks: str
    sync_asks: str
    keeps: str
    skips: str
    in_: str = msgspec.field(name="in")
    tarballs_in: str


class ConfigChecked(Shape):
    """What `config check` prints."""

    ok: bool
    file: str | None
    problems: list[str]
    meaning: ConfigMeaning | None


class ConfigValue(Shape):
    """A key's value, and where it comes from."""

    value: Any
    origin: str


class ConfigShown(Shape):
    """What `config show` prints."""

    file: str | None
    keys: dict[str, ConfigValue]


SHAPES: dict[str, Any] = {
    "sync": list[SyncedPackage],
    "retry": Retried,
    "status": Status,
    "show": Package,
    "show version": Version,
    "show revision": Revision,
    "verify": Verified,
    "reindex": Reindexed,
    "erase": Erased,
    "reset": Reset,
    "buffer status": BufferStatus,
    "buffer peek": list[Peeked],
    "config check": ConfigChecked,
    "config show": ConfigShown,
}
"""By the words after `npmmirror`; the two others of `show` by what is shown."""


def main() -> None:
    """Print the schema, as `docs/json-schema.json` has it."""
    say_json(schema())


def schema() -> dict[str, Any]:
    """All of them as JSON Schema: one of `$defs` for each name in `commands`."""
    found, definitions = msgspec.json.schema_components(
        SHAPES.values(), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What npmmirror prints with --json",
        "commands": dict(zip(SHAPES, found, strict=True)),
        "$defs": definitions,
    }


if __name__ == "__main__":
    main()
