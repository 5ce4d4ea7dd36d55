"""Cold start: names of all packages onto the work list, a bounded number ahead of fetching.

4.4 million rows at once would make every look at the work list slow, and each retry would wait
behind all of them. So some thousands are put, and the next page when most of those are done. How
far it came is kept in the transaction that puts them: whatever is killed goes on from there.
"""

from collections import deque
from collections.abc import AsyncIterable, Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
import structlog
from msgspec.structs import replace

from npmmirror.backfill import BACKFILL, BACKFILLED, Backfill, Report, Whole, Wish
from npmmirror.clock import Clock, timestamp
from npmmirror.errors import StorageError, UsageError
from npmmirror.failpoints import reach
from npmmirror.index import (
    Bringing,
    Brought,
    IndexReader,
    IndexWriter,
    Resumption,
)
from npmmirror.liveness import at_rest
from npmmirror.origin import brought_by, origins
from npmmirror.outcome import WorkItem
from npmmirror.patterns import FILE, Pattern, check_pattern
from npmmirror.pipeline.feed import Feed
from npmmirror.pipeline.job import WANTED
from npmmirror.pipeline.listing import NameList
from npmmirror.pipeline.names import NamesFile
from npmmirror.pipeline.pause import FIRST_SECONDS, LONGEST_SECONDS
from npmmirror.pipeline.wanting import Wanting
from npmmirror.upstream import BadAnswer, Upstream, UpstreamError

AHEAD: Final = 10_000
"""Packages that wait for their turn; below it the next page is read."""
PUT_ROWS: Final = 1_000
"""Rows put in one transaction: the recorder waits for it."""
TARBALLS: Final = 5_000
"""The same of tarballs, which a page of packages may have very many of."""
POLL_SECONDS: Final = 0.5
ENDS: Final = 3
"""How often a list that ends too early is asked for more before that is its end."""
RATE_SECONDS: Final = 120.0
"""The rate is that of so long a time."""
NAMES: Final = "backfill.names"

log = structlog.get_logger(__name__)


class Backfiller:
    """Brings names until there are no more. Asked by `begin`, `pause`, `resume` and `cancel`.

    `wanted` says whether the policy wants a package at all, `wanting` which tarballs. `ahead` is another number than `AHEAD`.
    `load` comes before everything.
    """

    def __init__(
        self,
        upstream: Upstream,
        index: IndexWriter,
        reader: IndexReader,
        feed: Feed,
        clock: Clock,
        *,
        wanted: Callable[[str], bool],
        wanting: Wanting,
        data_dir: Path,
        ahead: int | None = None,
    ) -> None:
        self._index = index
        self._reader = reader
        self._feed = feed
        self._clock = clock
        self._wanted = wanted
        self._wanting = wanting
        self._ahead = AHEAD if ahead is None else ahead
        self._list = NameList(upstream)
        self._file = NamesFile(data_dir / NAMES)
        self._page: Sequence[tuple[str, str | None]] = ()
        self._only: tuple[Pattern, ...] = ()
        self._news = anyio.Event()
        self._changing = anyio.Lock()
        self._samples: deque[tuple[float, int]] = deque()
        self._failures = self._short = 0
        self.state: Backfill | None = None
        self.error: str | None = None
        self.ended: Report | None = None
        """The last report of the one that came to its end last."""

    async def load(self) -> None:
        """Take up what was under way when the process before this one ended."""
        note = await self._index.resumption(BACKFILL)
        self._set(Backfill.from_text(note.place) if note is not None else None)

    async def begin(self, wish: Wish, lines: int | None = None) -> None:
        """Begin to bring what is wished for, or go on with the very same.

        Where the wish is for a file, its names are kept (`keep`), so many `lines` of them.

        Raises:
            UsageError: another one is under way, or a pattern is none.
        """
        patterns_of(wish)
        async with self._changing:
            if self.state is not None:
                if wish.source == "file" or wish != self.state.wish:
                    raise UsageError(
                        "another backfill is under way (`npmmirror status` tells which); "
                        "`npmmirror backfill --cancel` gives it up"
                    )
                return
            state = Backfill(wish, timestamp(self._clock.now()), total=lines)
            await self._index.note_resumption(_note(state))
            self.ended, self._short = None, 0
            self._set(state)
        reach("backfill.begun")
        log.info("backfill_begun", source=wish.source, metadata_only=wish.metadata_only)

    async def keep(self, chunks: AsyncIterable[bytes]) -> int:
        """Keep the names of a file that `begin` is about to work off; how many lines there are.

        Raises:
            UsageError: a backfill is under way, whose names they would take the place of.
        """
        if self.state is not None:
            raise UsageError(
                "another backfill is under way (`npmmirror status` tells which); "
                "`npmmirror backfill --cancel` gives it up"
            )
        return await self._file.keep(chunks)

    async def pause(self, *, paused: bool = True) -> bool:
        """Put nothing more, and hand out nothing of what was put, until told otherwise.

        Returns:
            Whether there is a backfill.
        """
        async with self._changing:
            if self.state is None:
                return False
            state = replace(self.state, paused=paused)
            await self._index.note_resumption(_note(state))
            self._set(state)
        self._feed.wake()
        if paused:
            log.info("backfill_paused")
        else:
            log.info("backfill_resumed")
        return True

    async def cancel(self) -> bool:
        """Give it up, with what was put and not tried yet; whether there was one."""
        async with self._changing:
            if self.state is None:
                return False
            rows = await self._index.withdraw(BACKFILL)
            self._set(None)
        await self._file.remove()
        log.info("backfill_cancelled", rows=rows)
        return True

    async def run(self) -> None:
        """Bring what is asked for, for ever."""
        while True:
            self._news = anyio.Event()
            if self.state is None or self.state.paused:
                with at_rest():
                    await self._news.wait()
                continue
            try:
                moved = await self._step(self.state)
            except (UpstreamError, StorageError) as error:
                await self._back_off(error)
                continue
            self.error, self._failures = None, 0
            if not moved:
                await self._wait(POLL_SECONDS)

    async def report(self) -> Report | None:
        """How far it is; None where there is none."""
        state = self.state
        if state is None:
            return None
        most = self._ahead + len(self._page) + 10_000
        untried = await self._reader.untried_packages(BACKFILL, most)
        failed = await self._reader.failed(BACKFILL)
        return state.report(
            untried=untried, failed=failed, per_second=self._rate(), error=self.error
        )

    def _set(self, state: Backfill | None) -> None:
        self._page = ()
        self._samples.clear()
        self._only = patterns_of(state.wish) if state is not None else ()
        self.state = state
        paused = state is not None and state.paused
        self._feed.held = frozenset(origins(BACKFILL)) if paused else frozenset()
        self._news.set()

    async def _step(self, state: Backfill) -> bool:
        """Put some rows, or see whether all are done; whether there is more to do at once."""
        untried = await self._reader.untried(BACKFILL, self._ahead)
        self._sample(state.listed - await self._reader.untried_packages(BACKFILL, self._ahead))
        if state.listed_all:
            if not untried:
                await self._end(state)
            return False
        if untried >= self._ahead:
            return False
        if state.wish.source == "file":
            await self._from_file(state)
        else:
            await self._from_feed(state)
        return True

    async def _from_feed(self, state: Backfill) -> None:
        if not self._page:
            found = await self._list.page(state.after)
            self._page = [(row.name, row.rev) for row in found]
            self._doubt(state)
        names = self._page[:PUT_ROWS]
        total = self._list.total if self._list.total is not None else state.total
        after = names[-1][0] if names else state.after
        ahead = replace(state, after=after, total=total, listed_all=not names)
        if await self._put(state, ahead, names, len(names)):
            self._page = self._page[PUT_ROWS:]

    def _doubt(self, state: Backfill) -> None:
        """Ask again where the list ends long before its own number of rows.

        Raises:
            BadAnswer: it does, and was not yet asked often enough.
        """
        total = self._list.total
        if self._page or total is None or total - state.listed <= max(total // 100, 10):
            return
        detail = f"_all_docs ends after {state.listed:,} of {total:,} names"
        self._short += 1
        if self._short < ENDS:
            raise BadAnswer("bad_feed", detail)
        log.warning("backfill_list_short", listed=state.listed, total=total)

    async def _from_file(self, state: Backfill) -> None:
        names, lines, offset = await self._file.read(state.offset, PUT_ROWS)
        ahead = replace(state, offset=offset, listed_all=not lines)
        await self._put(state, ahead, [(name, None) for name in names], lines)

    async def _put(
        self, before: Backfill, after: Backfill, names: Sequence[tuple[str, str | None]], read: int
    ) -> bool:
        """Put rows and the state behind them in one transaction, where nobody meddled meanwhile."""
        wanted = [(name, rev) for name, rev in names if self._takes(name)]
        how = Bringing(
            brought_by(BACKFILL, metadata_only=before.wish.metadata_only),
            BACKFILL,
            timestamp(self._clock.now()),
            # A file tells no revisions. What the feed keeps current is passed over; without a feed
            # upstream is asked whether anything is new.
            ask_again=before.wish.source == "file" and await self._reader.cursor() is None,
        )
        after.listed += read
        after.left_out += read - len(wanted)

        def note(brought: Brought) -> Resumption:
            after.queued += brought.queued
            after.waiting += brought.waiting
            after.woken += brought.woken
            return _note(after)

        tarballs = await self._tarballs(before.wish, [name for name, _ in wanted])
        async with self._changing:
            if self.state is not before:
                return False
            # Rows that are there already are left alone: a kill in between costs nothing.
            for start in range(0, len(tarballs), TARBALLS):
                rows = tarballs[start : start + TARBALLS]
                after.tarballs += await self._index.put_new_work(rows)
            await self._index.bring(wanted, how, note)
            self.state = after
        if after.listed_all:
            reach("backfill.listed_all")
        self._feed.wake()
        return True

    async def _tarballs(self, wish: Wish, names: Sequence[str]) -> list[WorkItem]:
        """The rows of tarballs that the policy wants of packages that were captured without them."""
        if wish.metadata_only:
            return []
        at = timestamp(self._clock.now())
        return [
            WorkItem(package, version, WANTED, at, since=at, origin=BACKFILL)
            for package, version in await self._wanting.tarballs(names)
        ]

    def _takes(self, name: str) -> bool:
        """Whether a name is to be brought. Where names are filtered, they are filtered here."""
        if name.startswith("_") or not self._wanted(name):
            return False
        return not self._only or any(pattern.matches(name) for pattern in self._only)

    async def _end(self, state: Backfill) -> None:
        report = await self.report()
        async with self._changing:
            if self.state is not state:
                return
            if state.wish.source == "feed" and self._short < ENDS:
                known = Whole.from_text(await self._reader.meta(BACKFILLED))
                await self._index.end_resumption(_note(state), BACKFILLED, known.added(state.wish))
            else:
                await self._index.forget_resumption(BACKFILL)
            self.ended = (report or {}) | {"state": "done"}
            self._set(None)
        await self._file.remove()
        log.info(
            "backfill_finished",
            listed=state.listed,
            queued=state.queued,
            current=state.current,
            left_out=state.left_out,
            woken=state.woken,
            tarballs=state.tarballs,
            failed=self.ended.get("failed"),
        )

    async def _back_off(self, error: Exception) -> None:
        self._failures += 1
        longest = min(FIRST_SECONDS * 2.0 ** min(self._failures, 20), LONGEST_SECONDS)
        asked_for = getattr(error, "retry_after", None) or 0.0
        seconds = max(self._clock.jitter(longest / 2, longest), asked_for)
        again = str(error) == self.error
        tell = log.debug if again else log.warning
        tell("backfill_waits", error=str(error), seconds=round(seconds, 1))
        self.error = str(error)
        await self._wait(seconds)

    async def _wait(self, seconds: float) -> None:
        with at_rest():
            async with anyio.create_task_group() as tasks:

                async def heed() -> None:
                    await self._news.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(heed)
                await self._clock.sleep(seconds)
                tasks.cancel_scope.cancel()

    def _sample(self, done: int) -> None:
        now = self._clock.monotonic()
        self._samples.append((now, done))
        while now - self._samples[0][0] > RATE_SECONDS:
            self._samples.popleft()

    def _rate(self) -> float | None:
        """Packages a second, of the last minutes; None where nothing is known yet."""
        if len(self._samples) < 2:
            return None
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end - start) if end - start >= 1 else None


async def steer_note(index: IndexWriter, data_dir: Path, word: str) -> bool:
    """`pause`, `resume` or `cancel` a backfill that nobody works at; whether there is one."""
    note = await index.resumption(BACKFILL)
    if note is None:
        return False
    if word == "cancel":
        await index.withdraw(BACKFILL)
        await NamesFile(data_dir / NAMES).remove()
    else:
        state = replace(Backfill.from_text(note.place), paused=word == "pause")
        await index.note_resumption(_note(state))
    return True


def _note(state: Backfill) -> Resumption:
    return Resumption(BACKFILL, state.started_at, state.to_text())


def patterns_of(wish: Wish) -> tuple[Pattern, ...]:
    """The patterns of a wish.

    Raises:
        UsageError: one of them is none.
    """
    patterns: list[Pattern] = []
    for text in wish.only:
        if text.startswith(FILE):
            raise UsageError(f"--only {text}: names of a file are brought with --file")
        try:
            patterns.append(Pattern.parse(check_pattern(text), {}))
        except ValueError as error:
            raise UsageError(f"--only {error}") from error
    return tuple(patterns)
