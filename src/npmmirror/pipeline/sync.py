"""Mirroring packages because a person asked, and knowing when all of it is there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from npmmirror.errors import UsageError
from npmmirror.index import IndexReader
from npmmirror.outcome import Failed, Gone, HeldTarball, Outcome, Skipped, WorkItem, describe
from npmmirror.pipeline.feed import Feed
from npmmirror.pipeline.job import ASKED, RETENTION, WANTED, Done, Job
from npmmirror.policy import TarballPolicy, Want, parse_spec

AT_ONCE = 100
"""Packages that one sync has under way; a list of a million names waits in memory as names."""
WHAT_NPM_WOULD_INSTALL = "*"


def wishes(specs: Sequence[str], *, all_versions: bool, mode: TarballPolicy) -> dict[str, Want]:
    """What is asked for, by package: `NAME`, `NAME@VERSION`, `NAME@TAG`, `NAME@RANGE`.

    A bare name asks for what npm would install, unless the policy keeps no tarballs at all, or all
    versions are asked for: of a package of prereleases alone npm would install nothing.

    Raises:
        UsageError: one of them names no package of a registry.
    """
    asked: dict[str, list[str]] = {}
    for text in specs:
        try:
            name, spec = parse_spec(text)
        except ValueError as error:
            raise UsageError(str(error)) from error
        bare = None if mode == "none" or all_versions else WHAT_NPM_WOULD_INSTALL
        wanted = spec if spec is not None else bare
        asked.setdefault(name, []).extend([wanted] if wanted is not None else [])
    return {
        name: Want(tuple(dict.fromkeys(wanted)), all_versions) for name, wanted in asked.items()
    }


@dataclass(slots=True)
class SyncReport:
    """How the sync of a package went. `missing` maps a version to why its tarball is not held."""

    package: str
    outcome: Outcome | None = None
    held: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    waiting: int = 0

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is there."""
        refused = isinstance(self.outcome, Failed | Gone | Skipped)
        return not refused and not self.missing and not self.waiting

    def to_json(self) -> dict[str, Any]:
        """The report for scripts and for the control socket."""
        return {
            "package": self.package,
            "complete": self.complete,
            "outcome": describe(self.outcome) if self.outcome is not None else None,
            "tarballs": self.held,
            "missing": self.missing,
            "waiting": self.waiting,
        }

    def take(self, done: Done) -> None:
        """Add a job's result."""
        if done.job.document:
            self.outcome = done.outcome
        for tarball in done.tarballs:
            if isinstance(tarball, HeldTarball):
                self.held[tarball.version] = tarball.size
                self.missing.pop(tarball.version, None)
            else:
                self.missing[tarball.version] = describe(tarball.outcome)


@dataclass(eq=False, slots=True)
class _Watch:
    """Somebody who waits for a package; what is committed of it is added up, not queued."""

    report: SyncReport
    answered: bool = False
    _committed: anyio.Event = field(default_factory=anyio.Event)

    def answer(self, _done: Done) -> None:
        """The job that was handed in is committed."""
        self.answered = True

    def take(self, done: Done) -> None:
        """Something of the package is committed."""
        self.report.take(done)
        self._committed.set()

    async def news(self) -> None:
        """Wait for the next commit, or return at once where there was one since the last call."""
        await self._committed.wait()
        self._committed = anyio.Event()


def _is_to_thin(row: WorkItem) -> bool:
    """Whether it says that there may be files too many, and nobody tried to delete them yet."""
    return row.reason == RETENTION and row.not_before == row.since


class Syncer:
    """Hands in jobs and watches what is committed of their packages."""

    def __init__(self, feed: Feed, index: IndexReader, *, gives_up: Callable[[], bool]) -> None:
        self._feed = feed
        self._index = index
        self._gives_up = gives_up
        self._places = anyio.CapacityLimiter(AT_ONCE)
        self._watched: dict[str, list[_Watch]] = {}

    async def sync_all(
        self,
        asked: Mapping[str, Want],
        *,
        force: bool,
        progress: Callable[[SyncReport], None] = lambda _: None,
    ) -> list[SyncReport]:
        """Mirror several packages side by side; their reports, in the order asked for."""
        reports: dict[str, SyncReport] = {}

        async def one(package: str, want: Want) -> None:
            async with self._places:
                reports[package] = await self.sync(package, want, force=force, progress=progress)

        async with anyio.create_task_group() as tasks:
            for package, want in asked.items():
                tasks.start_soon(one, package, want)
        return [reports[package] for package in asked]

    async def sync(
        self,
        package: str,
        want: Want,
        *,
        force: bool = False,
        progress: Callable[[SyncReport], None] = lambda _: None,
    ) -> SyncReport:
        """Mirror one package; returns when nothing of it waits for its turn any more.

        `progress` is called after every commit with the report so far.
        """
        return await self._carry_out(Job(package, want=want, force=force), progress)

    async def fetch(
        self,
        package: str,
        versions: Sequence[str],
        *,
        at: str,
        force: bool = False,
    ) -> SyncReport:
        """Fetch tarballs of versions that a captured document names; it is not asked for again.

        Those that are held are left as they are. `at` is the time now.
        """
        reason = ASKED if force else WANTED
        rows = {version: WorkItem(package, version, reason, at, since=at) for version in versions}
        job = Job(package, document=False, work=rows, want=Want(tuple(versions)), force=force)
        return await self._carry_out(job, lambda _: None)

    async def _carry_out(self, job: Job, progress: Callable[[SyncReport], None]) -> SyncReport:
        package = job.package
        with self._watching(package) as watch:
            report = watch.report
            job.replies.append(watch.answer)
            await self._feed.submit(job)
            while True:
                await watch.news()
                # Asked before the look: a job of the same package may have been under way, and
                # its end is not the answer.
                answered = watch.answered
                rows = await self._index.work_of(package)
                report.waiting = sum(row.reason in {WANTED, ASKED} for row in rows)
                progress(report)
                left = report.waiting or any(map(_is_to_thin, rows))
                if answered and (not left or self._gives_up()):
                    return report

    @contextmanager
    def _watching(self, package: str) -> Iterator[_Watch]:
        """What is committed of a package from now on."""
        watch = _Watch(SyncReport(package))
        self._watched.setdefault(package, []).append(watch)
        try:
            yield watch
        finally:
            self._watched[package].remove(watch)
            if not self._watched[package]:
                del self._watched[package]

    def committed(self, dones: Sequence[Done]) -> None:
        """Tell those who asked for these jobs, and those who wait for their packages."""
        for done in dones:
            for reply in done.job.replies:
                reply(done)
            for watch in self._watched.get(done.job.package, ()):
                watch.take(done)
