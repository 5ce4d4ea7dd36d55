"""Who brought a row of the work list, where that is more than a change or a plain wish.

The words stand in the column `origin` of the work list and stay with a row while it fails. Pure.
"""

from typing import Final

BACKFILL: Final = "backfill"
RECONCILE: Final = "reconcile"
FORCED: Final = "forced"
"""Somebody who wants it whatever the policy says; of a row that failed, whose reason is that."""
_METADATA: Final = "_metadata"


def brought_by(who: str, *, metadata_only: bool) -> str:
    """The origin of what `BACKFILL` or `RECONCILE` brings; `metadata_only`: without tarballs."""
    return who + _METADATA if metadata_only else who


def origins(who: str) -> tuple[str, str]:
    """All origins of what somebody brings."""
    return who, who + _METADATA


def is_metadata_only(origin: str) -> bool:
    """Whether the documents alone are wanted of what has this origin."""
    return origin.endswith(_METADATA)
