"""What the commands that do something print, and those about the configuration."""

from typing import Any

import msgspec

from npmmirror.cli.shapes.shape import Counts, Seq, Shape
from npmmirror.cli.shapes.status import Totals


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
