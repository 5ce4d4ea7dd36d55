"""What the policy wants of packages that are captured, and that nobody is going to fetch by himself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from npmmirror.index import IndexReader, shelf
from npmmirror.index.shelf import Shelf, Shelved
from npmmirror.pipeline.job import PACKUMENT
from npmmirror.policy import POLICY, Candidate, Keep, Policy
from npmmirror.policy.retention import LIVE, by_itself
from npmmirror.sqlite import Row
from npmmirror.worker_threads import WorkerThreads

EACH: Final = 50
"""Packages that are looked at together."""


@dataclass(frozen=True, slots=True)
class Larger:
    """What may be larger than it might when something was left out for its size."""

    tarballs: bool = False
    documents: bool = False


class Wanting:
    """Finds the tarballs of captured packages that the policy wants and that are not here.

    `following_since` tells when following began.
    """

    def __init__(
        self,
        policy: Policy,
        reader: IndexReader,
        threads: WorkerThreads,
        following_since: Callable[[], str | None],
    ) -> None:
        self._policy = policy
        self._reader = reader
        self._threads = threads
        self._following_since = following_since

    async def tarballs(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Package and version of each, as far as they are not on the work list."""
        found: list[tuple[str, str]] = []
        for start in range(0, len(names), EACH):
            some = names[start : start + EACH]
            rows = await self._reader.ask(partial(shelf.rows_of, names=some))
            wanted = await self._threads.run(
                wanted_of_each, self._policy, rows, self._following_since(), Larger()
            )
            found += [
                (package, item) for package, items in wanted for item in items if item != PACKUMENT
            ]
        return found


def wanted_of_each(
    policy: Policy, rows: Sequence[Row], since: str | None, larger: Larger
) -> list[tuple[str, list[str]]]:
    """Of each package, by the rows of their shelves: for a thread, it takes up to a tenth of a second."""
    shelves = map(shelf.read, rows)
    return [(one.package, list(wanted_of(policy, one, since, larger))) for one in shelves]


def wanted_of(policy: Policy, found: Shelf, since: str | None, larger: Larger) -> Iterator[str]:
    """What the policy wants of a package, is not held, and nobody is going to fetch by himself.

    The packument ("") of one that the policy had skipped; else tarballs. `since` is when following
    began.
    """
    if not isinstance(policy.package(found.package), Keep):
        return
    if found.skipped or (found.outsized and larger.documents):
        if PACKUMENT not in found.waiting:
            yield PACKUMENT
        return
    if found.state != LIVE:
        return
    present = [Candidate(one.version, one.published_at) for one in found.versions if one.present]
    wanted = by_itself(policy.settings(found.package), present, found.latest, since)
    off = found.waiting if larger.tarballs else found.waiting | found.too_large
    for one in found.versions:
        if one.version in wanted and one.version not in off and _is_open(one):
            yield one.version


def _is_open(one: Shelved) -> bool:
    """Whether a version's file is not here, and nobody but the policy had it dropped."""
    if one.state == "dropped":
        return (one.reason or "").startswith(f"{POLICY}: ")
    return not one.held
