"""Which files of a package the policy wants no longer. Pure; what is gone upstream is not judged."""

from collections.abc import Iterable

from npmmirror.policy.selection import Candidate, Drop, Policy, Settings, judged

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
