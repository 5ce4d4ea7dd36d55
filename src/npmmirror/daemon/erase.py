"""`npmmirror erase`: everything that is held of a package, gone for good. Only ever a command.

The order, for each kill in between: the log says durably that the package is erased and its files
are dropped; the index forgets it; then its tarballs are removed and its documents blanked, and the
index's file is written anew. So nothing is called held that is not there. Until the last step the
index remembers that there is something to finish: the same command does it, from wherever it was
left.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from npmmirror.archive import CaptureDamagedError, TarballStore, blank, disk_faults, records
from npmmirror.capture import Location
from npmmirror.clock import Clock, SystemClock, timestamp
from npmmirror.config import Config
from npmmirror.daemon.index_file import index_of
from npmmirror.daemon.lock import DirectoryLock
from npmmirror.daemon.opening import Opened, open_archive_and_index
from npmmirror.errors import StorageError
from npmmirror.index import (
    Group,
    Mark,
    PackageRow,
    Resumption,
    RevisionRow,
    StoredDrop,
    StoredErasure,
    signing,
)
from npmmirror.layout import package_directories
from npmmirror.outcome import HELD
from npmmirror.pipeline.logbook import seal
from npmmirror.pipeline.replay import ERASE
from npmmirror.worker_threads import WorkerThreads

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the package: its path within the directory of tarballs (or of damaged ones)."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to erase of a package, and whether it was done.

    `documents` are the places of records (packuments, attestations) that are not blanked yet, of `document_bytes` as they are
    stored; `damaged` says which cannot be blanked, and why. `held` are versions and paths of files
    that the index calls held, `files` those that are there, `aside` what `verify --repair` set
    aside. `decided`: the log says already that the package is erased, and nothing came since.
    `elsewhere` are files of ours that may hold data of it still.
    """

    package: str
    state: str
    documents: tuple[Location, ...]
    document_bytes: int
    damaged: tuple[str, ...]
    held: tuple[tuple[str, str], ...]
    files: tuple[Stored, ...]
    aside: tuple[Stored, ...]
    decided: bool
    elsewhere: tuple[Path, ...]
    done: bool = False

    @property
    def nothing_left(self) -> bool:
        """Whether everything was erased before."""
        return self.decided and not (self.documents or self.files or self.aside or self.damaged)

    def to_json(self) -> Report:
        """The report for scripts."""
        files = (*self.files, *self.aside)
        return {
            "package": self.package,
            "erased": self.done,
            "documents": len(self.documents),
            "document_bytes": self.document_bytes,
            "files": len(files),
            "file_bytes": sum(file.size for file in files),
            "damaged": list(self.damaged),
            "elsewhere": [str(path) for path in self.elsewhere],
        }


async def erase(
    config: Config,
    name: str,
    reason: str,
    agree: Callable[[Plan], Awaitable[bool]],
    *,
    tell: Callable[[Report], None] = lambda _: None,
    clock: Clock | None = None,
) -> Plan:
    """Erase a package, if `agree` says so to what there is; done already, it is asked nothing.

    `tell` is told of the progress, in the shape that `npmmirror.cli.progress.Meter` shows.

    Raises:
        LockedError: a daemon, or another command, is at work.
        StorageError: nothing is known of the package, or the mirror cannot be used.
    """
    await index_of(config)
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        stack.enter_context(DirectoryLock(config.storage.data_dir))
        threads = stack.enter_context(WorkerThreads(1, "npmmirror"))
        opened = await stack.enter_async_context(open_archive_and_index(config, threads, clock))
        eraser = _Eraser(config, opened, threads, name, now=timestamp(clock.now()), tell=tell)
        return await eraser.run(reason, agree)


class _Eraser:
    """One package to be erased."""

    def __init__(
        self,
        config: Config,
        opened: Opened,
        threads: WorkerThreads,
        name: str,
        *,
        now: str,
        tell: Callable[[Report], None],
    ) -> None:
        self._tell = tell
        self._storage = config.storage
        self._opened = opened
        self._name = name
        self._now = now
        self._captures = config.storage.data_dir / "captures"
        self._aside = TarballStore(
            staging=config.storage.staging_path,
            packages=config.storage.data_dir / "damaged",
            threads=threads,
            marked=False,
        )

    async def run(self, reason: str, agree: Callable[[Plan], Awaitable[bool]]) -> Plan:
        """Plan, ask, erase."""
        plan = await self._plan()
        index = self._opened.index
        begun = await index.resumption(ERASE)
        if plan.nothing_left and (begun is None or begun.place != self._name):
            return replace(plan, done=True)
        if not plan.nothing_left and not await agree(plan):
            return plan
        await index.note_resumption(Resumption(ERASE, self._now, self._name))
        if not plan.decided:
            await self._decide(plan, reason)
        things = len(plan.files) + len(plan.aside) + len(plan.documents)
        self._tell(_step("erase files and documents", things))
        await self._opened.writing.run(self._remove, plan)
        self._tell(_step("write the index anew", None))
        await index.vacuum()
        await index.forget_resumption(ERASE)
        return replace(plan, done=True)

    async def _plan(self) -> Plan:
        reader = self._opened.reader
        package, versions = await reader.package(self._name), await reader.versions(self._name)
        revisions = await reader.revisions(self._name)
        if package is None or not (revisions or versions or package.state):
            raise StorageError(f"nothing was ever captured of {self._name}")
        held = tuple((row.version, row.path or "") for row in versions if row.state in HELD)
        bundles = await reader.ask(partial(signing.bundles, name=self._name))
        places = [*(row.place for row in revisions), *bundles]
        documents, size, damaged = self._documents(places)
        return Plan(
            package=self._name,
            state=package.state,
            documents=documents,
            document_bytes=size,
            damaged=damaged,
            held=held,
            files=tuple(_stored(self._storage.packages_path, self._opened.store, self._name)),
            aside=tuple(_stored(self._storage.data_dir / "damaged", self._aside, self._name)),
            decided=_is_decided(package, revisions) and not held,
            elsewhere=tuple(sorted(self._elsewhere())),
        )

    def _documents(
        self, places: list[Location]
    ) -> tuple[tuple[Location, ...], int, tuple[str, ...]]:
        """Those that are not blanked, their stored bytes, and what is damaged."""
        documents, size, damaged = [], 0, []
        for place in places:
            try:
                record = self._opened.captures.record(place)
            except CaptureDamagedError as error:
                damaged.append(str(error))
                continue
            if not record.erased:
                documents.append(place)
                size += record.stored_length
        return tuple(documents), size, tuple(damaged)

    def _elsewhere(self) -> Iterator[Path]:
        """Copies that the mirror made of index and log, for the operator to look after."""
        index = self._storage.index_path
        for pattern in ("before-reindex", "new", "version-*.copy"):
            yield from index.parent.glob(f"{index.name}.{pattern}")
        yield from self._captures.glob("damaged/*.bin")

    async def _decide(self, plan: Plan, reason: str) -> None:
        """The log, durably, then the index."""
        write = partial(self._write, plan, reason, await self._opened.index.marked_cursor())
        group = await self._opened.writing.run(write)
        await self._opened.index.commit(group)

    def _write(self, plan: Plan, reason: str, cursor: int | str | None) -> Group:
        log, why = self._opened.log, f"erased: {reason}"
        drops = []
        for version, path in plan.held:
            dropped = records.dropped(self._now, self._name, version=version, path=path, reason=why)
            ordinal = log.append(dropped).ordinal
            drops.append(StoredDrop(self._name, version, ordinal, self._now, why))
        detail = {"reason": reason, "documents": len(plan.documents), "tarballs": len(plan.files)}
        decision = records.decision(self._now, what=ERASE, name=self._name, detail=detail)
        erasure = StoredErasure(self._name, log.append(decision).ordinal, self._now)
        mark: Mark = seal(log, cursor, self._now)
        return Group(drops=tuple(drops), erasures=(erasure,), mark=mark)

    def _remove(self, plan: Plan) -> None:
        """Tarballs, then documents: in the thread that writes to the archive."""
        self._opened.store.remove(file.path for file in plan.files)
        self._aside.remove(file.path for file in plan.aside)
        blank(self._captures, plan.documents)


def _step(phase: str, total: int | None) -> Report:
    return {"phase": phase, "done": 0, "total": total, "bytes": 0, "total_bytes": None}


def _is_decided(package: PackageRow, revisions: Sequence[RevisionRow]) -> bool:
    """Whether the package was erased, and no document of it was captured since, stale or not."""
    erased = package.ordinal if package.state == "erased" else None
    return erased is not None and all(revision.ordinal < erased for revision in revisions)


def _stored(top: Path, store: TarballStore, name: str) -> Iterator[Stored]:
    """The files of a package under a directory, whether the index knows them or not."""
    with disk_faults(top):
        for directory in package_directories(name):
            if not (top / directory).is_dir():
                continue
            for path in store.walk(directory):
                if str(PurePosixPath(path).parent) == directory:
                    yield Stored(path, (top / path).stat().st_size)
