"""Tarballs whose `package.json` is not what the packument says. Steps of a transaction."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import orjson

from npmmirror.confusion import Confusion
from npmmirror.index.group import StoredTarball
from npmmirror.sqlite import Batch, Row, Transaction, storable

PUT: Final = Batch(
    "INSERT INTO manifest_confusions (package_id, version, ordinal, reason, detail) "
    "VALUES {rows} ON CONFLICT DO UPDATE SET ordinal = excluded.ordinal, "
    "reason = excluded.reason, detail = excluded.detail",
    5,
)

# Of a file that was stored anew: what the one before said counts no longer.
CLEAR: Final = Batch(
    # Without the casts SQLite would read the whole table.
    "DELETE FROM manifest_confusions WHERE (package_id, version) IN (SELECT "
    "CAST(column1 AS INTEGER), CAST(column2 AS TEXT) FROM (VALUES {rows}))",
    2,
)

_COUNT: Final = "SELECT reason, count(*) FROM manifest_confusions GROUP BY 1 ORDER BY 2 DESC, 1"
_OF: Final = """
SELECT c.version, c.detail FROM packages AS p
CROSS JOIN manifest_confusions AS c ON c.package_id = p.id
WHERE p.name = ?1 AND (?2 IS NULL OR c.version = ?2)
ORDER BY c.version
"""


def newest(tarballs: Iterable[StoredTarball]) -> list[StoredTarball]:
    """Of each version the file that was stored last."""
    return list({(each.name, each.version): each for each in tarballs}.values())


def rows(package: int, tarball: StoredTarball) -> Iterator[Row]:
    """For `PUT`: a row, or none."""
    found = tarball.confusion
    if found is not None:
        detail = orjson.dumps(found.facts).decode()
        yield package, tarball.version, tarball.ordinal, found.reason, detail


async def counted(now: Transaction) -> Counter[str]:
    """How many versions there are of each reason."""
    return Counter(dict(await now.rows(_COUNT)))


async def of(now: Transaction, name: str, version: str | None = None) -> dict[str, Confusion]:
    """What is known of a version of a package, or of all of them."""
    spelt = storable(version) if version is not None else None
    found = {
        version: Confusion.read(orjson.loads(detail))
        for version, detail in await now.rows(_OF, (storable(name), spelt))
    }
    return {version: each for version, each in found.items() if each is not None}
