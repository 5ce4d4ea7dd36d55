"""What every buffer promises, as tests. Each kind of buffer runs them all by subclassing.

A subclass gives the fixture `place`: where one buffer lives, and how it is opened (again). What
Kafka's topics do is allowed: several partitions, order only among the changes of one package.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

import anyio
import pytest

from npmmirror.buffer.base import Buffer, Entry, Item, Position, Receipt
from npmmirror.change import Change

AT = "2026-11-20T10:00:00.123456Z"
SOURCE = "https://feed.example/registry"


class Place(Protocol):
    """Where a buffer lives."""

    async def open(self) -> Buffer:
        """The buffer that lives here, opened."""
        ...

    async def replace(self) -> None:
        """Destroy the closed buffer; the next one opened is made anew."""
        ...


class CopyingPlace(Place, Protocol):
    """A place whose closed buffer can be copied, and the copy put back."""

    async def save(self) -> None:
        """Copy it."""
        ...

    async def put_back(self) -> None:
        """Put the copy in its place."""
        ...


def changes(first: int, count: int, packages: int = 7) -> list[Change]:
    """So many changes from a seq on, spread over packages."""
    return [
        Change(seq, f"package-{seq % packages}", f"{seq}-abc", deleted=seq % 5 == 0)
        for seq in range(first, first + count)
    ]


async def append(buffer: Buffer, page: Sequence[Change]) -> Receipt:
    """Append a page; its receipt, with the seqs around it as cursors."""
    end, tail = await buffer.append(page, observed_at=AT, source=SOURCE)
    before, after = (page[0].seq, page[-1].seq) if page else (0, 0)
    return Receipt(before, after, end, tail)


async def drained(buffer: Buffer, position: Position, limit: int = 3) -> list[Entry]:
    """Every change behind a position, read in small pieces."""
    items: list[Item] = []
    while piece := await buffer.read(position, limit):
        assert len(piece) <= limit
        items += piece
        position = buffer.advance(position, piece)
    return [item for item in items if isinstance(item, Entry)]


def of(items: Iterable[Item]) -> list[Change]:
    """The changes among these items."""
    return [item.change for item in items if isinstance(item, Entry)]


def by_package(found: Iterable[Change]) -> dict[str, list[Change]]:
    """The changes of each package, in order."""
    sorted_out: dict[str, list[Change]] = defaultdict(list)
    for change in found:
        sorted_out[change.id].append(change)
    return sorted_out


class BufferContract:
    """Promises of `npmmirror.buffer.base.Buffer`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    async def buffer(self, place: Place) -> AsyncIterator[Buffer]:
        async with await place.open() as buffer:
            yield buffer

    async def test_new_buffer_is_empty(self, buffer: Buffer) -> None:
        """There is nothing between start and end."""
        start, end = await buffer.start(), await buffer.end()
        assert await buffer.read(start, 10) == []
        assert await buffer.depth(start) == 0
        assert buffer.covers(start, end)

    async def test_everything_appended_is_read_in_order_of_each_package(
        self, buffer: Buffer
    ) -> None:
        """No entry is lost, doubled or changed, whatever the pieces that are read."""
        start = await buffer.start()
        page = changes(1, 40)
        await append(buffer, page[:25])
        await append(buffer, page[25:])
        entries = await drained(buffer, start)
        assert by_package(of(entries)) == by_package(page)
        assert {(entry.observed_at, entry.source) for entry in entries} == {(AT, SOURCE)}

    async def test_odd_changes_come_back_as_they_were(self, buffer: Buffer) -> None:
        """Opaque seqs, missing revs, and names that no file system or encoding would take."""
        start = await buffer.start()
        odd = [
            Change("12-g1AAA", "@scope/name", None),
            Change(2, "_design/app", "1-a"),
            Change(3, "sur\ud800rogate", "1-\udfff"),
            Change(4, "nul\0 \n \U0001f600 'quoted\" %00 ..", "3-x", deleted=True),
            Change(2**70, "huge", "1-a"),
        ]
        await append(buffer, odd)
        entries = await drained(buffer, start)
        assert by_package(of(entries)) == by_package(odd)

    async def test_a_huge_seq_comes_back_as_it_was(self, buffer: Buffer) -> None:
        """Also where nothing else is odd: it was a float then, and an entry that is no change."""
        start = await buffer.start()
        await append(buffer, [Change(2**70, "huge", "1-a")])
        assert of(await buffer.read(start, 5)) == [Change(2**70, "huge", "1-a")]

    async def test_position_behind_all_that_was_read_is_the_end(self, buffer: Buffer) -> None:
        """`advance` over everything leads to the position that `append` gave."""
        start = await buffer.start()
        receipt = await append(buffer, changes(1, 20))
        position = buffer.advance(start, await buffer.read(start, 100))
        assert buffer.covers(position, receipt.end)
        assert buffer.covers(receipt.end, position)
        assert await buffer.depth(position) == 0

    async def test_advance_over_a_part_leads_to_the_rest(self, buffer: Buffer) -> None:
        """A position between two entries shows just what is behind it."""
        start = await buffer.start()
        await append(buffer, changes(1, 20))
        entries = await buffer.read(start, 100)
        for cut in (0, 1, 7, 20):
            position = buffer.advance(start, entries[:cut])
            rest = await drained(buffer, position)
            assert by_package(of(rest)) == by_package(of(entries[cut:]))
            assert await buffer.depth(position) == 20 - cut

    async def test_covers_orders_positions(self, buffer: Buffer) -> None:
        """A later end covers an earlier one, and not the other way round."""
        first = await append(buffer, changes(1, 7))
        second = await append(buffer, changes(8, 7))
        assert buffer.covers(second.end, first.end)
        assert not buffer.covers(first.end, second.end)

    async def test_empty_page_gives_the_end_and_its_tail(self, buffer: Buffer) -> None:
        """A page of the feed without rows has a receipt that holds as its predecessor's does."""
        filled = await append(buffer, changes(1, 7))
        empty = await append(buffer, [])
        assert (empty.end, empty.tail) == (filled.end, filled.tail)
        assert await buffer.holds(empty)

    async def test_wait_returns_when_something_is_appended(self, buffer: Buffer) -> None:
        """A reader at the end is woken by the next page, without polling."""
        end = await buffer.end()
        woken = anyio.Event()

        async def reader() -> None:
            await buffer.wait(end)
            woken.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader)
            await anyio.wait_all_tasks_blocked()
            assert not woken.is_set()
            await append(buffer, changes(1, 1))
            with anyio.fail_after(30):
                await woken.wait()

    async def test_wait_returns_at_once_where_something_is_there(self, buffer: Buffer) -> None:
        """An append between the last read and the wait is not missed."""
        end = await buffer.end()
        await append(buffer, changes(1, 1))
        with anyio.fail_after(30):
            await buffer.wait(end)

    async def test_trim_deletes_what_is_before_and_nothing_else(self, buffer: Buffer) -> None:
        """The count tells how many went; the rest is read as before."""
        start = await buffer.start()
        await append(buffer, changes(1, 20))
        entries = await buffer.read(start, 100)
        position = buffer.advance(start, entries[:8])
        assert await buffer.trim(position) == 8
        assert await buffer.trim(position) == 0
        rest = await drained(buffer, await buffer.start())
        assert by_package(of(rest)) == by_package(of(entries[8:]))
        assert await buffer.depth(await buffer.start()) == 12

    async def test_reading_before_the_start_reads_from_the_start(self, buffer: Buffer) -> None:
        """A position whose entries were trimmed shows what is left."""
        start = await buffer.start()
        await append(buffer, changes(1, 10))
        entries = await buffer.read(start, 100)
        await buffer.trim(buffer.advance(start, entries[:4]))
        assert len(await drained(buffer, start)) == 6
        assert await buffer.depth(start) == 6

    async def test_positions_are_not_used_again_after_a_trim_to_nothing(self, place: Place) -> None:
        """A checkpoint at the end stays right when rows come, even over a restart."""
        async with await place.open() as buffer:
            emptied = await append(buffer, changes(1, 10))
            await buffer.trim(emptied.end)
        async with await place.open() as buffer:
            later = await append(buffer, changes(11, 3))
            assert later.end != emptied.end
            assert len(await drained(buffer, emptied.end)) == 3
            assert await buffer.reaches(emptied.end)

    async def test_buffer_opened_again_is_the_same(self, place: Place) -> None:
        """Identity, entries and receipts outlive the process."""
        async with await place.open() as buffer:
            identity, start = buffer.identity, await buffer.start()
            receipt = await append(buffer, changes(1, 10))
        async with await place.open() as buffer:
            assert buffer.identity == identity
            assert len(await drained(buffer, start)) == 10
            assert await buffer.holds(receipt)
            assert await buffer.reaches(start)

    async def test_receipt_holds_while_its_page_is_there(self, buffer: Buffer) -> None:
        """Pages that come after do not matter."""
        receipts = [await append(buffer, changes(1 + 7 * n, 7)) for n in range(4)]
        assert [await buffer.holds(receipt) for receipt in receipts] == [True] * 4

    async def test_receipt_of_a_trimmed_page_still_holds(self, buffer: Buffer) -> None:
        """What was trimmed was finished: it is not lost."""
        receipt = await append(buffer, changes(1, 7))
        later = await append(buffer, changes(8, 7))
        await buffer.trim(later.end)
        assert await buffer.holds(receipt)
        assert await buffer.holds(later)

    async def test_receipt_with_another_tail_does_not_hold(self, buffer: Buffer) -> None:
        """Where other changes lie at the end of the page, it is not that page."""
        receipt = await append(buffer, changes(1, 10, packages=1))
        other = await append(buffer, changes(11, 10, packages=1))
        assert not await buffer.holds(Receipt(1, 10, receipt.end, other.tail))

    async def test_receipt_without_a_tail_is_held_against_the_end_alone(
        self, buffer: Buffer
    ) -> None:
        """Of a place that was noted without any page, only the position can be told."""
        await append(buffer, changes(1, 7))
        assert await buffer.holds(Receipt(None, 7, await buffer.end(), ""))

    async def test_buffer_made_anew_is_another_one(self, place: Place) -> None:
        """Positions and receipts of the one before mean nothing to it, and it says so."""
        async with await place.open() as buffer:
            identity, start = buffer.identity, await buffer.start()
            receipt = await append(buffer, changes(1, 10))
        await place.replace()
        async with await place.open() as buffer:
            again = await append(buffer, changes(1, 10))
            assert buffer.identity != identity
            assert not await buffer.holds(receipt)
            assert not await buffer.reaches(start)
            assert not buffer.covers(again.end, start)
            with pytest.raises(ValueError, match="another buffer"):
                await buffer.read(start, 10)

    async def test_position_whose_next_entries_were_trimmed_is_not_reached(
        self, buffer: Buffer
    ) -> None:
        """A buffer that lost its beginning lost changes that were not finished."""
        start = await buffer.start()
        await append(buffer, changes(1, 20, packages=1))
        entries = await buffer.read(start, 100)
        checkpoint = buffer.advance(start, entries[:5])
        assert await buffer.reaches(checkpoint)
        await buffer.trim(buffer.advance(start, entries[:10]))
        assert not await buffer.reaches(checkpoint)


class GoingBackContract:
    """What is noticed when an older copy of the buffer is put in its place."""

    pytestmark = pytest.mark.anyio

    async def test_lost_end_is_noticed(self, place: CopyingPlace) -> None:
        """Receipts behind the copy do not hold; those before it do."""
        async with await place.open() as buffer:
            kept = await append(buffer, changes(1, 10, packages=1))
        await place.save()
        async with await place.open() as buffer:
            lost = await append(buffer, changes(11, 10, packages=1))
        await place.put_back()
        async with await place.open() as buffer:
            assert await buffer.holds(kept)
            assert not await buffer.holds(lost)
            assert await buffer.reaches(kept.end)
            assert not await buffer.reaches(lost.end)

    @pytest.mark.parametrize("count", [10, 30])
    async def test_lost_end_is_noticed_when_others_lie_in_its_place(
        self, place: CopyingPlace, count: int
    ) -> None:
        """New rows at the same positions do not make an old receipt hold."""
        await place.save()
        async with await place.open() as buffer:
            lost = await append(buffer, changes(1, 10, packages=1))
        await place.put_back()
        async with await place.open() as buffer:
            await append(buffer, changes(101, count, packages=1))
            assert not await buffer.holds(lost)
