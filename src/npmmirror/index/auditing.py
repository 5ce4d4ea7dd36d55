"""Rows to hold the archive against, looked up by what the archive itself tells. For `verify`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from npmmirror.capture import Location
from npmmirror.outcome import HELD, LOST
from npmmirror.sqlite import Row, Transaction, listed, storable

Key = tuple[str, str]
"""Name and version."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """What the index knows of a version's file, be it held, dropped or never stored.

    `ordinal` is that of the record that made the state. `sha512` (hex) and `size` stay known of a
    file that was dropped, `reason` tells why it was. `result` is that of the last `verify`.
    """

    name: str
    version: str
    state: str
    ordinal: int | None
    reason: str | None
    path: str | None
    size: int | None
    sha512: str | None
    integrity: str | None
    shasum: str | None
    result: str | None

    @property
    def held(self) -> bool:
        """Whether the file should be there."""
        return self.state in HELD


def _quoted(words: frozenset[str]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


_COLUMNS: Final = (
    "p.name, v.version, v.state, v.ordinal, v.reason, v.path, v.size, "
    "nullif(lower(hex(v.sha512)), ''), v.integrity, v.shasum, c.result"
)
_CHECKS: Final = "LEFT JOIN checks AS c ON c.package_id = v.package_id AND c.version = v.version"
_KEYED: Final = (
    f"SELECT k.column1, k.column2, {_COLUMNS} FROM (VALUES {{list}}) AS k "  # noqa: S608  constants
    "CROSS JOIN packages AS p ON p.name = k.column1 "
    "CROSS JOIN versions AS v ON v.package_id = p.id AND v.version = k.column2 "
    f"{_CHECKS}"
)
_AFTER: Final = (
    f"SELECT {_COLUMNS} FROM packages AS p CROSS JOIN versions AS v ON v.package_id = p.id "  # noqa: S608  constants
    f"{_CHECKS} WHERE p.name >= ?1 AND (p.name > ?1 OR v.version > ?2) "
    "AND (?3 IS NULL OR p.name = ?3) AND {wanted} ORDER BY p.name, v.version LIMIT ?4"
)
_STORED: Final = _AFTER.replace("{wanted}", "v.state <> ''")
_DAMAGED: Final = _AFTER.replace(
    "{wanted}",
    f"((v.state IN ({_quoted(HELD)}) AND c.result IN ({_quoted(LOST)})) "
    f"OR (v.state = 'dropped' AND v.reason IN ({_quoted(LOST)})))",
)
_REVISIONS: Final = (
    'SELECT r.ordinal, p.name, lower(hex(r.sha256)), r.segment, r."offset" '
    "FROM revisions AS r JOIN packages AS p ON p.id = r.package_id WHERE r.ordinal IN ({list})"
)
_ALL_REVISIONS: Final = (
    'SELECT r.ordinal, p.name, lower(hex(r.sha256)), r.segment, r."offset", r.length '
    "FROM revisions AS r JOIN packages AS p ON p.id = r.package_id "
    "WHERE r.ordinal > ? ORDER BY r.ordinal LIMIT ?"
)
_PATHS: Final = "SELECT path FROM versions WHERE path IN ({list})"


async def keyed(now: Transaction, keys: Sequence[Key]) -> dict[Key, StoredRow]:
    """The rows of these versions, as far as there are any."""
    spelt = {(storable(name), storable(version)): (name, version) for name, version in keys}
    values = [text for key in spelt for text in key]
    rows = await now.rows(listed(_KEYED, len(spelt), "(?, ?)"), values) if spelt else []
    return {spelt[name, version]: StoredRow(*row) for name, version, *row in rows}


async def stored(now: Transaction, after: Key, limit: int, only: str | None) -> list[StoredRow]:
    """Versions whose files are or were stored, behind a pair, in the order of their bytes."""
    return await _behind(now, _STORED, after, limit, only)


async def damaged(now: Transaction, after: Key, limit: int, only: str | None) -> list[StoredRow]:
    """Versions whose files were found damaged, or were dropped for it and never came again."""
    return await _behind(now, _DAMAGED, after, limit, only)


async def _behind(
    now: Transaction, sql: str, after: Key, limit: int, only: str | None
) -> list[StoredRow]:
    name, version = map(storable, after)
    package = storable(only) if only is not None else None
    rows: list[Row] = await now.rows(sql, (name, version, package, limit))
    return [StoredRow(*row) for row in rows]


async def revisions_at(
    now: Transaction, ordinals: Sequence[int]
) -> dict[int, tuple[str, str, Location]]:
    """Package, SHA-256 (hex) and place of the revisions of these ordinals that are known."""
    rows = await now.rows(listed(_REVISIONS, len(ordinals)), ordinals) if ordinals else []
    return {
        ordinal: (name, sha256, Location(segment, offset))
        for ordinal, name, sha256, segment, offset in rows
    }


async def revisions_after(
    now: Transaction, ordinal: int, limit: int
) -> list[tuple[int, str, str, Location, int]]:
    """Ordinal, package, SHA-256 (hex), place and length of the revisions behind an ordinal."""
    rows = await now.rows(_ALL_REVISIONS, (ordinal, limit))
    return [
        (found, name, sha256, Location(segment, offset), length)
        for found, name, sha256, segment, offset, length in rows
    ]


async def known_paths(now: Transaction, paths: Sequence[str]) -> set[str]:
    """Those of these paths that some version has. Reads all versions: for few calls."""
    spelt = [storable(path) for path in paths]
    rows = await now.rows(listed(_PATHS, len(spelt)), spelt) if spelt else []
    return {path for (path,) in rows}
