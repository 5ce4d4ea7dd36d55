"""Taking out of the index what was made of a package's documents. Steps of a transaction."""

from collections import Counter
from typing import Final

from npmmirror.index import signing
from npmmirror.index.group import StoredErasure
from npmmirror.sqlite import Transaction

_STANDING: Final = """
SELECT
    (SELECT state FROM packages WHERE id = ?1),
    (SELECT count(*) FROM events WHERE package_id = ?1),
    count(*),
    count(*) FILTER (WHERE state IN ('held', 'unverifiable')),
    coalesce(sum(size) FILTER (WHERE state IN ('held', 'unverifiable')), 0)
FROM versions WHERE package_id = ?1
"""
_EMPTIED: Final = (
    *("events", "dist_tags", "people", "dependencies"),
    *("work_list", "skips", "checks", "held_removals"),
    *("unknown_signers", "manifest_confusions"),
)
_UNHELD: Final = "DELETE FROM versions WHERE package_id = ?1 AND state = ''"
# What the log's own headers tell stays: that a file of this version was held, and which.
_VERSIONS: Final = """
UPDATE versions SET
    digest = x'', present = 0, published_at = NULL, tarball = NULL, shasum = NULL,
    integrity = NULL, file_count = NULL, unpacked_size = NULL, license = NULL, publisher = NULL,
    deprecated = NULL, has_install_script = 0, signature = '', attested = 0
WHERE package_id = ?1
"""
_FILES: Final = """
UPDATE versions SET state = 'dropped', reason = 'erased', path = NULL, ordinal = ?2
WHERE package_id = ?1 AND state IN ('held', 'unverifiable')
"""
# Else `verify --repair` would fetch again what was lost before.
_LOST: Final = """
UPDATE versions SET reason = 'erased'
WHERE package_id = ?1 AND reason IN ('missing', 'altered', 'unreadable')
"""
_BUNDLES: Final = "UPDATE attestations SET sha256 = x'', length = NULL WHERE package_id = ?1"
_REVISIONS: Final = "UPDATE revisions SET erased = 1, stale = 0 WHERE package_id = ?1"
_PACKAGE: Final = """
UPDATE packages SET
    state = 'erased', ordinal = ?2, touched = ?2, observed_at = ?3, revision = NULL,
    stale_revision = NULL, seq = NULL, rev = NULL, created_at = NULL, modified_at = NULL, latest = NULL,
    latest_author = NULL, license = NULL, version_count = 0, modification_count = 0,
    problems = NULL
WHERE id = ?1
"""


async def erase(now: Transaction, package: int, erasure: StoredErasure) -> Counter[str]:
    """Erase what is there of a package; what that adds to the totals."""
    state, *before = await _standing(now, package)
    signed = await signing.counted_of(now, package)
    for table in _EMPTIED:
        await now.run(f"DELETE FROM {table} WHERE package_id = ?", (package,))  # noqa: S608  constants
    for statement in (_UNHELD, _VERSIONS, _LOST, _BUNDLES, _REVISIONS):
        await now.run(statement, (package,))
    await now.run(_FILES, (package, erasure.ordinal))
    await now.run(_PACKAGE, (package, erasure.ordinal, erasure.at))
    _, *after = await _standing(now, package)
    counted = ("events", "versions", "tarballs", "tarball_bytes")
    added = Counter(
        {what: new - old for what, old, new in zip(counted, before, after, strict=True)}
    )
    added.subtract(signed)
    added["packages_erased"] += 1
    if state:
        added[f"packages_{state}"] -= 1
    return added


async def _standing(now: Transaction, package: int) -> tuple[str, int, int, int, int]:
    [row] = await now.rows(_STANDING, (package,))
    state, events, versions, tarballs, size = row
    return state, events, versions, tarballs, size
