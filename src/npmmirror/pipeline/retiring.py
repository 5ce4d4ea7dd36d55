"""Files that the policy wants no longer: out of the capture log, the index, and off the disk.

The order, for each kill in between: a note of the files, then the log and with it the index (they
are held no longer), then the files, then the note goes. Whoever finds a note deletes what the index
does not hold any more, and nothing else. So a file is never missing that the index calls held, and
none stays behind that nobody knows of.

Whoever calls here has the gates of the packages, or nothing works on them yet: a file that is to be
deleted must not be adopted meanwhile.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

import anyio
import orjson
import structlog

from npmmirror.archive import DiskFaultError
from npmmirror.clock import Clock, timestamp
from npmmirror.effects import Known
from npmmirror.failpoints import reach
from npmmirror.index import IndexReader, IndexWriter, Resumption, StoredDrop, shelf
from npmmirror.index.shelf import Shelf
from npmmirror.liveness import at_rest
from npmmirror.outcome import HELD, HeldTarball, TarballOutcome, WorkItem
from npmmirror.pipeline.job import REPAIR, RETENTION, Job, is_forced
from npmmirror.policy import POLICY, Candidate, Settings
from npmmirror.policy.retention import LIVE, supernumerary

NOTE: Final = "retire"
"""The resumption that holds the note."""
AGAIN_SECONDS: Final = 60.0
"""The pause where files could not be deleted."""
BATCH: Final = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Retired:
    """A held file that is to go: where it is, how large, and which rule says so."""

    package: str
    version: str
    path: str
    size: int
    detail: str


class Retirer:
    """Lets files go. `drop` is the recorder's, `remove` deletes files below the packages' directory.

    `hold` keeps everybody off packages, where nobody works on them: those of an earlier note.
    """

    def __init__(
        self,
        reader: IndexReader,
        notes: IndexWriter,
        clock: Clock,
        *,
        drop: Callable[[Sequence[StoredDrop]], Awaitable[None]],
        remove: Callable[[Sequence[str]], Awaitable[int]],
        hold: Callable[[Collection[str]], AbstractContextManager[bool]],
    ) -> None:
        self._reader = reader
        self._notes = notes
        self._clock = clock
        self._drop = drop
        self._remove = remove
        self._hold = hold
        self._lock = anyio.Lock()

    async def rows(
        self,
        job: Job,
        known: Known | None,
        outcomes: Sequence[TarballOutcome],
        settings: Settings,
    ) -> list[WorkItem]:
        """Let go what a job's row says there is too much of; the row that its own files need.

        That row is committed together with them, so that no kill forgets it. What was asked for in
        spite of the policy needs none: it is to stay until the next one comes by itself.
        """
        fresh = [one.version for one in outcomes if _counts(job, one)]
        if fresh and self._may_be_too_many(known, fresh, settings):
            return [self._row(job.package, fresh[0], 0.0)]
        asked = [row.item for row in job.work.values() if row.reason == RETENTION]
        if asked and not await self._retain(job.package, settings):
            return [self._row(job.package, asked[0], AGAIN_SECONDS)]
        return []

    @staticmethod
    def _may_be_too_many(known: Known | None, fresh: Sequence[str], settings: Settings) -> bool:
        versions = known.versions.items() if known is not None else ()
        held = {version for version, one in versions if one.state in HELD}
        return 0 < settings.keep_versions < len(held.union(fresh))

    def _row(self, package: str, version: str, seconds: float) -> WorkItem:
        now = self._clock.now()
        due = timestamp(now + timedelta(seconds=seconds))
        return WorkItem(package, version, RETENTION, due, since=timestamp(now))

    async def _retain(self, package: str, settings: Settings) -> bool:
        """Drop what is older than the newest ones; what other rules drop is for `prune` alone."""
        found = await self._reader.ask(partial(shelf.shelf, name=package))
        if found is None or found.state != LIVE:
            return True
        drops = supernumerary(settings, candidates(found), found.latest)
        going = {version: drop.detail for version, drop in drops.items()}
        return await self.retire(retired(found, going), {package})

    async def retire(self, files: Sequence[Retired], mine: Collection[str]) -> bool:
        """Let files go, durably; False where files could not be deleted, these or earlier ones.

        Nor are earlier ones of packages that somebody else works on; `mine` are those that whoever
        calls has the gates of. Then the earlier ones are deleted first, at the next call or start.
        """
        with at_rest():
            async with self._lock:
                for start in range(0, len(files), BATCH):
                    if not await self._settle(mine):
                        return False
                    await self._let_go(files[start : start + BATCH])
                return await self._settle(mine)

    async def _let_go(self, files: Sequence[Retired]) -> None:
        at = timestamp(self._clock.now())
        place = orjson.dumps([(file.package, file.version, file.path) for file in files]).decode()
        await self._notes.note_resumption(Resumption(NOTE, at, place))
        reach("retire.noted")
        await self._drop(
            [
                StoredDrop(one.package, one.version, 0, at, f"{POLICY}: {one.detail}")
                for one in files
            ]
        )
        reach("retire.dropped")
        for one in files:
            log.debug("file_retired", package=one.package, version=one.version, rule=one.detail)
        log.info(
            "retired",
            packages=len({one.package for one in files}),
            files=len(files),
            bytes=sum(one.size for one in files),
        )

    async def settle(self) -> bool:
        """Delete what was let go before a kill; False where that cannot be done now."""
        async with self._lock:
            return await self._settle(None)

    async def _settle(self, mine: Collection[str] | None) -> bool:
        """`mine` are the packages that whoever calls has the gates of; None: all of the note."""
        note = await self._notes.resumption(NOTE)
        if note is None:
            return True
        files = [(name, version, path) for name, version, path in orjson.loads(note.place)]
        others = {name for name, _, _ in files}.difference(mine) if mine is not None else set()
        with self._hold(others) as free:
            return free and await self._delete(files)

    async def _delete(self, files: Sequence[tuple[str, str, str]]) -> bool:
        rows = await self._reader.stored([(name, version) for name, version, _ in files])
        held = {(*key, row.path) for key, row in rows.items() if row.held}
        try:
            await self._remove([file[2] for file in files if file not in held])
        except DiskFaultError as fault:
            log.warning("retired_files_remain", files=len(files), error=str(fault))
            return False
        reach("retire.removed")
        await self._notes.forget_resumption(NOTE)
        return True


def _counts(job: Job, outcome: TarballOutcome) -> bool:
    """Whether a file is new, and not there because somebody overruled the policy."""
    if not isinstance(outcome, HeldTarball) or (job.force and job.want is not None):
        return False
    row = job.work.get(outcome.version)
    return row is None or row.reason == REPAIR or not is_forced(row)


def candidates(found: Shelf) -> list[Candidate]:
    """The files of a package that may be judged: those that upstream still has, beyond doubt."""
    if found.doubted:
        return []
    return [
        Candidate(one.version, one.published_at, one.size)
        for one in found.versions
        if one.held and one.present
    ]


def retired(found: Shelf, going: dict[str, str]) -> list[Retired]:
    """The files of these versions, each with the rule that lets it go."""
    return [
        Retired(found.package, one.version, one.path or "", one.size or 0, going[one.version])
        for one in found.versions
        if one.version in going and one.held
    ]
