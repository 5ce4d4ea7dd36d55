"""A quick look at the tarballs that a rebuilt index calls held: are they there, in their size?"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from npmmirror.archive import ENOUGH_HELD, DiskFaultError, Marker, disk_faults
from npmmirror.daemon.verification.repair import MANY, MUCH
from npmmirror.index import Check, HeldFile, IndexReader, IndexWriter

PAGE = 1000
LISTED = 1000
"""Files that a report lists; the index has all of them."""


@dataclass(slots=True)
class HeldFiles:
    """What was found. `missing` and `altered` list the first ones as (name, version)."""

    count: int = 0
    missing_count: int = 0
    altered_count: int = 0
    missing: list[tuple[str, str]] = field(default_factory=list)
    altered: list[tuple[str, str]] = field(default_factory=list)
    unreachable: str | None = None

    @property
    def too_many(self) -> bool:
        """Whether so many are missing that their disk is, most likely, not mounted."""
        return self.missing_count > MANY and self.missing_count > self.count * MUCH

    def take(self, page: "Page") -> None:
        """Count a page in."""
        self.count += page.count
        for file, result in page.wrong:
            listed = self.missing if result == "missing" else self.altered
            if result == "missing":
                self.missing_count += 1
            else:
                self.altered_count += 1
            if len(listed) < LISTED:
                listed.append((file.name, file.version))


async def look(reader: IndexReader, index: IndexWriter, packages: Path, at: str) -> HeldFiles:
    """Look at all held files; the index notes those that are missing or of another size.

    `npmmirror verify --repair` goes by these notes.
    """
    found = HeldFiles()
    some = [file.path for file in await reader.held(limit=ENOUGH_HELD)]
    try:
        await anyio.to_thread.run_sync(Marker(packages).claim, some)
        async with aclosing(pages(reader, packages)) as each:
            async for page in each:
                found.take(page)
                await index.record_checks(
                    [Check(file.name, file.version, at, result) for file, result in page.wrong]
                )
    except DiskFaultError as fault:
        found.unreachable = str(fault)
    return found


@dataclass(frozen=True, slots=True)
class Page:
    """So many held files, and those of them that are `missing` or `altered`."""

    count: int
    wrong: list[tuple[HeldFile, str]]


async def pages(reader: IndexReader, packages: Path) -> AsyncGenerator[Page]:
    """All held files, page by page.

    Raises:
        DiskFaultError: their disk refuses.
    """
    after = ("", "")
    while files := await reader.held(after, PAGE):
        after = (files[-1].name, files[-1].version)
        yield Page(len(files), await anyio.to_thread.run_sync(_wrong, packages, files))


def _wrong(packages: Path, files: Sequence[HeldFile]) -> list[tuple[HeldFile, str]]:
    with disk_faults(packages):
        sizes = [(file, _size(packages / file.path)) for file in files]
    return [
        (file, "missing" if size is None else "altered")
        for file, size in sizes
        if size != file.size
    ]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
