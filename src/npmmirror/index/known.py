"""What the index knows of packages, in one step of SQLite however many versions they have."""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from npmmirror.capture import Chain, Location
from npmmirror.effects import Known, KnownVersion
from npmmirror.sqlite import Transaction, listed, storable

# The interpreter's lock changes hands at each row that SQLite gives; so there is only one, with
# everything in it as JSON.
_QUERY: Final = """
SELECT json_group_array(json_array(
    p.name, p.state, r.rev, p.modified_at, r.etag, nullif(lower(hex(r.sha256)), ''),
    r.segment, r."offset", r.number, base.number, base.segment, base."offset",
    nullif(lower(hex(stale.sha256)), ''),
    json((SELECT json_group_array(json_array(version, hex(digest), present,
              iif(state = 'dropped' AND reason LIKE 'policy: %', 'pruned', state)))
          FROM versions WHERE package_id = p.id)),
    json((SELECT json_group_object(tag, version) FROM dist_tags WHERE package_id = p.id)),
    json((SELECT json_group_array(name) FROM people
          WHERE package_id = p.id AND role = 'maintainer'))
))
FROM packages AS p
LEFT JOIN revisions AS r ON r.ordinal = p.revision
LEFT JOIN revisions AS stale ON stale.ordinal = p.stale_revision
-- The next revision is a delta of the one whose number is the next one's without its lowest bit.
LEFT JOIN revisions AS base ON base.ordinal = (
    SELECT b.ordinal FROM revisions AS b
    WHERE b.package_id = p.id AND b.stale = 0 AND b.number = (r.number & (r.number + 1))
    ORDER BY b.ordinal DESC LIMIT 1)
WHERE p.name IN ({list}) AND (p.state <> '' OR p.stale_revision IS NOT NULL)
"""
MOST: Final = 16
"""How many packages are asked for at a time; those of some are megabytes."""
_QUERIES: Final = {count: listed(_QUERY, count) for count in (1, 4, MOST)}


async def known(now: Transaction, names: Sequence[str]) -> dict[str, Known]:
    """What is known of 1 to `MOST` packages; those of which nothing was captured are left out.

    Where only stale documents were captured, `state` is "".
    """
    spelt = [storable(name) for name in names]
    places = next(count for count in _QUERIES if count >= len(spelt))
    padded = [*spelt, *spelt[:1] * (places - len(spelt))]
    [(rows,)] = await now.rows(_QUERIES[places], padded)
    found = {name: _known(row) for name, *row in orjson.loads(rows)}
    return {
        name: found[spelling]
        for name, spelling in zip(names, spelt, strict=True)
        if spelling in found
    }


def _known(row: list[Any]) -> Known:
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
        sha256=sha256,
        place=place,
        chain=chain,
        stale_sha256=stale,
        versions={
            version: KnownVersion(bytes.fromhex(digest), present == 1, held)
            for version, digest, present, held in versions
        },
        tags=tags,
        maintainers=frozenset(maintainers),
    )
