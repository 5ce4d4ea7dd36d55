"""Tarball files: received into staging, published under their names, read again."""

import asyncio
import errno
import os
import re
import secrets
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from npmmirror.archive.disk import make_directory, sync_directory, write_at
from npmmirror.archive.errors import TarballTooLargeError, disk_faults
from npmmirror.archive.marker import MARKER, Marker
from npmmirror.archive.publishing import INCOMING, publish
from npmmirror.archive.quarantine import set_aside
from npmmirror.archive.receiving import Elsewhere, Hasher, Sink, Staged, Watch
from npmmirror.worker_threads import WorkerThreads

GATHERED_BYTES = 1 << 20
TRIED_BYTES = 1 << 16
_PREFIX = "npmmirror-"
_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,100}")


class TarballStore:
    """The files of `storage.packages_dir`, and `storage.staging_dir` where they are made.

    Names in staging begin with `npmmirror-`; nothing else there is ever touched. `packages_dir`
    may be a NAS, whose calls hang for as long as it is away: whatever looks there has threads of
    its own, `reading`, and `publish` is called in one of the caller's. `marked` is False for a
    directory that only looks like it. `home` is a directory on a disk that nothing goes on without:
    where the tarballs are on the same one, they are looked for on the loop.

    `steps` grows as long as `publish` goes on.
    """

    def __init__(
        self,
        *,
        staging: Path,
        packages: Path,
        threads: WorkerThreads,
        reading: WorkerThreads | None = None,
        marked: bool = True,
        home: Path | None = None,
    ) -> None:
        self._staging = staging
        self._packages = packages
        self._threads = threads
        self._reading = reading or threads
        self._marker = Marker(packages) if marked else None
        self._home = home
        self._is_at_home = False
        self._attaching = threading.Lock()
        self._attached = False
        self._held: Sequence[str] = ()
        self.steps = 0
        # A process of the daemon before this one may still be at work there.
        self._life = secrets.token_hex(4)

    def prepare_staging(self) -> int:
        """At start: create staging and remove the temp files that a kill left; how many.

        Raises:
            DiskFaultError: the directory cannot be read or written.
        """
        with disk_faults(self._staging):
            make_directory(self._staging)
        return _sweep(self._staging)

    def attach(self, held: Sequence[str] = ()) -> int:
        """At start: see that `packages_dir` is the right directory, and clean up behind a kill.

        `held` are some paths that should be there (see `Marker.claim`). Where it fails, `look`
        and `publish` try again. How many temp files were removed is returned.

        Raises:
            TarballsAwayError: it is not the right one.
            DiskFaultError: it cannot be read or written.
        """
        self._held = held
        return self._attach()

    def look(self) -> None:
        """See that `packages_dir` is still the right directory.

        Raises:
            TarballsAwayError: it is not.
            DiskFaultError: it cannot be read.
        """
        if not self._attached:
            self._attach()
        elif self._marker is not None:
            self._marker.look()

    def _attach(self) -> int:
        # Never beside `publish`, whose copies lie where this sweeps.
        with self._attaching:
            if self._attached or self._marker is None:
                return 0
            self._marker.claim(self._held)
            swept = _sweep(self._packages / INCOMING)
            if self._home is not None:
                self._is_at_home = _device(self._packages) == _device(self._home)
            self._attached, self._held = True, ()
        return swept

    def temp_path(self, token: str, suffix: str) -> Path:
        """A name in staging that `prepare_staging` removes; for the spool files of large documents.

        Raises:
            ValueError: `token` is not made of letters, digits, dots, dashes and underscores.
        """
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"no token for a file name: {token!r}")
        return self._staging / f"{_PREFIX}{self._life}-{token}{suffix}"

    async def receive(
        self,
        token: str,
        chunks: AsyncIterator[bytes],
        hasher: Hasher,
        *,
        max_bytes: int,
        watch: Watch | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> Staged:
        """Write a body to staging and hash it on the way. It is not yet durable.

        `token` is unique among the files under way. On any failure, cancellation included, the
        temp file is removed. `watch` is told on the event loop how much of it there is. A small
        body that nobody waits for is offered to `elsewhere` first.

        Raises:
            TarballTooLargeError: more than `max_bytes` came.
            DiskFaultError: the disk refuses.
        """
        sink = Sink(self.temp_path(token, ".tgz"), hasher)
        try:
            await self._take_in(sink, chunks, max_bytes, watch, elsewhere)
        except BaseException:
            # The thread may still be at work after a cancellation: the sink's lock lets it finish
            # first. A second cancellation ends only this wait, and the call is made all the same.
            await asyncio.shield(self._threads.run(sink.discard))
            raise
        return Staged(sink.path, sink.size)

    async def try_staging(self, token: str) -> None:
        """See that staging takes a file; none is left there.

        Raises:
            DiskFaultError: the disk refuses.
        """
        await self._threads.run(_try, self.temp_path(token, ".try"))

    async def discard(self, staged: Staged) -> None:
        """Remove a received file that is not to be published."""
        await self._threads.run(_unlink, staged.path)

    def publish(self, moves: Sequence[tuple[Path, str]]) -> None:
        """Give files their final names (paths relative to `packages_dir`); durable on return.

        For a thread that may hang, one call at a time. Repeated after a failure it goes on where
        it was.

        Raises:
            DiskFaultError: some or all have no final name yet.
        """
        if moves:
            targets = [(staged, self._final(path)) for staged, path in moves]
            publish(
                targets,
                staging=self._staging,
                packages=self._packages,
                look=self.look,
                step=self._step,
            )

    def _step(self) -> None:
        self.steps += 1

    async def hash_file(self, path: str, hasher: Hasher) -> int | None:
        """Feed a stored file to a hasher; its size, None where there is no such file.

        Raises:
            TarballsAwayError: no file is there, for it is not the right directory.
            DiskFaultError: it cannot be read.
        """
        final = self._final(path)
        if self._is_at_home and self._is_missing(final):
            return None
        return await self._reading.run(self._hash_file, final, hasher)

    def _is_missing(self, path: Path) -> bool:
        """Whether there is no such file; without a thread, whose turn takes milliseconds to come.

        This is for each tarball before it is fetched, and next to none is there.
        """
        with disk_faults(path):
            try:
                os.stat(path)  # noqa: PTH116 - Path.exists takes some faults of the disk for "no"
            except (FileNotFoundError, NotADirectoryError):
                if self._marker is not None:
                    self._marker.look()
                return True
        return False

    def _hash_file(self, path: Path, hasher: Hasher) -> int | None:
        size = _hash_file(path, hasher)
        if size is None and self._marker is not None:
            self._marker.look()
        return size

    def walk(self, under: str = "") -> Iterator[str]:
        """The paths of all stored files, relative to `packages_dir`, in a fixed order.

        `under` is the directory (relative, too) to look into; nothing where it is not there.

        Raises:
            TarballsAwayError: it is not the right directory.
            DiskFaultError: a directory cannot be read.
        """
        if self._marker is not None:
            self._marker.look()
        top = self._final(under) if under else self._packages
        with disk_faults(top), suppress(FileNotFoundError):
            yield from _walk(top, f"{under}/" if under else "")

    def set_aside(self, path: str, into: Path) -> Path | None:
        """Move a stored file into a directory of damaged ones; where it is then, durably.

        None where there is no such file. For a worker thread; a file that is there keeps its name.

        Raises:
            DiskFaultError: the file is still where it was.
        """
        return set_aside(self._final(path), into / path)

    def remove(self, paths: Iterable[str]) -> int:
        """Delete stored files, and the directories that are empty then; how many files there were.

        Durable on return. Only for what the operator commanded to be erased, or no longer wants.

        Raises:
            TarballsAwayError: it is not the right directory.
            DiskFaultError: some may be gone; the same call may be repeated.
        """
        self.look()
        with disk_faults(self._packages):
            files = [file for path in paths if (file := self._final(path)).is_file()]
            for file in files:
                file.unlink()
            for directory in {file.parent for file in files}:
                sync_directory(directory)
                self._prune(directory)
        return len(files)

    def _prune(self, directory: Path) -> None:
        """Remove a directory and those above it, as long as they are empty."""
        while directory != self._packages:
            try:
                directory.rmdir()
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                return
            directory = directory.parent
            sync_directory(directory)

    def _final(self, path: str) -> Path:
        """Where a relative path leads, which is never out of the directory."""
        outside = path.startswith("/") or ".." in path.split("/")
        if outside or not path.strip("./") or "\0" in path:
            raise ValueError(f"no path of a tarball: {path!r}")
        return self._packages / path

    async def _take_in(
        self,
        sink: Sink,
        chunks: AsyncIterator[bytes],
        max_bytes: int,
        watch: Watch | None,
        elsewhere: Elsewhere | None,
    ) -> None:
        """Gather chunks and hand them over in few calls: a small file costs a single one.

        Measured against aiofiles, which takes a thread call for each of open, write and close:
        see "Captures" in `benchmarks/README.md`.
        """
        gathered: list[bytes] = []
        waiting = received = 0
        async for chunk in chunks:
            received += len(chunk)
            if received > max_bytes:
                raise TarballTooLargeError(max_bytes)
            gathered.append(chunk)
            waiting += len(chunk)
            if waiting >= GATHERED_BYTES or (watch is not None and watch.eager):
                await self._threads.run(sink.write, gathered)
                gathered, waiting = [], 0
                if watch is not None:
                    watch.grew(received)
        if elsewhere is None or waiting < received or not await elsewhere(sink.path, gathered):
            await self._threads.run(sink.finish, gathered)
        else:
            sink.size = received
        if watch is not None:
            watch.grew(received)


def _try(path: Path) -> None:
    with disk_faults(path):
        try:
            with path.open("xb", buffering=0) as file:
                write_at(file.fileno(), [bytes(TRIED_BYTES)], 0)
        finally:
            _unlink(path)


def _hash_file(path: Path, hasher: Hasher) -> int | None:
    size = 0
    with disk_faults(path):
        try:
            file = path.open("rb", buffering=0)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        with file:
            while chunk := file.read(GATHERED_BYTES):
                hasher.update(chunk)
                size += len(chunk)
    return size


def _walk(directory: Path, prefix: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = f"{prefix}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if path != INCOMING:
                yield from _walk(directory / entry.name, f"{path}/")
        elif path != MARKER:
            yield path


def _sweep(directory: Path) -> int:
    """Remove the temp files in a directory, which need not be there; how many there were."""
    removed = 0
    with disk_faults(directory):
        for path in directory.glob(f"{_PREFIX}*"):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _unlink(path: Path) -> None:
    with disk_faults(path):
        path.unlink(missing_ok=True)


def _device(path: Path) -> int:
    with disk_faults(path):
        return path.stat().st_dev
