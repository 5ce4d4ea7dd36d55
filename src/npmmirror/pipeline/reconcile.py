"""Reconciliation: the list of all packages held against the index, and what differs looked at.

It finds what the feed lost: packages it never told of, changes that are missing, deletions. A
package that changes while the list is read is no finding: the feed brings it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import structlog

from npmmirror.backfill import BACKFILLED, Whole
from npmmirror.change import Head, Page, Seq
from npmmirror.clock import Clock, timestamp
from npmmirror.errors import NpmmirrorError
from npmmirror.failpoints import reach
from npmmirror.index import Bringing, IndexReader, IndexWriter
from npmmirror.index.reconciling import KINDS, PART, Difference, Listing
from npmmirror.liveness import at_rest
from npmmirror.origin import RECONCILE, brought_by
from npmmirror.patterns import Pattern
from npmmirror.pipeline.listing import PAGE_ROWS, NameList
from npmmirror.upstream import Upstream

PUT_ROWS: Final = 2_000
UNLISTED: Final = 100
"""So many packages may vanish from the list at once, and one in ten of those that are held."""
LACKING: Final = 100
"""One name in so many may be missing of the number that the feed itself tells."""

Report = dict[str, Any]
Tell = Callable[[Report], None]

log = structlog.get_logger(__name__)


class ListingRefusedError(NpmmirrorError):
    """What the feed lists cannot be all that there is: nothing is made of it."""


class Findings(Protocol):
    """Takes what was found, to be read by people later."""

    async def add(self, found: list[Report]) -> None:
        """Findings, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """How to reconcile.

    `dry_run` queues nothing. `everything` takes packages for missing, too, that this mirror was
    never to have: where no backfill brought them and the feed never told of them.
    """

    dry_run: bool = False
    everything: bool = False


@dataclass(slots=True)
class Tally:
    """What one reconciliation saw."""

    listed: int = 0
    total: int | None = None
    changed: int = 0
    packages: int = 0
    not_expected: int = 0
    found: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    waiting: int = 0
    queued: int = 0
    woken: int = 0
    disbelieved: str | None = None

    def to_json(self) -> Report:
        """For reports."""
        return {
            "listed": self.listed,
            "total": self.total,
            "changed": self.changed,
            **self.found,
            "waiting": self.waiting,
            "not_expected": self.not_expected,
            "queued": self.queued,
            "woken": self.woken,
            "disbelieved": self.disbelieved,
        }


@dataclass(frozen=True, slots=True)
class Manner:
    """How gently it goes: so long between two pages, and `room` waits for room on the work list.

    `patiently` makes a request until it succeeds; by default it is made once.
    """

    pace_seconds: float = 0.0
    room: Callable[[], Awaitable[None]] | None = None
    patiently: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]] | None = None


class Reconciliation:
    """One reconciliation. `scratch` is a file for the list, deleted at the end.

    `wanted` says whether the policy wants a package at all.
    """

    def __init__(
        self,
        upstream: Upstream,
        index: IndexWriter,
        reader: IndexReader,
        clock: Clock,
        *,
        wanted: Callable[[str], bool],
        index_path: Path,
        scratch: Path,
        manner: Manner | None = None,
    ) -> None:
        self._upstream = upstream
        self._index = index
        self._reader = reader
        self._clock = clock
        self._wanted = wanted
        self._index_path = index_path
        self._scratch = scratch
        self._manner = manner or Manner()

    async def run(self, asked: Asked, findings: Findings, tell: Tell) -> Tally:
        """Read the list, compare, and queue what differs.

        Raises:
            ListingRefusedError: the list cannot be right.
            UpstreamError: the feed does not answer.
        """
        tally = Tally()
        head = await self._ask(self._upstream.head)
        since = await self._since(head)
        async with await Listing.begin(self._scratch, self._index_path) as listing:
            await self._scan(listing, head, tally, tell)
            await self._note_changes(listing, since, tally)
            reach("reconcile.scanned")
            status = await self._reader.status()
            tally.packages = status.packages.get("live", 0)
            self._believe(tally)
            await self._compare(listing, asked, tally, tell)
            self._doubt(tally)
            await self._conclude(listing, asked, findings, tally, tell)
        return tally

    async def _since(self, head: Head) -> Seq:
        """From where on changes are the feed's to bring: all that is not surely finished."""
        cursor = await self._reader.cursor()
        if receipts := await self._reader.receipts():
            oldest = receipts[0]
            known = oldest.receipt.after if oldest.finished else oldest.receipt.before
            cursor = cursor if known is None else known
        return head.update_seq if cursor is None else cursor

    async def _scan(self, listing: Listing, head: Head, tally: Tally, tell: Tell) -> None:
        names = NameList(self._upstream)
        after: str | None = None
        while True:
            page = await self._ask(lambda start=after: names.page(start))  # type: ignore[misc]  # bound at once
            totals = [count for count in (head.doc_count, names.total) if count is not None]
            tally.total = max(totals, default=None)
            if not page:
                break
            after = page[-1].name
            await listing.add((row.name, row.rev) for row in page if not row.name.startswith("_"))
            tally.listed += len(page)
            tell(_progress("list", tally.listed, tally.total))
            await self._pause()

    async def _note_changes(self, listing: Listing, since: Seq, tally: Tally) -> None:
        """What changed since is none of our findings."""
        cursor = since
        while True:
            page: Page = await self._ask(
                lambda start=cursor: self._upstream.changes(start, PAGE_ROWS)  # type: ignore[misc]  # as above
            )
            await listing.except_for(change.id for change in page.changes)
            full = len(page.changes) + len(page.odd) >= PAGE_ROWS
            if not full or page.last_seq == cursor:
                break
            cursor = page.last_seq
        _, tally.changed = await listing.counts()

    def _believe(self, tally: Tally) -> None:
        """Refuse a list that is shorter than the feed itself says.

        Raises:
            ListingRefusedError: it is.
        """
        if not tally.listed and (tally.total or tally.packages):
            raise ListingRefusedError(
                f"the feed lists no package at all, and {tally.packages:,} are held here: "
                "nothing is made of it"
            )
        if tally.total is None:
            tally.disbelieved = "the feed does not tell how many packages it has"
            return
        lacking = tally.total - tally.listed
        if lacking > max(tally.total // LACKING, tally.changed):
            raise ListingRefusedError(
                f"the feed lists {tally.listed:,} packages and says that it has {tally.total:,}: "
                "nothing is made of it; try again later"
            )

    async def _compare(self, listing: Listing, asked: Asked, tally: Tally, tell: Tell) -> None:
        whole = Whole.from_text(await self._reader.meta(BACKFILLED))
        since = await self._reader.following()
        all_of_it = asked.everything or (since is not None and since.since in {0, "0"})
        listed, packages = await listing.ends()
        for after in range(0, listed, PART):
            tally.not_expected += await listing.compare(
                after, whole=all_of_it or bool(whole.wishes)
            )
            tell(_progress("compare", after, listed + packages))
        for after in range(0, packages, PART):
            await listing.find_absent(after)
            tell(_progress("compare", listed + after, listed + packages))
        await self._dismiss(listing, _Expectation(whole, all_of_it=all_of_it), tally)
        for (what, waits), count in (await listing.tally()).items():
            if waits:
                tally.waiting += count
            else:
                tally.found[what] += count

    async def _dismiss(self, listing: Listing, expected: "_Expectation", tally: Tally) -> None:
        """Take out what is not wanted, and what this mirror was never to have."""
        after = 0
        while found := await listing.differences(after, PUT_ROWS):
            after = found[-1].id
            out: list[int] = []
            for one in found:
                if not self._wanted(one.name):
                    out.append(one.id)
                elif one.what == "missing" and not (one.announced or expected.has(one.name)):
                    out.append(one.id)
                    tally.not_expected += 1
            await listing.dismiss(out)

    def _doubt(self, tally: Tally) -> None:
        """Not to take the world for gone because a list has it not."""
        count = tally.found["unlisted"]
        if tally.disbelieved is None and count > max(UNLISTED, tally.packages // 10):
            tally.disbelieved = f"{count:,} of {tally.packages:,} packages at once are not listed"

    async def _conclude(
        self, listing: Listing, asked: Asked, findings: Findings, tally: Tally, tell: Tell
    ) -> None:
        """Write down what was found, and put it on the work list."""
        whole = Whole.from_text(await self._reader.meta(BACKFILLED))
        expected = _Expectation(whole, all_of_it=False)
        after, done = 0, 0
        while found := await listing.differences(after, PUT_ROWS):
            after, done = found[-1].id, done + len(found)
            fresh = [one for one in found if not one.waits]
            await findings.add([_told(one) for one in fresh])
            if not asked.dry_run:
                await self._queue(fresh, expected, tally)
            tell(_progress("queue", done, sum(tally.found.values()) + tally.waiting))

    async def _queue(self, found: list[Difference], expected: "_Expectation", tally: Tally) -> None:
        for what in KINDS:
            if what == "unlisted" and tally.disbelieved is not None:
                continue
            for bare in (False, True):
                names = [
                    (one.name, one.rev)
                    for one in found
                    if one.what == what and expected.bare(one) == bare
                ]
                if not names:
                    continue
                if self._manner.room is not None:
                    await self._manner.room()
                how = Bringing(
                    brought_by(RECONCILE, metadata_only=bare),
                    what,
                    timestamp(self._clock.now()),
                    unlisted=what == "unlisted",
                )
                brought = await self._index.bring(names, how)
                tally.queued += brought.queued
                tally.woken += brought.woken

    async def _ask(self, request: Callable[[], Awaitable[Any]]) -> Any:
        if self._manner.patiently is not None:
            return await self._manner.patiently(request)
        return await request()

    async def _pause(self) -> None:
        if self._manner.pace_seconds:
            with at_rest():
                await self._clock.sleep(self._manner.pace_seconds)
        else:
            await anyio.lowlevel.checkpoint()


class _Expectation:
    """What the mirror is to have, by the backfills that came to their end."""

    def __init__(self, whole: Whole, *, all_of_it: bool) -> None:
        self._all = all_of_it
        self._wishes = [
            (tuple(Pattern.parse(text, {}) for text in wish.only), wish.metadata_only)
            for wish in whole.wishes
        ]

    def has(self, name: str) -> bool:
        """Whether a package that nobody announced is to be there."""
        return self._all or any(_matches(only, name) for only, _ in self._wishes)

    def bare(self, one: Difference) -> bool:
        """Whether no tarballs are wanted of it: all backfills that bring it bring none."""
        bringing = [bare for only, bare in self._wishes if _matches(only, one.name)]
        return one.what == "missing" and not one.announced and bool(bringing) and all(bringing)


def _matches(only: tuple[Pattern, ...], name: str) -> bool:
    return not only or any(pattern.matches(name) for pattern in only)


def _told(one: Difference) -> Report:
    return {"what": one.what, "package": one.name, "listed": one.rev, "held": one.held}


def _progress(phase: str, done: int, total: int | None) -> Report:
    return {"phase": phase, "done": done, "total": total, "bytes": 0, "total_bytes": None}
