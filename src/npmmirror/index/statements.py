"""The writer's statements over many rows, one for each table that a group touches."""

from typing import Final

from npmmirror.effects import VersionFacts
from npmmirror.sqlite import Batch

VERSION_COLUMNS: Final = VersionFacts.__struct_fields__[1:]
"""What a document says of a version, behind its name: named alike in the table."""

PACKAGE_COLUMNS: Final = (
    "state",
    "rev",
    "created_at",
    "modified_at",
    "latest",
    "latest_author",
    "license",
    "version_count",
)
"""What a document says of its package: named alike in the table and in `PackageFacts`."""

_DOCUMENT: Final = (
    "name",
    *PACKAGE_COLUMNS,
    "modification_count",
    "problems",
    "ordinal",
    "revision",
    "seq",
    "observed_at",
    "touched",
)


def _excluded(columns: tuple[str, ...]) -> str:
    return ", ".join(f"{column} = excluded.{column}" for column in columns)


def _insert(table: str, columns: tuple[str, ...], conflict: str = "") -> Batch:
    into = f"{table} ({', '.join(columns)})"
    return Batch(f"INSERT INTO {into} VALUES {{rows}} {conflict}", len(columns))  # noqa: S608  of ours alone


NAME: Final = _insert("packages", ("id", "name"))

DOCUMENT: Final = _insert(
    "packages", ("id", *_DOCUMENT), f"ON CONFLICT (id) DO UPDATE SET {_excluded(_DOCUMENT)}"
)

STALE: Final = Batch(
    "UPDATE packages SET stale_revision = k.column2 FROM (VALUES {rows}) AS k WHERE id = k.column1",
    2,
)

GONE: Final = Batch(
    "UPDATE packages SET state = k.column2, ordinal = k.column3, seq = k.column4, "
    "observed_at = k.column5, touched = k.column6 FROM (VALUES {rows}) AS k WHERE id = k.column1",
    6,
)

TOUCH: Final = Batch(
    "UPDATE packages SET touched = k.column2 FROM (VALUES {rows}) AS k WHERE id = k.column1", 2
)

_VERSION_KEYS: Final = ("package_id", "version", "present")

NEW_VERSION: Final = _insert(
    "versions", (*_VERSION_KEYS, *VERSION_COLUMNS), "ON CONFLICT DO NOTHING"
)

VERSION: Final = _insert(
    "versions",
    (*_VERSION_KEYS, *VERSION_COLUMNS),
    f"ON CONFLICT DO UPDATE SET present = 1, {_excluded(VERSION_COLUMNS)}",
)

VANISHED: Final = Batch(
    "UPDATE versions SET present = 0 FROM (VALUES {rows}) AS k "
    "WHERE package_id = k.column1 AND version = k.column2",
    2,
)

FILE: Final = _insert(
    "versions",
    (
        *("package_id", "version", "digest", "present"),
        *("state", "reason", "path", "size", "sha512", "verified_at", "ordinal"),
    ),
    # What a file was stays known after it was dropped.
    "ON CONFLICT DO UPDATE SET state = excluded.state, reason = excluded.reason, "
    "path = excluded.path, size = coalesce(excluded.size, size), "
    "sha512 = coalesce(excluded.sha512, sha512), "
    "verified_at = coalesce(excluded.verified_at, verified_at), ordinal = excluded.ordinal",
)

# A list of upstream's may name somebody or something twice: the last word counts, as in JSON.
TAG: Final = _insert("dist_tags", ("package_id", "tag", "version"))
PERSON: Final = _insert("people", ("package_id", "role", "position", "name", "email"))
DEPENDENCY: Final = _insert(
    "dependencies",
    ("package_id", "version", "kind", "name", "requirement"),
    "ON CONFLICT DO UPDATE SET requirement = excluded.requirement",
)

CLEAR: Final = {
    "tags": "DELETE FROM dist_tags WHERE package_id IN ({list})",
    "people": "DELETE FROM people WHERE package_id IN ({list})",
    "dependencies": "DELETE FROM dependencies WHERE package_id IN ({list})",
}
"""Empties a table of packages; keyed by the field of `Effects` that brings its rows anew."""

REVISION: Final = _insert(
    "revisions",
    (
        *("ordinal", "package_id", "rev", "announced_rev", "seq", "observed_at", "etag"),
        *("stale", "sha256", "length", "segment", '"offset"', "number", "erased"),
        "announced_at",
    ),
)

EVENT: Final = _insert(
    "events",
    (
        *("id", "package_id", "seq", "kind", "version", "tag"),
        *("happened_at", "observed_at", "publisher", "detail"),
    ),
)

FINISHED: Final = _insert(
    "finished",
    ("package_id", "seq", "rev", "deleted"),
    "ON CONFLICT DO UPDATE SET seq = excluded.seq, rev = excluded.rev, deleted = excluded.deleted",
)

SKIP: Final = _insert(
    "skips",
    ("package_id", "version", "reason", "detail", "at"),
    "ON CONFLICT DO UPDATE SET reason = excluded.reason, detail = excluded.detail, "
    "at = excluded.at",
)

# By its row ids: a list of pairs alone would make SQLite read the whole table.
UNSKIP: Final = Batch(
    "DELETE FROM skips WHERE rowid IN (SELECT s.rowid FROM (VALUES {rows}) AS k "
    "CROSS JOIN skips AS s ON s.package_id = k.column1 AND s.version = k.column2)",
    2,
)

WORK: Final = Batch(
    "INSERT OR REPLACE INTO work_list (package_id, item, reason, not_before, attempts, rev, seq, "
    "deleted, since, detail, origin, announced_at) VALUES {rows}",
    12,
)

WORK_DONE: Final = Batch(
    "DELETE FROM work_list WHERE id IN (SELECT w.id FROM (VALUES {rows}) AS k "
    "CROSS JOIN work_list AS w ON w.package_id = k.column1 AND w.item = k.column2)",
    2,
)

WAKE: Final = Batch(
    "UPDATE work_list SET attempts = 0, not_before = k.column2 FROM (VALUES {rows}) AS k "
    "WHERE package_id = k.column1 AND not_before IS NULL",
    2,
)

TOTAL: Final = _insert(
    "totals", ("what", "number"), "ON CONFLICT DO UPDATE SET number = number + excluded.number"
)

LATENCY: Final = _insert(
    "latencies", ("package_id", "version", "published_at", "document"), "ON CONFLICT DO NOTHING"
)

LATENCY_HELD: Final = Batch(
    "UPDATE latencies SET tarball = k.column3 FROM (VALUES {rows}) AS k "
    "WHERE package_id = k.column1 AND version = k.column2",
    3,
)

LATENCY_COUNT: Final = _insert(
    "latency_counts",
    ("hour", "leg", "bucket", "number"),
    "ON CONFLICT DO UPDATE SET number = number + excluded.number",
)

FOLLOWING: Final = _insert("followings", ("ordinal", "at", "upstream", "since"))

CHECK: Final = _insert(
    "checks",
    ("package_id", "version", "checked_at", "result", "detail"),
    "ON CONFLICT DO UPDATE SET checked_at = excluded.checked_at, result = excluded.result, "
    "detail = excluded.detail",
)
