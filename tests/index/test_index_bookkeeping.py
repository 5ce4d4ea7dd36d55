"""Cursor, checkpoint, receipts and marks."""

from pathlib import Path

import pytest

from npmmirror.change import Seq
from npmmirror.index import (
    Bringing,
    Group,
    IndexReader,
    IndexWriter,
    Resumption,
    StoredFollowing,
    writer as module,
)
from npmmirror.receipt import Position, Receipt
from tests.index.building import AT, LATER, LATEST, captured, mark, work

pytestmark = pytest.mark.anyio


def position(number: int) -> Position:
    return Position("buffer-1", f"{number}")


def receipt(number: int, before: Seq | None = None) -> Receipt:
    """The receipt of a page of ten rows that ends at a place."""
    return Receipt(before or number - 10, number, position(number), f'["tail", {number}]')


async def test_new_index_is_nowhere(writer: IndexWriter) -> None:
    """There is no cursor, checkpoint, mark or receipt before the first."""
    assert await writer.cursor() is None
    assert await writer.checkpoint() is None
    assert await writer.last_mark() is None
    assert await writer.following() is None
    assert await writer.receipts() == []


async def test_page_moves_the_cursor_and_leaves_its_receipt(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Both at once; a seq may be a number or an opaque text."""
    pages = [receipt(10), Receipt(10, "20-g1AAA", position(20), "x")]
    numbers = [await writer.receive_page(page, AT) for page in pages]
    assert await writer.cursor() == await reader.cursor() == "20-g1AAA"
    kept = await writer.receipts()
    assert [one.receipt for one in kept] == pages
    assert [one.number for one in kept] == numbers
    assert [one.finished for one in kept] == [False, False]
    assert await reader.receipts() == kept


async def test_checkpoint_is_committed_with_the_effects(writer: IndexWriter) -> None:
    """And the receipts that it passed are forgotten but for the newest."""
    numbers = [await writer.receive_page(receipt(10 * n), AT) for n in (1, 2, 3)]
    await writer.commit(Group(checkpoint=position(25), finished_receipt=numbers[1]))
    assert await writer.checkpoint() == position(25)
    assert [(one.number, one.finished) for one in await writer.receipts()] == [
        (numbers[1], True),
        (numbers[2], False),
    ]


async def test_group_without_a_checkpoint_leaves_it(writer: IndexWriter) -> None:
    """Most groups finish no change at the front."""
    await writer.commit(Group(checkpoint=position(5)))
    await writer.commit(Group(mark=mark(1)))
    assert await writer.checkpoint() == position(5)


async def test_many_receipts_are_thinned_behind_the_oldest(
    writer: IndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the checkpoint stands still: the place to go back to stays, and the newest stay."""
    monkeypatch.setattr(module, "UNFINISHED_RECEIPTS", 3)
    numbers = [await writer.receive_page(receipt(10 * n), AT) for n in range(1, 11)]
    assert [one.number for one in await writer.receipts()] == [numbers[0], *numbers[-3:]]
    await writer.commit(Group(checkpoint=position(90), finished_receipt=numbers[-2]))
    assert [one.number for one in await writer.receipts()] == numbers[-2:]


async def test_numbers_of_receipts_are_not_used_again(writer: IndexWriter) -> None:
    """A receipt that is forgotten is not mistaken for one that comes later."""
    first = await writer.receive_page(receipt(10), AT)
    await writer.rewind(0, position(0), None)
    assert await writer.receive_page(receipt(10), AT) > first


async def test_rewind_goes_back_to_a_receipt(writer: IndexWriter) -> None:
    """Cursor and checkpoint are set, and receipts behind are void."""
    numbers = [await writer.receive_page(receipt(10 * n), AT) for n in (1, 2, 3)]
    await writer.rewind(20, position(15), numbers[1])
    assert await writer.cursor() == 20
    assert await writer.checkpoint() == position(15)
    assert [one.number for one in await writer.receipts()] == numbers[:2]


async def test_last_mark_is_the_newest(writer: IndexWriter, reader: IndexReader) -> None:
    """It says how far the log is indexed."""
    await writer.commit(Group(mark=mark(3)))
    await writer.commit(Group(mark=mark(8, LATER)))
    assert await writer.last_mark() == mark(8, LATER)
    assert await reader.last_mark() == mark(8, LATER)


async def test_mark_of_a_time_is_the_last_one_until_then(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """So a time names a state of the mirror; of marks of the same time the last one."""
    for one in (mark(3, AT), mark(4, AT), mark(8, LATEST)):
        await writer.commit(Group(mark=one))
    assert await reader.mark_at(LATER) == mark(4, AT)
    assert await reader.mark_at(LATEST) == mark(8, LATEST)
    assert await reader.mark_at("2020") is None


async def test_first_and_last_following_are_known(writer: IndexWriter) -> None:
    """The first divides history from news; the last says what is followed."""
    starts = [StoredFollowing(n, AT, f"https://feed-{n}.example", since=n) for n in (2, 5, 9)]
    for start in starts:
        await writer.commit(Group(following=(start,)))
    assert await writer.following() == starts[0]
    assert await writer.last_following() == starts[-1]


async def test_everything_outlives_the_process(path: Path) -> None:
    """What was committed is there when the file is opened again."""
    async with await IndexWriter.open(path) as writer:
        await writer.receive_page(receipt(10), AT)
        await writer.commit(Group(mark=mark(2), checkpoint=position(5)))
        await writer.commit(captured("left-pad", 3, "1.0.0"))
    async with await IndexWriter.open(path) as writer:
        assert await writer.cursor() == 10
        assert await writer.checkpoint() == position(5)
        assert await writer.last_mark() == mark(2)
        assert await writer.known("left-pad") is not None


@pytest.mark.parametrize(
    ("packages", "dead_only", "woken"),
    [
        (None, True, {"a/dead", "b/dead"}),
        (None, False, {"a/dead", "b/dead", "a/waiting", "b/waiting"}),
        (["a", "never-met"], True, {"a/dead"}),
        (["a"], False, {"a/dead", "a/waiting"}),
    ],
)
async def test_retry_makes_rows_due(
    writer: IndexWriter,
    reader: IndexReader,
    packages: list[str] | None,
    dead_only: bool,
    woken: set[str],
) -> None:
    """Dead letters, or all rows that wait; of some packages, or of all."""
    rows = [
        work(package, item, not_before, attempts=5)
        for package in ("a", "b")
        for item, not_before in (("dead", None), ("due", AT), ("waiting", LATEST))
    ]
    await writer.commit(Group(work_put=tuple(rows)))
    assert await writer.retry(LATER, packages, dead_only=dead_only) == len(woken)
    found = [row for package in ("a", "b") for row in await reader.work_of(package)]
    fresh = {f"{row.package}/{row.item}" for row in found if row.attempts == 0}
    assert fresh == woken
    assert {row.not_before for row in found if row.attempts == 0} == {LATER}


async def test_giving_up_what_was_brought_forgets_note_and_rows_at_once(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """A kill between the two left rows that nobody could give up any more."""
    note = Resumption("backfill", AT, "{}")
    how = Bringing("backfill", "backfill", AT)
    await writer.bring([("a", None), ("b", None)], how, lambda _: note)
    assert await reader.resumption("backfill") == note
    assert await writer.withdraw("backfill") == 2
    assert await reader.resumption("backfill") is None
    assert await reader.work_left() == 0
