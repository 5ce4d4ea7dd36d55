"""What the index tells of a moment of the past."""

from dataclasses import replace
from functools import partial

import pytest

from npmmirror.index import Group, IndexReader, IndexWriter, StoredErasure
from npmmirror.index.past import PastPackage, bound, package_at, revision
from npmmirror.past import AtOrdinal, AtTime, Bound, Outside, When
from tests.index.building import AT, LATER, LATEST, captured, document, gone, mark

pytestmark = pytest.mark.anyio

BETWEEN = "2026-11-20T10:30:00.000000Z"


async def told(reader: IndexReader, when: When) -> Bound | Outside:
    """What is meant by a moment."""
    return await reader.ask(partial(bound, when=when))


async def at(reader: IndexReader, ordinal: int, name: str = "a") -> PastPackage | None:
    """A package at an ordinal."""
    return await reader.ask(partial(package_at, name=name, ordinal=ordinal))


async def captured_thrice(writer: IndexWriter) -> None:
    """A group without documents, one at 10 and one at 11 o'clock, in which `a` is at 3 and 5."""
    await writer.commit(Group(mark=mark(2, "2026-11-20T09:00:00.000000Z")))
    await writer.commit(replace(captured("a", 3, "1.0.0"), mark=mark(4, AT)))
    await writer.commit(replace(captured("a", 5, "2.0.0"), mark=mark(6, LATER)))


async def test_a_time_means_the_newest_mark_before_it(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Or that of just that time."""
    await captured_thrice(writer)
    await writer.commit(Group(mark=mark(7, LATEST)))
    assert await told(reader, AtTime(AT)) == Bound(4, AT)
    assert await told(reader, AtTime(BETWEEN)) == Bound(4, AT)
    assert await told(reader, AtTime(LATER)) == Bound(6, LATER)


async def test_of_marks_with_the_same_time_the_last_is_meant(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """The clock went back: a mark has the time of the one before. Until a later one, none is told."""
    await captured_thrice(writer)
    assert isinstance(await told(reader, AtTime(LATER)), Outside)
    await writer.commit(replace(captured("a", 7, "3.0.0"), mark=mark(8, LATER)))
    assert isinstance(await told(reader, AtTime(LATER)), Outside)
    await writer.commit(Group(mark=mark(9, LATEST)))
    assert await told(reader, AtTime(LATER)) == Bound(8, LATER)


async def test_an_ordinal_means_itself(writer: IndexWriter, reader: IndexReader) -> None:
    """In the midst of a group too; its time is that of the mark behind it."""
    await captured_thrice(writer)
    assert await told(reader, AtOrdinal(3)) == Bound(3, AT)
    assert await told(reader, AtOrdinal(6)) == Bound(6, LATER)


async def test_what_is_not_past_or_before_all_captures_is_refused(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """With what there is instead."""
    assert await told(reader, AtOrdinal(1)) == Outside(AtOrdinal(1), None, None)
    await captured_thrice(writer)
    last = Bound(6, LATER)
    for when in (AtOrdinal(7), AtOrdinal(2), AtTime(LATEST), AtTime("2026-11-20T09:59:59")):
        assert await told(reader, when) == Outside(when, AT, last)


async def test_a_package_is_told_by_its_newest_document_then(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Whatever came behind it; stale ones do not count."""
    await captured_thrice(writer)
    await writer.commit(Group(documents=(document("a", 7, None),), mark=mark(8, LATEST)))
    found = [await at(reader, ordinal) for ordinal in (2, 3, 4, 5, 8)]
    assert [each and each.revision.ordinal for each in found] == [None, 3, 3, 5, 5]
    assert await at(reader, 8, "b") is None
    one = await reader.ask(partial(revision, ordinal=7))
    assert one is not None
    assert (one[0], one[1].stale, one[2]) == ("a", True, False)
    assert await reader.ask(partial(revision, ordinal=6)) is None


async def test_a_removal_counts_until_the_next_document(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Before it the package is there, behind it not, and then again."""
    await captured_thrice(writer)
    await writer.commit(Group(gone=(gone("a", 7),), mark=mark(8, LATER)))
    await writer.commit(replace(captured("a", 9, "2.0.0"), mark=mark(10, LATEST)))
    await writer.commit(Group(gone=(gone("a", 11),), mark=mark(12, LATEST)))
    found = [await at(reader, ordinal) for ordinal in (6, 7, 8, 9, 10, 11)]
    assert [each and each.removed for each in found] == [None, 7, 7, None, None, 11]
    assert [each and each.revision.ordinal for each in found] == [5, 5, 5, 9, 9, 9]


async def test_what_was_erased_is_told_as_such(writer: IndexWriter, reader: IndexReader) -> None:
    """Of every moment before; a document that came since is there."""
    await captured_thrice(writer)
    await writer.commit(Group(documents=(document("a", 7, None),), mark=mark(8, LATER)))
    await writer.commit(Group(erasures=(StoredErasure("a", 9, LATER),), mark=mark(10, LATER)))
    await writer.commit(replace(captured("a", 11, "2.0.0"), mark=mark(12, LATEST)))
    found = [await at(reader, ordinal) for ordinal in (3, 6, 10, 11)]
    assert [each and each.erased for each in found] == [True, True, True, False]


async def test_all_is_looked_up_along_an_index(writer: IndexWriter, reader: IndexReader) -> None:
    """However many revisions and events there are: nothing scans a table."""
    from npmmirror.index import past  # noqa: PLC0415 - its statements are looked at here alone

    await captured_thrice(writer)
    async with reader._query() as now:
        for sql in (past._REVISION, past._REMOVED, past._FIRST, past._MARK_BEHIND):
            plan = await now.rows(f"EXPLAIN QUERY PLAN {sql}", (1,) * sql.count("?"))
            assert all("SEARCH" in row[3] or "SCALAR" in row[3] for row in plan), plan
