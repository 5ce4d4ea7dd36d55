"""Counting and listing what is held and what is not, slice by slice."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from npmmirror.daemon.coverage.selection import Selection
from npmmirror.daemon.coverage.tally import Report, Tally
from npmmirror.daemon.coverage.wishes import (
    HELD,
    WANTED_REASONS,
    Why,
    Wishes,
    explained,
    reason_of,
    recorded,
)
from npmmirror.daemon.verification.bench import Ticker
from npmmirror.index import IndexReader, coverage
from npmmirror.index.coverage import (
    LATEST,
    UNDECIDED,
    MissingVersion,
    PackageStanding,
    Slice,
    VersionSum,
)
from npmmirror.policy.selection import Candidate
from npmmirror.sqlite import Transaction

R = TypeVar("R", VersionSum, MissingVersion)

SLICE: Final = 2000
"""Packages of one transaction, which takes some tens of milliseconds."""
LISTED: Final = 200
"""Packages whose versions are listed at a time; one may have tens of thousands."""


@dataclass(frozen=True, slots=True)
class MissingRow:
    """Something that is missing. `version` is "" for a package of which no document is captured.

    `size` and `unpacked_size` are in bytes, where they are known.
    """

    package: str
    version: str
    reason: str
    word: str
    detail: str
    size: int | None
    unpacked_size: int | None

    def report(self) -> Report:
        """As a line of `--list --json`."""
        return {
            "package": self.package,
            "version": self.version or None,
            "reason": self.reason,
            "word": self.word or None,
            "detail": self.detail or None,
            "size": self.size,
            "unpacked_size": self.unpacked_size,
        }


class Coverage:
    """Looks at a mirror through its index alone.

    A daemon may work meanwhile: each package is counted as it was at one moment, though not all at
    the same one.
    """

    def __init__(self, reader: IndexReader, wishes: Wishes, ticker: Ticker) -> None:
        self._reader = reader
        self._wishes = wishes
        self._ticker = ticker

    async def count(self, selection: Selection) -> Tally:
        """Everything that is meant."""
        tally, done = Tally(), 0
        total = await self._reader.ask(coverage.last_id) if selection.everything else None
        async for part, count in self._slices(selection, total or 0):
            await self._count(part, tally)
            done += count
            self._ticker.tick("packages", done, total)
        return tally

    async def missing(self, selection: Selection) -> AsyncIterator[MissingRow]:
        """Everything that is missing, by the bytes of name and version."""
        async for ids, _ in self._named(selection, LISTED):
            part = Slice(ids=ids)
            packages, rows, candidates = await self._reader.ask(
                partial(_listed, part, self._wishes)
            )
            of = _by_package(rows)
            for package in sorted(packages, key=lambda each: each.name.encode()):
                if (why := _why(package)) is not None:
                    yield MissingRow(
                        package.name, "", why.reason, why.word, package.detail, None, None
                    )
                for row, why in explained(
                    self._wishes, package, of.get(package.id, ()), candidates.get(package.id, ())
                ):
                    yield MissingRow(
                        package.name,
                        row.version,
                        *(why.reason, why.word, row.detail or why.detail, row.size, row.unpacked),
                    )

    async def _slices(self, selection: Selection, last: int) -> AsyncIterator[tuple[Slice, int]]:
        if not selection.everything:
            async for ids, _ in self._named(selection, SLICE):
                yield Slice(ids=ids), len(ids)
            return
        for first in range(1, last + 1, SLICE):
            end = min(first + SLICE - 1, last)
            yield Slice(first, end), end - first + 1

    async def _named(
        self, selection: Selection, most: int
    ) -> AsyncIterator[tuple[tuple[int, ...], str]]:
        """Numbers of the packages that are meant, by their names, so many at most at a time."""
        matches, (low, high) = selection.matcher().match, selection.bounds
        after = ""
        while rows := await self._reader.ask(
            partial(coverage.named, after=after, low=low, high=high, limit=most)
        ):
            after = rows[-1][1]
            if ids := tuple(number for number, name in rows if matches(name)):
                yield ids, after

    async def _count(self, part: Slice, tally: Tally) -> None:
        look = await self._reader.ask(partial(_looked, part, self._wishes))
        rows = _by_package(look.undecided)
        sums = _by_package(look.sums)
        for package in look.packages:
            tally.package(_why(package))
            reasons = [
                self._summed(package, each, tally)
                for each in sums.get(package.id, ())
                if package.id not in rows or each.standing != UNDECIDED
            ]
            if package.id in rows:
                why = self._wishes.whys(package, look.candidates.get(package.id, ()))
                reasons += [_single(why(row.version), row, tally) for row in rows[package.id]]
            if package.standing == HELD and WANTED_REASONS.isdisjoint(reasons):
                tally.packages_complete += 1

    def _summed(self, package: PackageStanding, found: VersionSum, tally: Tally) -> str:
        """Add up versions that stand alike, and say why."""
        if found.standing == HELD:
            tally.held(found.count, found.bytes, found.held_bytes, found.held_unpacked)
            return HELD
        why = recorded(found.standing, found.word)
        why = why or self._wishes.all_alike(package, found.word)
        if why is None:
            raise AssertionError("each of them is to be asked about")
        tally.missing(why, found.count, found.bytes, found.unpacked, found.unsized)
        return why.reason


def _single(why: Why, row: MissingVersion, tally: Tally) -> str:
    """Add up one version, and say why it is missing."""
    unpacked = 0 if row.size is not None else row.unpacked or 0
    unsized = row.size is None and row.unpacked is None
    tally.missing(why, 1, row.size or 0, unpacked, int(unsized))
    return why.reason


@dataclass(frozen=True, slots=True)
class _Look:
    """What one transaction tells of a slice; `undecided` are versions to be asked about one by one."""

    packages: list[PackageStanding]
    sums: list[VersionSum]
    undecided: list[MissingVersion]
    candidates: dict[int, list[Candidate]]


async def _looked(part: Slice, wishes: Wishes, now: Transaction) -> _Look:
    packages = await coverage.packages(now, part)
    sums = await coverage.sums(now, part)
    undecided = {(each.package, each.word) for each in sums if each.standing == UNDECIDED}
    asked = _asked(wishes, packages, undecided)
    rows = await coverage.missing(now, asked, undecided_only=True) if asked.ids else []
    return _Look(packages, sums, rows, await _candidates(asked, now))


async def _listed(
    part: Slice, wishes: Wishes, now: Transaction
) -> tuple[list[PackageStanding], list[MissingVersion], dict[int, list[Candidate]]]:
    packages, rows = await coverage.packages(now, part), await coverage.missing(now, part)
    undecided = {(each.package, each.word) for each in rows if each.standing == UNDECIDED}
    asked = _asked(wishes, packages, undecided)
    return packages, rows, await _candidates(asked, now)


def _asked(
    wishes: Wishes, packages: Iterable[PackageStanding], undecided: set[tuple[int, str]]
) -> Slice:
    """Those of whose versions each has to be asked about."""
    return Slice(
        ids=tuple(
            each.id
            for each in packages
            if any(
                (each.id, word) in undecided and wishes.all_alike(each, word) is None
                for word in ("", LATEST)
            )
        )
    )


async def _candidates(part: Slice, now: Transaction) -> dict[int, list[Candidate]]:
    found: dict[int, list[Candidate]] = {}
    for package, version, at, size in await coverage.present(now, part) if part.ids else ():
        found.setdefault(package, []).append(Candidate(version, at, size))
    return found


def _by_package(rows: Iterable[R]) -> dict[int, list[R]]:
    found: dict[int, list[R]] = {}
    for row in rows:
        found.setdefault(row.package, []).append(row)
    return found


def _why(package: PackageStanding) -> Why | None:
    """Why no document of a package is here; None where one is."""
    if package.standing == HELD:
        return None
    return Why(reason_of(package.standing, package.word) or "not_yet", package.word)
