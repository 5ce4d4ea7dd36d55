"""What is held of packages, in full: for `show`, `verify` and whoever reads the captures."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from npmmirror.capture import Location
from npmmirror.change import Seq
from npmmirror.effects import DependencyFacts, PersonFacts
from npmmirror.index.group import Skip
from npmmirror.sqlite import Row, Transaction, storable


@dataclass(frozen=True, slots=True)
class PackageRow:
    """A package. `state` is "" where no document of it was captured; `skip` says why not.

    `ordinal` is that of the record that last changed it, `revision` that of its newest document
    that is not stale.
    """

    name: str
    state: str
    ordinal: int | None
    revision: int | None
    seq: Seq | None
    rev: str | None
    observed_at: str | None
    created_at: str | None
    modified_at: str | None
    latest: str | None
    latest_author: str | None
    license: str | None
    version_count: int
    modification_count: int
    problems: tuple[str, ...]
    tags: dict[str, str]
    people: tuple[PersonFacts, ...]
    skip: Skip | None


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version: what upstream says of it, and our file (`state` and all below it).

    `state` is as in `KnownVersion`. `missing` and `missing_detail` say why a file that is not
    held is not: the reason of a skip, of a row of the work list, or of its dropping. `checked_at`
    and `check_result` are of the last `verify`. `signature` is one of
    `npmmirror.signatures.STATES`, "" where nobody looked. `attestations` are `archived`, `absent`
    (upstream answered that it has none), `erased`, `not_archived` where the document tells of some,
    else None.
    """

    version: str
    present: bool
    published_at: str | None
    tarball: str | None
    shasum: str | None
    integrity: str | None
    file_count: int | None
    unpacked_size: int | None
    license: str | None
    publisher: str | None
    deprecated: str | None
    has_install_script: bool
    state: str
    path: str | None
    size: int | None
    sha512: str | None
    verified_at: str | None
    missing: str | None
    missing_detail: str | None
    checked_at: str | None
    check_result: str | None
    signature: str = ""
    attestations: str | None = None


@dataclass(frozen=True, slots=True)
class RevisionRow:
    """A captured packument and where it lies. `sha256` is hex, of the raw document."""

    ordinal: int
    rev: str | None
    announced_rev: str | None
    seq: Seq | None
    observed_at: str
    etag: str | None
    stale: bool
    sha256: str
    length: int
    place: Location
    number: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as it is kept. `kind` is one of `EventKind`."""

    id: int
    package: str
    seq: Seq | None
    kind: str
    version: str | None
    tag: str | None
    happened_at: str | None
    observed_at: str
    publisher: str | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A tarball that is held. `sha512` is hex; `checked_at` None where `verify` never saw it."""

    name: str
    version: str
    path: str
    size: int
    sha512: str
    unverifiable: bool
    integrity: str | None
    shasum: str | None
    checked_at: str | None
    check_result: str | None


_PACKAGE: Final = """
SELECT p.name, p.state, p.ordinal, p.revision, p.seq, p.rev, p.observed_at, p.created_at,
    p.modified_at, p.latest, p.latest_author, p.license, p.version_count, p.modification_count,
    coalesce(p.problems, '[]'),
    (SELECT json_group_object(tag, version) FROM dist_tags WHERE package_id = p.id),
    (SELECT json_group_array(json_array(role, name, email)) FROM
        (SELECT * FROM people WHERE package_id = p.id ORDER BY role, position)),
    s.reason, s.detail, s.at
FROM packages AS p LEFT JOIN skips AS s ON s.package_id = p.id AND s.version = ''
WHERE p.name = ?
"""
_VERSIONS: Final = """
SELECT v.version, v.present = 1, published_at, tarball, shasum, integrity, file_count,
    unpacked_size, license, publisher, deprecated, has_install_script = 1, state, path, size,
    lower(hex(sha512)), verified_at,
    CASE WHEN state IN ('held', 'unverifiable') THEN NULL
        ELSE coalesce(w.reason, s.reason, v.reason) END,
    CASE WHEN state IN ('held', 'unverifiable') THEN NULL
        ELSE coalesce(w.detail, s.detail) END,
    c.checked_at, c.result, v.signature,
    CASE WHEN a.version IS NULL THEN iif(v.attested = 1, 'not_archived', NULL)
        WHEN a.sha256 IS NULL THEN 'absent' WHEN a.sha256 = x'' THEN 'erased' ELSE 'archived' END
FROM versions AS v
LEFT JOIN attestations AS a ON a.package_id = v.package_id AND a.version = v.version
LEFT JOIN work_list AS w ON w.package_id = v.package_id AND w.item = v.version
LEFT JOIN skips AS s ON s.package_id = v.package_id AND s.version = v.version
LEFT JOIN checks AS c ON c.package_id = v.package_id AND c.version = v.version
WHERE v.package_id = (SELECT id FROM packages WHERE name = ?1)
  AND (?2 IS NULL OR v.version = ?2)
ORDER BY v.version
"""
_REVISIONS: Final = """
SELECT ordinal, rev, announced_rev, seq, observed_at, etag, stale = 1, lower(hex(sha256)),
    length, segment, "offset", number
FROM revisions WHERE package_id = (SELECT id FROM packages WHERE name = ?) ORDER BY ordinal
"""
_EVENTS: Final = """
SELECT id, seq, kind, version, tag, happened_at, observed_at, publisher, detail
FROM events WHERE package_id = (SELECT id FROM packages WHERE name = ?) AND id > ? ORDER BY id
"""
_DEPENDENCIES: Final = """
SELECT version, kind, name, requirement FROM dependencies
WHERE package_id = (SELECT id FROM packages WHERE name = ?) AND version = ? ORDER BY kind, name
"""
_HELD: Final = """
SELECT p.name, v.version, v.path, v.size, lower(hex(v.sha512)), v.state = 'unverifiable',
    v.integrity, v.shasum, c.checked_at, c.result
FROM packages AS p CROSS JOIN versions AS v ON v.package_id = p.id
LEFT JOIN checks AS c ON c.package_id = v.package_id AND c.version = v.version
WHERE p.name >= ?1 AND (p.name > ?1 OR v.version > ?2)
  AND (?3 IS NULL OR p.name = ?3) AND v.state IN ('held', 'unverifiable')
ORDER BY p.name, v.version LIMIT ?4
"""


async def package(now: Transaction, name: str) -> PackageRow | None:
    """A package; None where its name was never met."""
    row = await now.row(_PACKAGE, (storable(name),))
    if row is None:
        return None
    *values, problems, tags, people, reason, detail, at = row
    skip = Skip(name, "", reason, detail, at) if reason is not None else None
    named = tuple(PersonFacts(*person) for person in orjson.loads(people))
    return PackageRow(*(*values, tuple(orjson.loads(problems)), orjson.loads(tags), named, skip))


async def versions(now: Transaction, name: str, version: str | None) -> list[VersionRow]:
    """The versions of a package, or one of them, in the order of their bytes."""
    only = storable(version) if version is not None else None
    return [_version(row) for row in await now.rows(_VERSIONS, (storable(name), only))]


def _version(row: Row) -> VersionRow:
    version, present, *claims = row[:11]
    has_install_script, state, path, size, sha512, *rest = row[11:]
    held = (has_install_script == 1, state, path, size, sha512 or None)
    return VersionRow(*(version, present == 1, *claims, *held, *rest))


async def dependencies(now: Transaction, name: str, version: str) -> list[DependencyFacts]:
    """The dependencies of a version that a dist-tag names."""
    rows = await now.rows(_DEPENDENCIES, (storable(name), storable(version)))
    return [DependencyFacts(*row) for row in rows]


async def revisions(now: Transaction, name: str) -> list[RevisionRow]:
    """The captured packuments of a package, oldest first, stale ones among them."""
    rows = await now.rows(_REVISIONS, (storable(name),))
    return [
        RevisionRow(*(*found, stale == 1, sha256, length, Location(segment, offset), number))
        for *found, stale, sha256, length, segment, offset, number in rows
    ]


async def events(now: Transaction, name: str, after: int) -> list[EventRow]:
    """The events of a package behind an id, oldest first."""
    rows = await now.rows(_EVENTS, (storable(name), after))
    return [
        EventRow(*(number, name, *values, orjson.loads(detail))) for number, *values, detail in rows
    ]


async def held(
    now: Transaction, after: tuple[str, str], limit: int, only: str | None
) -> list[HeldFile]:
    """Tarballs that are held, behind (name, version), in that order byte by byte."""
    name, version = map(storable, after)
    package = storable(only) if only is not None else None
    rows = await now.rows(_HELD, (name, version, package, limit))
    return [HeldFile(*(*row[:5], row[5] == 1, *row[6:])) for row in rows]
