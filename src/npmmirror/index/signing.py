"""The registry's keys, what signatures are worth, and attestation bundles. Steps of a transaction."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from npmmirror.capture import Location
from npmmirror.index.group import StoredBundle, StoredKeys
from npmmirror.sqlite import Batch, Row, Transaction, listed, storable

TOTAL: Final = "signatures_"
"""What the totals of the states begin with."""
BUNDLES: Final = "attestations"
EACH: Final = 1000

KEYS: Final = Batch("INSERT INTO keys (ordinal, at, document) VALUES {rows}", 3)
UNKNOWN: Final = Batch(
    "INSERT INTO unknown_signers (ordinal, package_id, keys) VALUES {rows}",
    3,
)
BUNDLE: Final = Batch(
    "INSERT INTO attestations (package_id, version, ordinal, observed_at, sha256, length, segment, "
    '"offset") VALUES {rows} ON CONFLICT DO UPDATE SET ordinal = excluded.ordinal, '
    "observed_at = excluded.observed_at, sha256 = excluded.sha256, length = excluded.length, "
    'segment = excluded.segment, "offset" = excluded."offset"',
    8,
)
_COUNTED: Final = (
    "SELECT signature, count(*) FROM (VALUES {list}) AS k CROSS JOIN versions "
    "WHERE package_id = k.column1 AND version = k.column2 AND signature <> '' GROUP BY 1"
)
_BUNDLED: Final = (
    "SELECT count(*) FROM (VALUES {list}) AS k CROSS JOIN attestations "
    "WHERE package_id = k.column1 AND version = k.column2 AND sha256 IS NOT x''"
)
_OF_PACKAGE: Final = (
    "SELECT signature, count(*) FROM versions WHERE package_id = ? AND signature <> '' GROUP BY 1"
)
_UNJUDGED: Final = (
    'SELECT u.ordinal, p.name, u.keys, r.segment, r."offset", r.length, '
    "(SELECT json_group_array(json_array(v.version, hex(v.digest))) FROM versions AS v "
    "WHERE v.package_id = u.package_id AND v.signature = 'unknown_key') "
    "FROM unknown_signers AS u "
    "JOIN packages AS p ON p.id = u.package_id JOIN revisions AS r ON r.ordinal = u.ordinal "
    "WHERE u.keys < ? AND u.ordinal > ? ORDER BY u.ordinal LIMIT ?"
)
# A manifest that changed since was judged with its own document.
_JUDGED: Final = (
    "UPDATE versions SET signature = ?4 "
    "WHERE package_id = (SELECT package_id FROM unknown_signers WHERE ordinal = ?1) "
    "AND version = ?2 AND digest = ?3 AND signature = 'unknown_key'"
)
_ASKED: Final = (
    "SELECT v.version, v.attested = 1, v.state IN ('held', 'unverifiable'), "
    "EXISTS (SELECT 1 FROM attestations AS a "
    "WHERE a.package_id = v.package_id AND a.version = v.version AND a.sha256 IS NOT x'') "
    "FROM versions AS v WHERE v.package_id = (SELECT id FROM packages WHERE name = ?) "
    "AND v.version IN ({list})"
)
_MISSING: Final = """
INSERT OR IGNORE INTO work_list
    (package_id, item, reason, not_before, attempts, deleted, since, detail)
SELECT v.package_id, v.version, ?1, ?2, 0, 0, ?2, ''
FROM packages AS p CROSS JOIN versions AS v ON v.package_id = p.id
WHERE p.state = 'live' AND v.present = 1 AND v.attested = 1
    AND v.state IN ('held', 'unverifiable')
    AND NOT EXISTS (SELECT 1 FROM attestations AS a
                    WHERE a.package_id = v.package_id AND a.version = v.version
                        AND a.sha256 IS NOT x'')
"""
_MISSING_OF: Final = f"{_MISSING} AND p.name = ?3"
_BUNDLE_OF: Final = (
    'SELECT ordinal, observed_at, segment, "offset", lower(hex(sha256)), length '
    "FROM attestations WHERE package_id = (SELECT id FROM packages WHERE name = ?1) "
    "AND version = ?2 AND sha256 IS NOT x''"
)


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A document with versions whose key was not known; `keys` is what it was held against.

    `length` is in bytes. `versions` are all of its package in that state, each with the digest of
    its manifest: not all need be in this document.
    """

    ordinal: int
    name: str
    keys: int
    place: Location
    length: int
    versions: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of such a document, held against the keys up to `keys`.

    `states` are of those versions of it whose key is known by now, each with the digest of its
    manifest; `is_done` says that no other is left.
    """

    ordinal: int
    keys: int
    states: tuple[tuple[str, bytes, str], ...]
    is_done: bool


@dataclass(frozen=True, slots=True)
class Attested:
    """Whether a version's document tells of attestations, its file is held, and what was asked.

    `is_asked` is true where the answer is archived, be it that there is none.
    """

    is_attested: bool
    is_held: bool
    is_asked: bool


async def keys(now: Transaction) -> list[StoredKeys]:
    """All records of keys, oldest first."""
    rows = await now.rows("SELECT ordinal, at, document FROM keys ORDER BY ordinal")
    return [StoredKeys(*row) for row in rows]


async def keys_at(now: Transaction, ordinal: int | None = None) -> StoredKeys | None:
    """The newest record of keys, or the newest up to an ordinal; None where there is none."""
    row = await now.row(
        "SELECT ordinal, at, document FROM keys WHERE ?1 IS NULL OR ordinal <= ?1 "
        "ORDER BY ordinal DESC LIMIT 1",
        (ordinal,),
    )
    return StoredKeys(*row) if row is not None else None


async def counted(now: Transaction, rows: Sequence[Row]) -> Counter[str]:
    """Of these versions (package's number, version): how many are in each state."""
    found: Counter[str] = Counter()
    for start in range(0, len(rows), EACH):
        some = rows[start : start + EACH]
        values = [value for row in some for value in row]
        found.update(dict(await now.rows(listed(_COUNTED, len(some), "(?, ?)"), values)))
    return _named(found)


async def counted_of(now: Transaction, package: int) -> Counter[str]:
    """The same of all versions of a package, and how many answers about attestations there are."""
    found = _named(Counter(dict(await now.rows(_OF_PACKAGE, (package,)))))
    [(bundles,)] = await now.rows(
        "SELECT count(*) FROM attestations WHERE package_id = ? AND sha256 IS NOT x''", (package,)
    )
    found[BUNDLES] = bundles
    return found


def _named(states: Counter[str]) -> Counter[str]:
    return Counter({f"{TOTAL}{state}": number for state, number in states.items()})


async def bundled(now: Transaction, rows: Sequence[Row]) -> int:
    """Of how many of these versions (package's number, version) an answer is archived."""
    number = 0
    for start in range(0, len(rows), EACH):
        some = rows[start : start + EACH]
        values = [value for row in some for value in row]
        [(found,)] = await now.rows(listed(_BUNDLED, len(some), "(?, ?)"), values)
        number += found
    return number


async def unjudged(now: Transaction, before: int, after: int, limit: int) -> list[Unjudged]:
    """Documents not yet held against the keys of ordinal `before`, behind one, oldest first."""
    rows = await now.rows(_UNJUDGED, (before, after, limit))
    return [
        Unjudged(ordinal, name, known, Location(segment, offset), length, _digests(versions))
        for ordinal, name, known, segment, offset, length, versions in rows
    ]


def _digests(told: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((version, bytes.fromhex(digest)) for version, digest in orjson.loads(told))


async def settle(now: Transaction, judgements: Sequence[Judgement]) -> None:
    """Put down what came of documents that were looked at again."""
    totals: Counter[str] = Counter()
    for one in judgements:
        for version, digest, state in one.states:
            changed = await now.run(_JUDGED, (one.ordinal, storable(version), digest, state))
            totals[f"{TOTAL}{state}"] += changed
            totals[f"{TOTAL}unknown_key"] -= changed
        if one.is_done:
            await now.run("DELETE FROM unknown_signers WHERE ordinal = ?", (one.ordinal,))
        else:
            await now.run(
                "UPDATE unknown_signers SET keys = ? WHERE ordinal = ?", (one.keys, one.ordinal)
            )
    for what, number in totals.items():
        await now.run(
            "INSERT INTO totals (what, number) VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET number = number + excluded.number",
            (what, number),
        )


async def attested(now: Transaction, name: str, versions: Sequence[str]) -> dict[str, Attested]:
    """What is known of the attestations of these versions, as far as they are known."""
    found: dict[str, Attested] = {}
    for start in range(0, len(versions), EACH):
        spelt = {storable(version): version for version in versions[start : start + EACH]}
        rows = await now.rows(listed(_ASKED, len(spelt)), [storable(name), *spelt])
        found |= {
            spelt[version]: Attested(told == 1, held == 1, asked == 1)
            for version, told, held, asked in rows
        }
    return found


async def put_missing(
    now: Transaction, reason: str, at: str, names: Sequence[str] | None = None
) -> int:
    """Put held versions on the work list whose attestations were never asked for; how many.

    Of these packages, or of all.
    """
    if names is None:
        return await now.run(_MISSING, (reason, at))
    return sum([await now.run(_MISSING_OF, (reason, at, storable(name))) for name in names])


async def bundle(now: Transaction, name: str, version: str) -> StoredBundle | None:
    """What upstream answered when it was asked for a version's attestations; None: never asked."""
    row = await now.row(_BUNDLE_OF, (storable(name), storable(version)))
    if row is None:
        return None
    ordinal, at, segment, offset, sha256, length = row
    place = Location(segment, offset)
    return StoredBundle(name, version, ordinal, at, place, sha256 or None, length)


async def bundles(now: Transaction, name: str) -> list[Location]:
    """Where the bundles of a package lie, erased ones among them."""
    rows = await now.rows(
        'SELECT segment, "offset" FROM attestations WHERE sha256 IS NOT NULL '
        "AND package_id = (SELECT id FROM packages WHERE name = ?) ORDER BY ordinal",
        (storable(name),),
    )
    return [Location(*row) for row in rows]


async def invalid(now: Transaction, limit: int) -> list[tuple[str, str]]:
    """Packages and versions whose signatures are wrong."""
    rows = await now.rows(
        "SELECT p.name, v.version FROM versions AS v INDEXED BY versions_invalid "
        "CROSS JOIN packages AS p ON p.id = v.package_id "
        "WHERE v.signature = 'invalid' ORDER BY p.name, v.version LIMIT ?",
        (limit,),
    )
    return [(name, version) for name, version in rows]
