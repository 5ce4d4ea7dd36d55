"""Which files of a known package the policy wants, and which no longer. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from npmmirror.packument import instant
from npmmirror.policy.selection import Candidate, Drop, Keep, Policy, Settings, age, judged

LIVE = "live"
"""The one state of a package in which upstream's versions can be fetched again."""


def surplus(
    policy: Policy, package: str, state: str, held: Iterable[Candidate], latest: str | None
) -> dict[str, Drop]:
    """The held versions to drop, each with why; `held` are those that upstream still has.

    Nothing is dropped of a package that is unpublished, held for security, removed, or of which no
    document was captured: what we hold of it may be all that is left.
    """
    if state != LIVE:
        return {}
    verdict = policy.package(package)
    if isinstance(verdict, Drop):
        return {one.version: verdict for one in held}
    return outnumbered(policy.settings(package), held, latest)


def outnumbered(
    settings: Settings, held: Iterable[Candidate], latest: str | None
) -> dict[str, Drop]:
    """Of a package that is wanted: what its name, age, size, or number drops."""
    verdicts = judged(settings, held, latest)
    return {version: verdict for version, verdict in verdicts.items() if isinstance(verdict, Drop)}


def supernumerary(
    settings: Settings, held: Sequence[Candidate], latest: str | None
) -> dict[str, Drop]:
    """Of a package that is wanted: what nothing but its number drops."""
    others = outnumbered(msgspec.structs.replace(settings, keep_versions=0), held, latest)
    drops = outnumbered(settings, held, latest)
    return {version: drop for version, drop in drops.items() if version not in others}


def by_itself(
    settings: Settings, present: Sequence[Candidate], latest: str | None, since: str | None
) -> set[str]:
    """The versions of a wanted package whose tarballs are wanted without being asked for.

    `present` are all that upstream has, `since` is when following began (None: never). It is what
    would have been fetched if the policy had always been this one. Where no tag `latest` is told,
    the newest version counts.
    """
    verdicts = judged(settings, present, latest)
    kept = [one for one in present if isinstance(verdicts[one.version], Keep)]
    newest = latest or max(present, key=age, default=Candidate("")).version
    began = instant(since)
    match settings.tarballs:
        case "none":
            return set()
        case "all":
            return {one.version for one in kept}
        case "latest":
            return {one.version for one in kept if one.version == newest}
        case "new":
            return {one.version for one in kept if one.version == newest or _since(one, began)}


def _since(one: Candidate, began: datetime | None) -> bool:
    published = instant(one.published_at)
    return began is not None and published is not None and published >= began
