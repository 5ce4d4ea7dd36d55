"""A manifest held against a copy of the data: neither index nor lock is needed."""

import hashlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import anyio

from npmmirror.archive import CaptureReader, Damage, DiskFaultError, OutOfMeansError, TarballStore
from npmmirror.capture import Kind, Record
from npmmirror.daemon.coverage.manifest import Head, ManifestError, ManifestFile
from npmmirror.daemon.coverage.selection import Selection
from npmmirror.daemon.coverage.tally import Report
from npmmirror.daemon.verification.bench import LANES, Ticker, side_by_side
from npmmirror.errors import StorageError
from npmmirror.index.coverage import ListedFile
from npmmirror.integrity import Hasher, sri
from npmmirror.sqlite import storable
from npmmirror.worker_threads import WorkerThreads

BATCH: Final = 64
RECORDS: Final = 500
LISTED: Final = 2000
"""Deviations that are kept one by one; those beyond are counted."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """Something that is not as the manifest says. `what` is a stable word."""

    what: str
    package: str | None = None
    version: str | None = None
    path: str | None = None
    detail: str = ""


Find = Callable[[Deviation], None]


class Hashes:
    """A set of texts by eight bytes each; they are all put in before the first is asked for."""

    def __init__(self) -> None:
        self._found = array("Q")
        self._sorted = True

    def add(self, text: str) -> None:
        """Put a text in."""
        self._found.append(_short(text))
        self._sorted = False

    def __contains__(self, text: str) -> bool:
        """Whether it is in."""
        if not self._sorted:
            self._found = array("Q", sorted(self._found))
            self._sorted = True
        wanted = _short(text)
        place = bisect_left(self._found, wanted)
        return place < len(self._found) and self._found[place] == wanted


def _short(text: str) -> int:
    data = text.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


@dataclass(slots=True)
class Checked:
    """What was looked at, and what was found."""

    records: int = 0
    files: int = 0
    bytes: int = 0
    problems: int = 0
    findings: list[Deviation] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Copy:
    """Where a copy of the data lies."""

    packages: Path
    captures: Path


async def check_manifest(
    file: Path, copy: Copy, selection: Selection, ticker: Ticker, *, after: str = ""
) -> Report:
    """Hash every listed file, walk the chain up to the head, look for files that are not listed.

    With a `selection`, or `after` a package, only those packages' files are hashed, and nobody
    looks for others. The report is what `npmmirror coverage --check --json` prints.

    Raises:
        ManifestError: the file is no manifest, or cannot be read.
        StorageError: there is no directory of tarballs.
    """
    if not await anyio.Path(copy.packages).is_dir():
        raise StorageError(f"there is no directory of tarballs at {copy.packages}")
    threads = WorkerThreads(LANES, "npmmirror-check", patience=5.0)
    try:
        with threads, file.open("rb") as stream:
            manifest = ManifestFile(stream)
            checker = _Checker(manifest, copy, threads, ticker)
            await checker.log()
            await checker.tarballs(selection, after)
            checker.manifest()
            if selection.everything and not after:
                await checker.others()
            return checker.report(file)
    except OSError as error:
        raise ManifestError(f"cannot read {file}: {error.strerror}") from error
    except ManifestError as error:
        raise ManifestError(f"{file}: {error}") from error


class _Checker:
    """Does one check, a part after the other."""

    def __init__(
        self, manifest: ManifestFile, copy: Copy, threads: WorkerThreads, ticker: Ticker
    ) -> None:
        self._manifest = manifest
        self._copy = copy
        self._threads = threads
        self._ticker = ticker
        self._store = TarballStore(
            staging=copy.packages, packages=copy.packages, threads=threads, marked=False
        )
        self._stored_since = Hashes()
        self._dropped_since = Hashes()
        self._directories = Hashes()
        self._done = Checked()

    def report(self, file: Path) -> Report:
        """All of it, as JSON has it."""
        done, findings = self._done, self._done.findings
        return {
            "well": not done.problems,
            "file": str(file),
            "head": asdict(self._manifest.head),
            "records": done.records,
            "tarballs": done.files,
            "tarball_bytes": done.bytes,
            "problems": done.problems,
            "findings": [asdict(each) for each in findings],
            "findings_left_out": done.problems - len(findings),
        }

    def _find(self, what: str, detail: str = "", **told: str | None) -> None:
        self._done.problems += 1
        if len(self._done.findings) < LISTED:
            known = {
                key: storable(text) if text is not None else None for key, text in told.items()
            }
            self._done.findings.append(Deviation(what, detail=storable(detail), **known))

    async def log(self) -> None:
        """The chain up to the head; what came behind it is noted."""
        head, last, met = self._manifest.head, 0, False
        with CaptureReader(self._copy.captures) as captures:
            scan = captures.scan()
            while batch := await self._threads.run(_some, scan):
                for item in batch:
                    if isinstance(item, Damage):
                        if not met:
                            self._damaged(item, head)
                        continue
                    last = item.ordinal
                    if last <= head.ordinal:
                        self._done.records += 1
                        met = met or self._is_head(item, head)
                    else:
                        self._note(item)
                self._ticker.tick("capture log", min(last, head.ordinal), head.ordinal)
        if last < head.ordinal:
            self._find(
                "log_short", f"it ends with record {last}, the manifest's head is {head.ordinal}"
            )

    def _damaged(self, damage: Damage, head: Head) -> None:
        if damage.ordinal is None or damage.ordinal <= head.ordinal:
            self._find("log_damaged", str(damage.error()), package=damage.name)

    def _is_head(self, record: Record, head: Head) -> bool:
        if record.ordinal != head.ordinal:
            return False
        if record.hash != head.sha256:
            self._find("log_differs", f"record {head.ordinal} is another than the manifest's head")
        return True

    def _note(self, record: Record) -> None:
        facts = record.facts
        if record.kind is Kind.TARBALL:
            self._stored_since.add(str(facts.get("path")))
        elif record.kind is Kind.DROPPED:
            self._dropped_since.add(f"{record.name}@{facts.get('version')}")

    async def tarballs(self, selection: Selection, after: str) -> None:
        """The files that are listed, package by package."""
        matches, behind = selection.matcher().match, after.encode()
        waiting, unmet = list[ListedFile](), dict.fromkeys(selection.names)
        for line in self._manifest.lines():
            if isinstance(line, str):
                self._find("manifest_line", f"line {self._manifest.number}: {line}")
                continue
            unmet.pop(line.package, None)
            if line.package.encode() > behind and matches(line.package):
                if len(waiting) >= BATCH and line.package != waiting[-1].package:
                    await self._hash(waiting)
                    waiting = []
                waiting.append(line)
        await self._hash(waiting)
        for name in unmet:
            self._find("not_in_manifest", "it lists no tarball of this package", package=name)

    async def _hash(self, files: Sequence[ListedFile]) -> None:
        """Whole packages: only so can be told which files of their directories are not listed."""
        problems = await side_by_side(files, self._problem)
        for file, problem in zip(files, problems, strict=True):
            if problem is not None:
                what, detail = problem
                self._find(what, detail, package=file.package, version=file.version, path=file.path)
        await self._unlisted(files)

    async def _problem(self, file: ListedFile) -> tuple[str, str] | None:
        hasher = Hasher()
        try:
            size = await self._store.hash_file(file.path, hasher)
        except ValueError as error:
            return "manifest_line", str(error)
        except OutOfMeansError:
            raise  # no file can be looked at just now, which says nothing of this one
        except DiskFaultError as fault:
            return "unreadable", str(fault)
        self._done.files += 1
        self._done.bytes += size or 0
        expected = self._manifest.expected
        total = (expected.files, expected.bytes) if expected is not None else (None, None)
        self._ticker.tick("tarballs", self._done.files, total[0], self._done.bytes, total[1])
        if size is None:
            dropped = f"{file.package}@{file.version}" in self._dropped_since
            since = "; the log tells that it was dropped since" if dropped else ""
            return "missing", f"there is no such file{since}"
        found = hasher.digests.sha512
        if (found, size) == (file.sha512, file.size):
            return None
        was = f"{_told(file.sha512)} ({file.size:,} bytes)"
        return "altered", f"listed as {was}, is {sri(found)} ({size:,} bytes)"

    async def _unlisted(self, files: Sequence[ListedFile]) -> None:
        listed = {file.path for file in files}
        for directory in sorted({path.rpartition("/")[0] for path in listed}):
            self._directories.add(directory)
            for path in await self._threads.run(_within, self._copy.packages, directory):
                if path not in listed:
                    self._stranger(path)

    def _stranger(self, path: str) -> None:
        if path not in self._stored_since:
            self._find(
                "not_listed", "neither the manifest nor the log behind it tells of it", path=path
            )

    def manifest(self) -> None:
        """The manifest's own last line."""
        if not self._manifest.ended:
            self._find("manifest_cut", "it does not end with its last line")
        elif self._manifest.altered:
            self._find("manifest_altered", "its lines have another SHA-256 than the last one tells")

    async def others(self) -> None:
        """Files in directories of which the manifest lists nothing at all."""
        walk = self._store.walk()
        while paths := await self._threads.run(lambda: list(islice(walk, RECORDS))):
            for path in paths:
                if path.rpartition("/")[0] not in self._directories:
                    self._stranger(path)


def _some(scan: Iterator[Record | Damage]) -> list[Record | Damage]:
    return list(islice(scan, RECORDS))


def _told(digest: str) -> str:
    try:
        return sri(digest)
    except ValueError:
        return repr(digest)


def _within(packages: Path, directory: str) -> list[str]:
    """The files of a directory; none where it is not there, or leads elsewhere."""
    if directory.startswith("/") or ".." in directory.split("/") or "\0" in directory:
        return []
    try:
        with os.scandir(packages / directory) as entries:
            return sorted(
                f"{directory}/{entry.name}"
                for entry in entries
                if not entry.is_dir(follow_symlinks=False)
            )
    except OSError:
        return []
