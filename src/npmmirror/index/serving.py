"""What the server asks of the index. Steps of a transaction, each along an index."""

from typing import Final, NamedTuple

from npmmirror.sqlite import Transaction, storable

_STANDING: Final = """
SELECT p.state, r.ordinal, lower(hex(r.sha256)), r.length, r.segment, r."offset", r.erased = 1
FROM packages AS p JOIN revisions AS r ON r.ordinal = p.revision
WHERE p.name = ?
"""
_HELD: Final = """
SELECT version, path, size, lower(hex(sha512)), present = 1 FROM versions
WHERE package_id = (SELECT id FROM packages WHERE name = ?) AND state IN ('held', 'unverifiable')
"""


class StandingRow(NamedTuple):
    """A package's state and its newest document that is not stale."""

    state: str
    ordinal: int
    sha256: str
    length: int
    segment: int
    offset: int
    erased: int


class HeldRow(NamedTuple):
    """A tarball that is held; `present`: upstream's newest document names the version."""

    version: str
    path: str
    size: int
    sha512: str
    present: int


async def standing(now: Transaction, name: str) -> StandingRow | None:
    """A package; None where no document of it was captured."""
    row = await now.row(_STANDING, (storable(name),))
    return None if row is None else StandingRow(*row)


async def held(now: Transaction, name: str) -> list[HeldRow]:
    """All tarballs of a package that are held, gone upstream or not."""
    return [HeldRow(*row) for row in await now.rows(_HELD, (storable(name),))]


_TARBALL: Final = """
SELECT v.version, v.path, v.size, lower(hex(v.sha512)), v.present = 1, p.state
FROM packages AS p JOIN versions AS v ON v.package_id = p.id
WHERE p.name = ?1 AND v.version = ?2 AND v.state IN ('held', 'unverifiable')
"""
_BY_FILE: Final = """
SELECT v.version, v.path, v.size, lower(hex(v.sha512)), v.present = 1, p.state
FROM packages AS p JOIN versions AS v ON v.package_id = p.id
WHERE p.name = ?1 AND v.state IN ('held', 'unverifiable')
  AND substr(v.tarball, -length(?2)) = ?2
ORDER BY v.present DESC, v.version LIMIT 1
"""


_MEANT: Final = """
SELECT v.version, p.state FROM packages AS p JOIN versions AS v ON v.package_id = p.id
WHERE p.name = ?1 AND v.present = 1 AND (v.version = ?2 OR substr(v.tarball, -length(?3)) = ?3)
ORDER BY v.version <> ?2, v.version LIMIT 1
"""


async def meant(now: Transaction, name: str, version: str, file: str) -> tuple[str, str] | None:
    """The version that upstream has and a file name means, held or not, and the package's state."""
    row = await now.row(_MEANT, (storable(name), storable(version), storable(f"/{file}")))
    return None if row is None else (row[0], row[1])


async def tarball(
    now: Transaction, name: str, version: str, file: str
) -> tuple[HeldRow, str] | None:
    """A held tarball of a version, else of the one whose upstream URL ends with a file name.

    Returns:
        It and the package's state.
    """
    row = None
    if version:
        row = await now.row(_TARBALL, (storable(name), storable(version)))
    if row is None:
        row = await now.row(_BY_FILE, (storable(name), storable(f"/{file}")))
    return None if row is None else (HeldRow(*row[:5]), row[5])
