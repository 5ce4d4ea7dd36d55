"""What should be there of packages and their versions, what is, and why the rest is not.

Asked in slices, so that no transaction is long: a whole mirror has millions of packages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from npmmirror.outcome import HELD, LOST
from npmmirror.sqlite import Transaction, storable

UNDECIDED: Final = "undecided"
"""No table says why the file is not there: the policy does."""
LATEST: Final = "latest"
"""The word of the one among those that the dist-tag `latest` names."""


@dataclass(frozen=True, slots=True)
class PackageStanding:
    """A package. `standing` is `held` where a document of it was captured, else why none was.

    That is `erased`, `failed`, `not_yet`, `skipped` or `gone`; `word` and `detail` say more.
    `latest` is the version that the dist-tag `latest` names.
    """

    id: int
    name: str
    standing: str
    word: str
    detail: str
    latest: str | None


@dataclass(frozen=True, slots=True)
class VersionSum:
    """Versions of one package that stand alike, for one `word`.

    `bytes` are those of the files that we have or had, `unpacked` what upstream tells of the
    others (`dist.unpackedSize`); `unsized` versions have neither.
    """

    package: int
    standing: str
    word: str
    count: int
    bytes: int
    unpacked: int
    unsized: int
    held_unpacked: int
    held_bytes: int


@dataclass(frozen=True, slots=True)
class MissingVersion:
    """A version whose file we do not have. `size` and `unpacked` as in `VersionSum`, or None."""

    package: int
    version: str
    standing: str
    word: str
    detail: str
    size: int | None
    unpacked: int | None
    published_at: str | None


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A held file. `sha512` is hex, `captured_at` when its bytes were checked as they came."""

    package: str
    version: str
    sha512: str
    size: int
    captured_at: str
    path: str


def _quoted(words: frozenset[str]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


_FAILED: Final = "(w.attempts > 0 OR w.not_before IS NULL)"
# The first that is true counts. A version that upstream lost is gone, whatever waits for it.
_STANDING: Final = f"""CASE
    WHEN v.state IN ({_quoted(HELD)}) THEN 'held'
    WHEN p.state = 'erased' OR v.reason = 'erased' THEN 'erased'
    WHEN v.present = 0 OR p.state = 'removed' THEN 'gone'
    WHEN w.id IS NOT NULL THEN iif({_FAILED}, 'failed', 'not_yet')
    WHEN s.reason IS NOT NULL THEN 'skipped'
    WHEN v.state = 'dropped' THEN iif(v.reason IN ({_quoted(LOST)}), 'failed', 'dropped')
    WHEN ps.reason IS NOT NULL THEN 'skipped'
    ELSE '{UNDECIDED}' END"""
_WORD: Final = f"""CASE
    WHEN v.state IN ({_quoted(HELD)}) THEN ''
    WHEN p.state = 'erased' OR v.reason = 'erased' THEN 'erased'
    WHEN v.present = 0 OR p.state = 'removed'
        THEN iif(p.state IN ('removed', 'unpublished', 'security_hold'), p.state,
            'version_unpublished')
    ELSE coalesce(w.reason, s.reason, v.reason, ps.reason,
        iif(v.version = p.latest, '{LATEST}', '')) END"""
_DETAIL: Final = "coalesce(w.detail, s.detail, ps.detail, '')"
_FROM: Final = """
FROM packages AS p CROSS JOIN versions AS v ON v.package_id = p.id
LEFT JOIN work_list AS w ON w.package_id = v.package_id AND w.item = v.version
LEFT JOIN skips AS s ON s.package_id = v.package_id AND s.version = v.version
LEFT JOIN skips AS ps ON ps.package_id = p.id AND ps.version = ''
"""
_RANGE: Final = "p.id BETWEEN ? AND ?"
_LISTED: Final = "p.id IN (SELECT value FROM json_each(?))"

_PACKAGES: Final = f"""
SELECT p.id, p.name, CASE
        WHEN p.state = 'erased' THEN 'erased'
        WHEN p.state <> '' THEN 'held'
        WHEN w.id IS NOT NULL THEN iif({_FAILED}, 'failed', 'not_yet')
        WHEN s.reason IN ('gone_before_capture') OR f.deleted = 1 THEN 'gone'
        WHEN s.reason IS NOT NULL THEN 'skipped'
        ELSE 'not_yet' END,
    iif(p.state = '', coalesce(w.reason, s.reason, ''), p.state),
    iif(p.state = '', coalesce(w.detail, s.detail, ''), ''),
    p.latest
FROM packages AS p
LEFT JOIN work_list AS w ON w.package_id = p.id AND w.item = ''
LEFT JOIN skips AS s ON s.package_id = p.id AND s.version = ''
LEFT JOIN finished AS f ON f.package_id = p.id
WHERE {{slice}} ORDER BY p.id
"""  # noqa: S608  constants
_SUMS: Final = f"""
SELECT package, standing, word, count(*), coalesce(sum(size), 0),
    coalesce(sum(iif(size IS NULL, unpacked, 0)), 0),
    count(*) FILTER (WHERE size IS NULL AND unpacked IS NULL),
    coalesce(sum(iif(standing = 'held', unpacked, 0)), 0),
    coalesce(sum(iif(standing = 'held' AND unpacked IS NOT NULL, size, 0)), 0)
FROM (SELECT p.id AS package, {_STANDING} AS standing, {_WORD} AS word, v.size AS size,
        v.unpacked_size AS unpacked {_FROM} WHERE {{slice}})
GROUP BY 1, 2, 3 ORDER BY 1
"""  # noqa: S608  constants
_MISSING: Final = f"""
SELECT p.id, v.version, {_STANDING}, {_WORD}, {_DETAIL}, v.size, v.unpacked_size, v.published_at
{_FROM} WHERE {{slice}} AND v.state NOT IN ({_quoted(HELD)}) {{only}} ORDER BY p.id, v.version
"""
_PRESENT: Final = """
SELECT p.id, v.version, v.published_at, v.size
FROM packages AS p CROSS JOIN versions AS v ON v.package_id = p.id
WHERE {slice} AND v.present = 1
"""
_HELD: Final = f"""
SELECT p.name, v.version, lower(hex(v.sha512)), v.size, v.verified_at, v.path
FROM packages AS p CROSS JOIN versions AS v ON v.package_id = p.id
WHERE p.name >= ?1 AND (p.name > ?1 OR v.version > ?2)
    AND v.state IN ({_quoted(HELD)}) AND v.ordinal <= ?3
ORDER BY p.name, v.version LIMIT ?4
"""  # noqa: S608  constants
_NAMED: Final = (
    "SELECT id, name FROM packages WHERE name > ?1 AND name >= ?2 AND name < ?3 "
    "ORDER BY name LIMIT ?4"
)


@dataclass(frozen=True, slots=True)
class Slice:
    """Some packages: those of these `ids`, or all whose number is from `first` to `last`."""

    first: int = 0
    last: int = 0
    ids: tuple[int, ...] | None = None

    def put_in(self, sql: str) -> str:
        """The statement for this slice."""
        return sql.replace("{slice}", _RANGE if self.ids is None else _LISTED)

    @property
    def parameters(self) -> tuple[object, ...]:
        """What the statement takes."""
        return (self.first, self.last) if self.ids is None else (orjson.dumps(self.ids).decode(),)


async def last_id(now: Transaction) -> int:
    """The highest number of a package; 0 where there is none."""
    [(last,)] = await now.rows("SELECT coalesce(max(id), 0) FROM packages")
    return int(last)


async def held_count(now: Transaction) -> int:
    """How many files are held."""
    row = await now.row("SELECT number FROM totals WHERE what = 'tarballs'")
    return int(row[0]) if row is not None else 0


async def packages(now: Transaction, part: Slice) -> list[PackageStanding]:
    """How the packages of a slice stand, in the order of their numbers."""
    rows = await now.rows(part.put_in(_PACKAGES), part.parameters)
    return [PackageStanding(*row) for row in rows]


async def sums(now: Transaction, part: Slice) -> list[VersionSum]:
    """How the versions of a slice stand, added up for each package, standing and word."""
    return [VersionSum(*row) for row in await now.rows(part.put_in(_SUMS), part.parameters)]


async def missing(
    now: Transaction, part: Slice, *, undecided_only: bool = False
) -> list[MissingVersion]:
    """The versions of a slice whose files we do not have, by package and version."""
    only = f"AND {_STANDING} = '{UNDECIDED}'" if undecided_only else ""
    sql = part.put_in(_MISSING).replace("{only}", only)
    return [MissingVersion(*row) for row in await now.rows(sql, part.parameters)]


async def present(now: Transaction, part: Slice) -> list[tuple[int, str, str | None, int | None]]:
    """Package, version, time of publishing and size of all versions that upstream lists."""
    rows = await now.rows(part.put_in(_PRESENT), part.parameters)
    return [(package, version, at, size) for package, version, at, size in rows]


async def named(
    now: Transaction, after: str, low: str, high: str, limit: int
) -> list[tuple[int, str]]:
    """Numbers and names of packages behind `after`, from `low` to before `high`, by name."""
    asked: Sequence[object] = (storable(after), storable(low), storable(high), limit)
    return [(number, name) for number, name in await now.rows(_NAMED, asked)]


async def held_up_to(
    now: Transaction, after: tuple[str, str], ordinal: int, limit: int
) -> list[ListedFile]:
    """Held files that a record up to `ordinal` tells of, behind (name, version), by the bytes."""
    rows = await now.rows(_HELD, (*after, ordinal, limit))
    return [ListedFile(*row) for row in rows]
