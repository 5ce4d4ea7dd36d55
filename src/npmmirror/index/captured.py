"""The captured documents of a package in pages, for whoever reads them all. Steps of a transaction."""

from dataclasses import dataclass
from typing import Final

from npmmirror.change import Seq
from npmmirror.sqlite import Transaction, storable

_PAGE: Final = """
SELECT r.ordinal, r.rev, r.announced_rev, r.seq, r.observed_at,
    (SELECT m.committed_at FROM marks AS m WHERE m.ordinal > r.ordinal ORDER BY m.ordinal LIMIT 1),
    r.stale = 1, r.erased = 1, lower(hex(r.sha256)), r.length, r.etag
FROM revisions AS r
WHERE r.package_id = (SELECT id FROM packages WHERE name = ?) AND r.ordinal > ?
ORDER BY r.ordinal LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Captured:
    """A captured document. `sha256` is hex, `length` bytes; both of the raw document.

    `committed_at` is the time at which it counts as captured.
    """

    ordinal: int
    rev: str | None
    announced_rev: str | None
    seq: Seq | None
    observed_at: str
    committed_at: str
    stale: bool
    erased: bool
    sha256: str
    length: int
    etag: str | None


async def captured(now: Transaction, name: str, after: int, limit: int) -> list[Captured]:
    """Those behind an ordinal, oldest first, stale and erased ones among them."""
    rows = await now.rows(_PAGE, (storable(name), after, limit))
    return [
        Captured(*(*told, stale == 1, erased == 1, sha256, length, etag))
        for *told, stale, erased, sha256, length, etag in rows
    ]
