"""What the policy says of a job: of its package, of versions asked for, and of rows that waited."""

from collections.abc import Iterable, Sequence
from functools import partial

import msgspec

from npmmirror.index import IndexReader, shelf
from npmmirror.index.shelf import Shelf
from npmmirror.outcome import NOT_HELD, MissedTarball, Skipped, TarballOutcome
from npmmirror.pipeline.job import Job, is_forced
from npmmirror.pipeline.look import Look
from npmmirror.policy import (
    POLICY,
    Candidate,
    Drop,
    Keep,
    Policy,
    Settings,
    Verdict,
    judged,
    refused_tarballs,
)


class Selector:
    """Holds jobs against the policy. It asks the index only where the policy needs to know more."""

    def __init__(self, policy: Policy, index: IndexReader) -> None:
        self._policy = policy
        self._index = index
        self._of_a_mirror: bool | None = None
        """Whether upstream ever did not hold something; None: not looked at yet."""

    def settings(self, job: Job) -> Settings | Drop:
        """What holds for the versions of a job's package; why it is not wanted where it is not.

        What somebody asked for in spite of the policy is looked at, and nothing else of it fetched.
        """
        settings, verdict = self._policy.settings(job.package), self._policy.package(job.package)
        if isinstance(verdict, Keep):
            return settings
        forced = job.force and job.want is not None
        if forced or any(map(is_forced, job.work.values())):
            return msgspec.structs.replace(settings, tarballs="none")
        return verdict

    async def still_wanted(
        self, job: Job, versions: Sequence[str], settings: Settings
    ) -> Sequence[str]:
        """Those of these versions, rows of the work list, that the policy wants by now."""
        kept = isinstance(self._policy.package(job.package), Keep)
        if not versions or (kept and not settings.filters):
            return versions
        beyond = {
            version
            for version in versions
            if (row := job.work.get(version)) is not None and is_forced(row)
        }
        if not kept or beyond.issuperset(versions):
            return [version for version in versions if version in beyond]
        found = await self._index.ask(partial(shelf.shelf, name=job.package))
        dropped = {v for v, verdict in _of_present(found, settings) if isinstance(verdict, Drop)}
        return [version for version in versions if version in beyond or version not in dropped]

    async def too_large(self, package: str) -> set[str]:
        """The versions of a package that were skipped for their size."""
        return await self._index.ask(partial(shelf.too_large, name=package))

    async def not_held(self, package: str) -> list[str]:
        """The versions of a package that were skipped because upstream, a mirror, had them not."""
        if self._of_a_mirror is None:
            self._of_a_mirror = await self._index.ask(shelf.any_not_held)
        if not self._of_a_mirror:
            return []
        return await self._index.ask(partial(shelf.not_held, name=package))

    def learn(self, outcomes: Iterable[TarballOutcome]) -> None:
        """Notice whether upstream is a mirror, which does not hold everything."""
        for tarball in outcomes:
            if isinstance(tarball, MissedTarball) and tarball.outcome.reason == NOT_HELD:
                self._of_a_mirror = True

    async def refused(self, job: Job, look: Look, settings: Settings) -> list[MissedTarball]:
        """What a person asked for and the policy does not want, each with the rule that says so.

        What somebody forced before, and still waits, is wanted: its row joins the job.
        """
        if job.want is None or job.force or look.packument is None:
            return []
        drops = refused_tarballs(look.packument, look.known, settings, job.want)
        if drops:
            rows = await self._index.work_of(job.package)
            forced = {row.item: row for row in rows if row.item in drops and is_forced(row)}
            job.work |= forced
            drops = {version: drop for version, drop in drops.items() if version not in forced}
        return [MissedTarball(v, Skipped(POLICY, drop.detail)) for v, drop in drops.items()]


def _of_present(found: Shelf | None, settings: Settings) -> Iterable[tuple[str, Verdict]]:
    """Verdicts on all versions that upstream has."""
    if found is None:
        return ()
    present = (Candidate(one.version, one.published_at) for one in found.versions if one.present)
    return judged(settings, present, found.latest).items()
