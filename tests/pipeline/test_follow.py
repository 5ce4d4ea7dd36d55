"""The follower: rows first, then the cursor; what fails is tried again."""

import anyio
import pytest

from npmmirror.buffer.base import BufferChangedError, BufferUnavailableError, Receipt
from npmmirror.buffer.memory import MemoryBuffer
from npmmirror.change import Change, Head, Page, Seq
from npmmirror.pipeline.follow import Follower
from npmmirror.upstream import ServerFault, Upstream
from tests.pipeline.conftest import ManualClock

pytestmark = pytest.mark.anyio

POLL = 1000.0


class Feed(Upstream):
    """Answers from a list, the failures in it included; then stays at its end."""

    def __init__(self, *answers: Page | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Seq] = []
        self.quiet = anyio.Event()
        self.end: Seq = 0

    async def changes(self, since: Seq | None, limit: int, *, descending: bool = False) -> Page:
        """See `Upstream.changes`."""
        del limit, descending
        since = 0 if since is None else since
        self.asked.append(since)
        if not self.answers:
            self.quiet.set()
            return Page((), since)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.end = answer.last_seq
        return answer

    async def head(self) -> Head:
        """See `Upstream.head`."""
        if self.answers and isinstance(fault := self.answers[0], Exception):
            del self.answers[0]
            raise fault
        return Head(self.end, None)


def page(first: int, last: int) -> Page:
    """Changes with these seqs."""
    seqs = range(first, last + 1)
    return Page(tuple(Change(seq, f"p{seq}", "1-a") for seq in seqs), last)


class Followed:
    """A follower, and what it did, in order."""

    def __init__(self, feed: Feed, clock: ManualClock, page_rows: int = 3) -> None:
        self.feed = feed
        self.buffer = MemoryBuffer()
        self.receipts: list[Receipt] = []
        self.depths: list[int] = []
        self.follower = Follower(
            feed,
            self.buffer,
            self._receive,
            clock,
            source="feed",
            page_rows=page_rows,
            poll_seconds=POLL,
        )

    async def _receive(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)
        self.depths.append(await self.buffer.depth(await self.buffer.start()))

    async def until_quiet(self, cursor: Seq = 0) -> None:
        """Follow until there is nothing left to ask for."""
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.follower.run, cursor)
                await self.feed.quiet.wait()
                tasks.cancel_scope.cancel()


async def test_full_pages_are_followed_at_once(clock: ManualClock) -> None:
    """The rows are in the buffer when the receipt is taken; then comes the next page."""
    followed = Followed(Feed(page(1, 3), page(4, 6), page(7, 7)), clock)
    await followed.until_quiet()
    assert followed.feed.asked[:3] == [0, 3, 6]
    assert followed.depths == [3, 6, 7]
    assert [(one.before, one.after) for one in followed.receipts] == [(0, 3), (3, 6), (6, 7)]
    assert followed.follower.lag == 0


async def test_a_failed_page_is_asked_for_again(clock: ManualClock) -> None:
    """From the same cursor, after pauses that grow; then all is told to be well."""
    faults = [ServerFault("http_500") for _ in range(4)]
    followed = Followed(Feed(page(1, 2), *faults, page(3, 3)), clock)
    await followed.until_quiet()
    assert followed.feed.asked[:6] == [0, 2, 2, 2, 2, 2]
    assert clock.slept[:6] == [POLL, 2, 4, 8, 16, POLL]
    assert followed.follower.error is None


async def test_a_feed_whose_root_is_ill_is_followed_all_the_same(clock: ManualClock) -> None:
    """Its end is asked for between full pages, for the lag alone."""
    followed = Followed(Feed(page(1, 3), ServerFault("http_500"), page(4, 4)), clock)
    await followed.until_quiet()
    assert followed.feed.asked[:2] == [0, 3]
    assert clock.slept[:1] == [POLL]
    assert followed.follower.rows == 4


async def test_a_row_that_names_no_package_stops_nobody(
    clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told in the log; the page around it is kept."""
    followed = Followed(Feed(Page(page(1, 2).changes, 2, odd=("'text'",))), clock)
    await followed.until_quiet()
    assert followed.follower.rows == 2
    assert followed.follower.cursor == 2
    assert "feed_row_unreadable" in capsys.readouterr().out


async def test_a_page_is_not_lost_where_the_buffer_refuses(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor stays behind what is durable, and upstream is not asked for the page again."""
    followed = Followed(Feed(page(1, 2)), clock)
    append = followed.buffer.append
    refusals = [BufferUnavailableError("full")]

    async def refuse(*args: object, **words: object) -> object:
        if refusals:
            raise refusals.pop()
        return await append(*args, **words)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(followed.buffer, "append", refuse)
    await followed.until_quiet()
    assert followed.feed.asked[:2] == [0, 2]
    assert [one.after for one in followed.receipts] == [2]
    assert followed.follower.rows == 2


async def test_a_buffer_that_changed_is_told_to_whoever_can_look_at_it(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is forgotten: the next run asks for it from where it is told to begin."""
    followed = Followed(Feed(page(1, 2), page(1, 2)), clock)
    append = followed.buffer.append
    changes = [BufferChangedError("made anew")]

    async def refuse(*args: object, **words: object) -> object:
        if changes:
            raise changes.pop()
        return await append(*args, **words)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(followed.buffer, "append", refuse)
    with pytest.raises(BufferChangedError):
        await followed.follower.run(0)
    await followed.until_quiet(0)
    assert followed.feed.asked[:2] == [0, 0]


async def test_now_is_the_feeds_head(clock: ManualClock) -> None:
    """Waited for as long as it takes; a seq is taken as it is."""
    feed = Feed(ServerFault("http_500"), ServerFault("http_500"))
    feed.end = 42
    followed = Followed(feed, clock)
    assert await followed.follower.start_cursor("now") == 42
    assert await followed.follower.start_cursor(7) == 7
    assert len(clock.slept) == 2


async def test_an_empty_page_moves_the_cursor(clock: ManualClock) -> None:
    """Rows that were moved away leave a gap; it is passed, with a receipt."""
    followed = Followed(Feed(Page((), 9)), clock)
    await followed.until_quiet()
    assert [(one.before, one.after) for one in followed.receipts] == [(0, 9)]
    assert followed.follower.cursor == 9
