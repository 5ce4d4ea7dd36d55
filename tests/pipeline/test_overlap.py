"""The trailing window: what is late, and when the window gets shorter."""

from collections.abc import Sequence

import anyio
import pytest

from npmmirror.buffer.base import Entry, Receipt
from npmmirror.buffer.memory import MemoryBuffer
from npmmirror.change import Change, Head, Page, Seq
from npmmirror.index import FeedNotes, IndexReader, IndexUnavailableError, SeenCursor
from npmmirror.pipeline import overlap
from npmmirror.pipeline.follow import Follower
from npmmirror.pipeline.overlap import TURN_ROWS, Overlap, Recent
from npmmirror.upstream import ServerFault, Upstream
from tests.pipeline.conftest import ManualClock

pytestmark = pytest.mark.anyio

MINUTE = 60.0


class Feed(Upstream):
    """Rows by seq; some of them are not shown yet, and some windows cannot be read."""

    def __init__(self, *seqs: int) -> None:
        self.rows = {seq: Change(seq, f"p{seq}", "1-a") for seq in seqs}
        self.hidden: set[int] = set()
        self.asked: list[Seq | None] = []
        self.broken: set[int] = set()
        self.arriving: list[int] = []

    async def changes(self, since: Seq | None, limit: int, *, descending: bool = False) -> Page:
        """See `Upstream.changes`. A row of `arriving` comes just before each look at the window."""
        assert isinstance(since, int)
        assert not descending
        self.asked.append(since)
        if since in self.broken:
            raise ServerFault("http_500")
        if since != max(self.rows) and max(self.rows) in self.asked and self.arriving:
            seq = self.arriving.pop(0)
            self.rows[seq] = Change(seq, f"p{seq}", "1-a")
        seqs = [seq for seq in sorted(self.rows) if seq > since and seq not in self.hidden][:limit]
        return Page(tuple(self.rows[seq] for seq in seqs), seqs[-1] if seqs else since)

    async def head(self) -> Head:
        """See `Upstream.head`."""
        return Head(max(self.rows), None)


class Index(IndexReader):
    """What is finished."""

    def __init__(self) -> None:
        self.done: set[str] = set()

    async def finished(self, names: Sequence[str]) -> dict[str, tuple[str | None, bool] | None]:
        """See `IndexReader.finished`."""
        return {name: ("1-a", False) for name in names if name in self.done}


class Notes(FeedNotes):
    """Notes in memory."""

    def __init__(self) -> None:
        self.kept: list[SeenCursor] = []
        self.refuses = False

    async def cursors(self) -> list[SeenCursor]:
        """See `FeedNotes.cursors`."""
        return list(self.kept)

    async def remember(self, seen: SeenCursor) -> None:
        """See `FeedNotes.remember`."""
        if self.refuses:
            raise IndexUnavailableError("full")
        self.kept.append(seen)

    async def forget_before(self, number: int) -> None:
        """See `FeedNotes.forget_before`."""
        self.kept = [seen for seen in self.kept if seen.number >= number]


class Mirror:
    """A follower with a window of five minutes, read every two; it polls every minute."""

    def __init__(self, feed: Feed, clock: ManualClock) -> None:
        self.feed, self.clock = feed, clock
        self.index, self.notes, self.buffer = Index(), Notes(), MemoryBuffer()
        self.receipts: list[Receipt] = []
        self.finishes = True
        self.overlap = Overlap(
            feed,
            self.index,
            self.notes,
            clock,
            seqs=0,
            minutes=5.0,
            every_minutes=2.0,
            page_rows=3,
            ready=self._ready,
        )
        self.follower = Follower(
            feed,
            self.buffer,
            self._receive,
            clock,
            source="feed",
            page_rows=3,
            poll_seconds=MINUTE,
            overlap=self.overlap,
        )

    async def _ready(self) -> bool:
        return True

    async def _receive(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)
        if self.finishes:
            self.index.done |= {change.id for change in await self.changes()}

    async def changes(self) -> list[Change]:
        """What is in the buffer."""
        items = await self.buffer.read(await self.buffer.start(), 1000)
        return [item.change for item in items if isinstance(item, Entry)]

    async def follow(self, minutes: float, cursor: Seq = 0) -> None:
        """Follow for so long."""
        until = self.clock.monotonic() + minutes * MINUTE
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.follower.run, cursor)
                while self.clock.monotonic() < until:
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()


async def test_a_late_row_has_a_receipt_that_moves_no_cursor(clock: ManualClock) -> None:
    """It lies in the buffer once, behind what was there."""
    mirror = Mirror(Feed(1, 2, 3, 4, 5), clock)
    mirror.feed.hidden = {2}
    await mirror.follow(1.5)
    mirror.feed.hidden = set()
    await mirror.follow(6, cursor=5)
    assert [change.seq for change in await mirror.changes()] == [1, 3, 4, 5, 2]
    assert [(one.before, one.after) for one in mirror.receipts][-1] == (5, 5)
    assert mirror.overlap.late_rows == 1


async def test_what_comes_between_two_looks_is_not_late(clock: ManualClock) -> None:
    """The window shows it first; the next look at the head brings it, once."""
    mirror = Mirror(Feed(1, 2), clock)
    mirror.feed.arriving = [3, 4]
    await mirror.follow(9)
    assert [change.seq for change in await mirror.changes()] == [1, 2, 3, 4]
    assert mirror.overlap.late_rows == 0


async def test_the_window_stays_while_a_late_row_is_not_finished(clock: ManualClock) -> None:
    """Should the buffer be lost by then, the window still finds it."""
    mirror = Mirror(Feed(1, 2), clock)
    mirror.feed.hidden = {1}
    await mirror.follow(2.5)
    mirror.finishes, mirror.feed.hidden = False, set()
    mirror.feed.rows[9] = Change(9, "p9", "1-a")
    await mirror.follow(20, cursor=2)
    assert mirror.overlap.late_rows == 1
    assert mirror.notes.kept[0].cursor == 0
    mirror.index.done = {"p1", "p2", "p9"}
    await mirror.follow(20, cursor=9)
    assert mirror.notes.kept[0].cursor != 0


async def test_a_window_that_cannot_be_read_stops_nobody(clock: ManualClock) -> None:
    """The feed is followed on; the window is tried again at its next time."""
    mirror = Mirror(Feed(1, 2, 3, 4), clock)
    mirror.finishes = False
    mirror.index.done = {f"p{seq}" for seq in range(1, 9)}
    await mirror.follow(0.5)
    mirror.feed.broken = {0}
    mirror.feed.rows[5] = Change(5, "p5", "1-a")
    await mirror.follow(7, cursor=4)
    assert mirror.follower.cursor == 5
    assert mirror.follower.error is None
    assert mirror.feed.asked.count(0) > 2
    assert mirror.overlap.read_at is None


async def test_a_place_that_cannot_be_noted_is_noted_later(clock: ManualClock) -> None:
    """The window is longer for it, never shorter."""
    mirror = Mirror(Feed(1), clock)
    await mirror.follow(0.5)
    mirror.notes.refuses = True
    mirror.feed.rows[2] = Change(2, "p2", "1-a")
    await mirror.follow(3, cursor=1)
    assert [seen.cursor for seen in mirror.notes.kept] == [0]
    mirror.notes.refuses = False
    mirror.feed.rows[3] = Change(3, "p3", "1-a")
    await mirror.follow(3, cursor=2)
    assert [(seen.cursor, seen.rows) for seen in mirror.notes.kept] == [(0, 0), (3, 1)]


async def test_a_page_of_thousands_of_rows_leaves_the_loop_its_turns(clock: ManualClock) -> None:
    """Both when it is appended and when the window shows it again."""
    rows = 20 * TURN_ROWS
    mirror = Mirror(Feed(*range(1, rows + 1)), clock)
    page = await mirror.feed.changes(0, rows)
    await mirror.overlap.begin(0, 0)
    turns = [0]

    async def count() -> None:
        while True:
            turns[0] += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        await mirror.overlap.appended(page.changes, page.last_seq)
        appended = turns[0]
        mirror.index.done = {change.id for change in page.changes}
        now = overlap._Pass(0, clock.now())
        assert await mirror.overlap._unknown(now, page) == []
        looked_at = turns[0] - appended
        now.shown, mirror.overlap._pass = page.changes, now
        assert await mirror.overlap.late() == []
        shown = turns[0] - appended - looked_at
        tasks.cancel_scope.cancel()
    assert min(appended, looked_at, shown) >= rows // TURN_ROWS


async def test_very_many_packages_are_forgotten_but_never_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of each the last change counts."""
    monkeypatch.setattr(overlap, "REMEMBERED", 10)
    recent = Recent()
    for seq in range(100):
        await recent.add([Change(seq, f"p{seq}", "1-a")])
        assert all(recent.has(Change(0, f"p{old}", "1-a")) for old in range(max(seq - 9, 0), seq))
    assert not recent.has(Change(0, "p1", "1-a"))
    await recent.add([Change(100, "p99", "2-b")])
    assert recent.has(Change(0, "p99", "2-b"))
    assert not recent.has(Change(0, "p99", "1-a"))
