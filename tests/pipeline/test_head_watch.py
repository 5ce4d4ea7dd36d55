"""What a fallen head is, and what a stall: by what looks at the feed tell."""

import anyio
import pytest

from npmmirror.buffer.memory import MemoryBuffer
from npmmirror.change import Change, Head, Page, Seq
from npmmirror.index import IndexReader
from npmmirror.pipeline.follow import Follower
from npmmirror.pipeline.head_watch import Fallen, HeadWatch, Stalled
from npmmirror.receipt import Receipt
from npmmirror.upstream import ServerFault, Upstream
from tests.pipeline.conftest import ManualClock

pytestmark = pytest.mark.anyio

MINUTE = 60.0


class Feed(Upstream):
    """A feed of which only the end is looked at."""

    def __init__(self, head: Seq) -> None:
        self.end: Seq | None = head
        self.newest = Change(1, "known", "1-a")
        self.connections = 0

    async def head(self) -> Head:
        """See `Upstream.head`."""
        if self.end is None:
            raise ServerFault("timeout")
        return Head(self.end, None)

    async def changes(self, since: Seq | None, limit: int, *, descending: bool = False) -> Page:
        """See `Upstream.changes`."""
        assert (since, limit, descending) == (None, 1, True)
        return Page((self.newest,), self.end or 0)

    async def reconnect_feed(self) -> None:
        """See `Upstream.reconnect_feed`."""
        self.connections += 1


class Index(IndexReader):
    """Knows one finished change."""

    def __init__(self) -> None:
        """Without any file."""

    async def finished(self, names: object) -> dict[str, tuple[str | None, bool] | None]:
        """See `IndexReader.finished`."""
        del names
        return {"known": ("1-a", False)}


class Watched:
    """A watch that looks each minute."""

    def __init__(self, clock: ManualClock, head: Seq) -> None:
        self.clock = clock
        self.feed = Feed(head)
        self.watch = HeadWatch(
            self.feed,
            Index(),
            clock,
            stall_seconds=600,
            stall_lag=200,
            fall_seconds=600,
            settled=self._is_settled,
        )
        self.settled = True

    async def _is_settled(self) -> bool:
        return self.settled

    async def minutes(self, number: int, cursor: Seq, growth: int = 0) -> list[object]:
        """What so many looks find, while the head grows each minute."""
        found: list[object] = []
        for _ in range(number):
            found.append(await self.watch.look(cursor))
            self.clock.move(MINUTE)
            if isinstance(self.feed.end, int):
                self.feed.end += growth
        return [one for one in found if one is not None]


async def test_a_head_that_stays_below_the_cursor_has_fallen(clock: ManualClock) -> None:
    """For ten minutes, by looks that each have a connection of their own."""
    watched = Watched(clock, 50)
    assert await watched.minutes(10, cursor=100) == []
    assert watched.feed.connections == 10
    assert await watched.minutes(1, cursor=100) == [Fallen(50)]


async def test_a_replica_that_lags_for_minutes_is_no_fallen_head(clock: ManualClock) -> None:
    """One look above the cursor, or one row, and the count begins anew."""
    watched = Watched(clock, 99)
    for _ in range(3):
        assert await watched.minutes(9, cursor=100) == []
        watched.feed.end = 101
        assert await watched.minutes(1, cursor=100) == []
        watched.feed.end = 99
    assert await watched.minutes(9, cursor=100) == []
    watched.watch.advanced(101, None, full=False)
    assert await watched.minutes(9, cursor=101) == []


async def test_few_looks_are_not_enough_however_long_they_took(clock: ManualClock) -> None:
    """The machine may have slept in between."""
    watched = Watched(clock, 50)
    assert await watched.minutes(1, cursor=100) == []
    clock.move(7200)
    assert await watched.minutes(3, cursor=100) == []
    assert await watched.minutes(1, cursor=100) == [Fallen(50)]


async def test_a_cursor_that_stands_still_while_the_head_moves_is_a_stall(
    clock: ManualClock,
) -> None:
    """After ten minutes; again ten minutes after the connection was made anew."""
    watched = Watched(clock, 101)
    assert await watched.minutes(10, cursor=100, growth=1) == []
    assert await watched.minutes(1, cursor=100, growth=1) == [Stalled("cursor", 111)]
    watched.watch.rebuilt()
    assert await watched.minutes(10, cursor=100, growth=1) == []
    assert await watched.minutes(1, cursor=100, growth=1) == [Stalled("cursor", 122)]


async def test_an_idle_feed_is_no_stall(clock: ManualClock) -> None:
    """Not where its head is the cursor, nor where a head without a new row is another one."""
    for head, cursor in ((100, 100), (103, 100), ("100-gXYZ", "100-gABC")):
        assert await Watched(clock, head).minutes(60, cursor) == []


async def test_an_opaque_feed_with_news_stalls_by_its_newest_row(clock: ManualClock) -> None:
    """Nothing is reckoned with its seqs."""
    watched = Watched(clock, "101-gXYZ")
    watched.feed.newest = Change("101-gXYZ", "news", "1-a")
    assert await watched.minutes(10, "100-gABC") == []
    assert await watched.minutes(1, "100-gABC") == [Stalled("cursor", "101-gXYZ")]
    assert watched.watch.drift is None


async def test_a_row_that_waits_in_the_buffer_is_no_news(clock: ManualClock) -> None:
    """What was appended last need not be finished."""
    watched = Watched(clock, "101-gXYZ")
    watched.feed.newest = Change("101-gXYZ", "news", "1-a")
    watched.watch.advanced("101-gABC", Change("101-gABC", "news", "1-a"), full=False)
    assert await watched.minutes(60, "101-gABC") == []


async def test_a_row_that_waits_in_the_buffer_since_the_last_process_is_no_news(
    clock: ManualClock,
) -> None:
    """A disk that is full, or a download that takes long, may have it wait for hours."""
    watched = Watched(clock, "101-gXYZ")
    watched.feed.newest = Change(2, "waiting", "2-b")
    watched.settled = False
    assert await watched.minutes(60, "101-gABC") == []
    watched.settled = True
    assert await watched.minutes(1, "101-gABC") == [Stalled("cursor", "101-gXYZ")]


async def test_an_upstream_that_is_away_is_no_stall(clock: ManualClock) -> None:
    """What it comes back with is judged from then on."""
    watched = Watched(clock, 101)
    watched.feed.end = None
    assert await watched.minutes(60, cursor=100) == []
    watched.feed.end = 500
    assert await watched.minutes(9, cursor=100, growth=1) == []


async def test_waiting_for_a_disk_or_a_broker_is_no_stall(clock: ManualClock) -> None:
    """Whoever waited says so."""
    watched = Watched(clock, 101)
    for _ in range(10):
        assert await watched.minutes(5, cursor=100, growth=1) == []
        watched.watch.excuse()


async def test_a_lag_that_grows_is_a_stall(clock: ManualClock) -> None:
    """By more than 200 from its lowest, at two looks; told as a drift before that."""
    watched = Watched(clock, 1100)
    assert await watched.minutes(3, cursor=1000, growth=100) == []
    assert watched.watch.drift == 200
    assert await watched.minutes(1, cursor=1000, growth=100) == []
    assert await watched.minutes(1, cursor=1000, growth=100) == [Stalled("lag", 1500)]
    watched.watch.rebuilt()
    assert await watched.minutes(3, cursor=1000, growth=100) == []


async def test_a_burst_is_no_stall(clock: ManualClock) -> None:
    """One look that falls into it does not count."""
    watched = Watched(clock, 1000)
    for cursor in range(1000, 20_000, 1000):
        watched.feed.end = cursor + 900 * (cursor // 1000 % 2)
        assert await watched.minutes(1, cursor) == []
        watched.watch.advanced(cursor + 1000, None, full=False)


async def test_catching_up_is_no_stall(clock: ManualClock) -> None:
    """However the lag grows while full pages come."""
    watched = Watched(clock, 10_000)
    for cursor in range(0, 10_000, 100):
        assert await watched.minutes(1, cursor, growth=1000) == []
        watched.watch.advanced(cursor + 100, None, full=True)


class Standing(Feed):
    """A feed whose pages stand still, and the follower's lag at each look at its head."""

    def __init__(self, head: Seq) -> None:
        super().__init__(head)
        self.follower: Follower | None = None
        self.lags: list[int | None] = []

    async def head(self) -> Head:
        """See `Upstream.head`."""
        assert self.follower is not None
        self.lags.append(self.follower.lag)
        return await super().head()

    async def changes(self, since: Seq | None, limit: int, *, descending: bool = False) -> Page:
        """See `Upstream.changes`."""
        del limit, descending
        return Page((), since or 0)


async def test_the_lag_is_told_while_the_next_look_is_under_way(clock: ManualClock) -> None:
    """It is not nothing in between."""
    feed = Standing(109)

    async def receive(_: Receipt) -> None:
        raise AssertionError("no page comes")

    watch = HeadWatch(feed, Index(), clock, stall_seconds=0, stall_lag=0, fall_seconds=600)
    feed.follower = Follower(
        feed,
        MemoryBuffer(),
        receive,
        clock,
        source="feed",
        page_rows=3,
        poll_seconds=MINUTE,
        watch=watch,
    )
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed.follower.run, 100)
            while len(feed.lags) < 4:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    assert feed.lags[1:4] == [9, 9, 9]
