"""What is noted of the feed: cursors with their times, and heads that fell."""

import pytest

from npmmirror.index import IndexReader, IndexWriter, Regression, Resumption, SeenCursor
from npmmirror.receipt import Position, Receipt
from tests.index.building import AT, LATER, LATEST

pytestmark = pytest.mark.anyio

END = Position("b", "7")


async def test_places_are_remembered_in_their_order(writer: IndexWriter) -> None:
    """Numbers and opaque texts alike, lone surrogates included."""
    notes = writer.feed_notes
    places = [SeenCursor(1, AT, 12, 0), SeenCursor(2, LATER, "13-g1AAA", 3)]
    for place in places:
        await notes.remember(place)
    await notes.remember(SeenCursor(3, LATEST, "14-\ud800", 1))
    found = await notes.cursors()
    assert found[:2] == places
    await notes.forget_before(3)
    assert [seen.number for seen in await notes.cursors()] == [3]


async def test_of_very_many_places_the_oldest_are_forgotten(writer: IndexWriter) -> None:
    """The table stays small whatever the feed does."""
    await writer.feed_notes.remember(SeenCursor(1, AT, 1, 0))
    await writer.feed_notes.remember(SeenCursor(5001, LATER, 2, 0))
    assert [seen.number for seen in await writer.feed_notes.cursors()] == [5001]


async def test_a_way_back_forgets_what_was_seen_behind_it(writer: IndexWriter) -> None:
    """What is read again lies in no window until it was read."""
    number = await writer.receive_page(Receipt(0, 10, END, ""), LATER)
    for place in (
        SeenCursor(1, AT, 5, 0),
        SeenCursor(2, LATER, 10, 0),
        SeenCursor(3, LATEST, 20, 0),
    ):
        await writer.feed_notes.remember(place)
    await writer.rewind(10, END, number)
    assert [seen.cursor for seen in await writer.feed_notes.cursors()] == [5, 10]
    await writer.rewind(0, END, None)
    assert await writer.feed_notes.cursors() == []


async def test_a_fallen_head_is_taken_with_all_that_belongs_to_it(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Cursor, receipts and window are those of the new head, the checkpoint stays."""
    await writer.rewind(0, END, None)
    await writer.receive_page(Receipt(0, 10, END, "x"), AT)
    await writer.feed_notes.remember(SeenCursor(1, AT, 10, 0))
    await writer.note_resumption(Resumption("reconcile", AT, "half way"))
    fallen = Regression(LATER, 10, 4)
    await writer.feed_notes.take_head(fallen, Receipt(4, 4, Position("b", "9"), ""))
    assert await writer.cursor() == 4
    assert await writer.checkpoint() == END
    [kept] = await writer.receipts()
    assert kept.receipt == Receipt(4, 4, Position("b", "9"), "")
    assert await writer.feed_notes.cursors() == []
    assert await writer.resumption("reconcile") == Resumption("reconcile", LATER, "")
    assert (await reader.status()).regression == fallen
