"""How far the mirror is in applying a policy that was changed, as `status` tells it."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from npmmirror.index import IndexReader

COMMAND: Final = "policy"
"""The resumption that holds the place."""


@dataclass(slots=True)
class Place:
    """How far the walk for a policy is: the last package, and what was put on the work list."""

    digest: str
    after: str = ""
    packages: int = 0
    queued_packages: int = 0
    queued_tarballs: int = 0


async def change_report(reader: IndexReader) -> dict[str, Any] | None:
    """How far the walk is, for `status`; None where there is none under way."""
    note = await reader.resumption(COMMAND)
    if note is None:
        return None
    place = Place(**orjson.loads(note.place))
    return {
        "since": note.started_at,
        "packages": place.packages,
        "queued_packages": place.queued_packages,
        "queued_tarballs": place.queued_tarballs,
    }
