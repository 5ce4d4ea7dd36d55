"""What the index knows of a package, in one step of SQLite however many versions it has."""

from typing import Final

import orjson

from npmmirror.capture import Chain, Location
from npmmirror.effects import Known, KnownVersion
from npmmirror.sqlite import Row, Transaction, storable

# The interpreter's lock changes hands at each row that SQLite gives; so there is only one, with
# its lists as JSON.
QUERY: Final = """
SELECT
    p.state, r.rev, p.modified_at, r.etag, r.sha256, r.segment, r."offset", r.number,
    base.number, base.segment, base."offset",
    stale.sha256,
    (SELECT json_group_array(json_array(version, hex(digest), present, state))
     FROM versions WHERE package_id = p.id),
    (SELECT json_group_object(tag, version) FROM dist_tags WHERE package_id = p.id),
    (SELECT json_group_array(name) FROM people WHERE package_id = p.id AND role = 'maintainer')
FROM packages AS p
LEFT JOIN revisions AS r ON r.ordinal = p.revision
LEFT JOIN revisions AS stale ON stale.ordinal = p.stale_revision
-- The next revision is a delta of the one whose number is the next one's without its lowest bit.
LEFT JOIN revisions AS base ON base.ordinal = (
    SELECT b.ordinal FROM revisions AS b
    WHERE b.package_id = p.id AND b.stale = 0 AND b.number = (r.number & (r.number + 1))
    ORDER BY b.ordinal DESC LIMIT 1)
WHERE p.name = ? AND (p.state <> '' OR p.stale_revision IS NOT NULL)
"""


async def known(now: Transaction, name: str) -> Known | None:
    """What is known of a package; None where nothing of it was captured.

    Where only stale documents were captured, its `state` is "".
    """
    row = await now.row(QUERY, (storable(name),))
    return _known(row) if row is not None else None


def _known(row: Row) -> Known:
    state, rev, modified_at, etag, sha256, *places, stale, versions, tags, maintainers = row
    segment, offset, number, base_number, base_segment, base_offset = places
    place = chain = None
    if segment is not None:
        place = Location(segment, offset)
        chain = Chain(number, {number: place})
        if base_number is not None:
            chain.places[base_number] = Location(base_segment, base_offset)
    return Known(
        state=state,
        rev=rev,
        modified_at=modified_at,
        etag=etag,
        sha256=sha256.hex() if sha256 is not None else None,
        place=place,
        chain=chain,
        stale_sha256=stale.hex() if stale is not None else None,
        versions={
            version: KnownVersion(bytes.fromhex(digest), present == 1, held)
            for version, digest, present, held in orjson.loads(versions)
        },
        tags=orjson.loads(tags),
        maintainers=frozenset(orjson.loads(maintainers)),
    )
