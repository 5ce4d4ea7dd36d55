"""Removals that are held, and what is gone, as the index keeps them."""

from dataclasses import replace
from pathlib import Path

import pytest

from npmmirror.index import Group, HeldRemoval, IndexReader, IndexWriter, StoredErasure
from tests.index.building import AT, LATER, captured, effects, facts, gone, mark, tarball, work

pytestmark = pytest.mark.anyio

EVIDENCE = {"status": 404, "answers": 3, "first_at": AT}


def held(*names: str) -> Group:
    """A group that holds removals."""
    return Group(held=tuple(HeldRemoval(name, AT, EVIDENCE, seq=7) for name in names))


async def names_held(reader: IndexReader) -> list[str]:
    """The packages whose removal is held."""
    return [row.name for _, row, _ in await reader.removals.held(0, 100)]


async def test_what_is_held_is_there_with_what_we_have(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Evidence, seq, versions, tarballs and their bytes."""
    await writer.commit(captured("a", 1, "1.0.0", "1.1.0"))
    await writer.commit(Group(tarballs=(tarball("a", "1.0.0", 2),)))
    await writer.commit(held("a"))
    [(_, row, holdings)] = await reader.removals.held(0, 100)
    assert row == HeldRemoval("a", AT, EVIDENCE, seq=7)
    assert (holdings.versions, holdings.tarballs, holdings.tarball_bytes) == (2, 1, 1000)
    assert holdings.revisions == 1
    assert await reader.removals.of("a") == row
    assert await reader.removals.of("b") is None
    assert await reader.removals.tripped() == (True, 1)
    standing = await reader.removals.standing()
    assert (standing.held, standing.held_since, standing.live) == (1, AT, 1)


async def test_it_keeps_its_first_time_and_its_newest_evidence(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """A package that is asked for again."""
    await writer.commit(captured("a", 1, "1.0.0"))
    await writer.commit(held("a"))
    newer = {**EVIDENCE, "answers": 4}
    await writer.commit(Group(held=(HeldRemoval("a", LATER, newer),)))
    assert await reader.removals.of("a") == HeldRemoval("a", AT, newer)


@pytest.mark.parametrize(
    "group",
    [
        Group(gone=(gone("a", 2),)),
        captured("a", 2, "1.1.0"),
        Group(unheld=("a",)),
        Group(erasures=(StoredErasure("a", 2, LATER),)),
    ],
    ids=["gone", "document", "unheld", "erased"],
)
async def test_what_ends_it(writer: IndexWriter, reader: IndexReader, group: Group) -> None:
    """The record, a document, a word to the contrary, an erasure; others stay."""
    for ordinal, name in enumerate(("a", "b"), start=10):
        await writer.commit(captured(name, ordinal, "1.0.0"))
    await writer.commit(held("a", "b"))
    await writer.commit(group)
    assert await names_held(reader) == ["b"]


async def test_a_decision_is_kept_once_nothing_is_left(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """Removals before the last one do not count any more."""
    for ordinal, name in enumerate(("a", "b"), start=1):
        await writer.commit(captured(name, ordinal, "1.0.0"))
    await writer.commit(held("a", "b"))
    await writer.commit(Group(unheld=("a",), decided_at=AT))
    assert (await reader.removals.standing()).decided_at is None
    await writer.commit(Group(unheld=("b",), decided_at=LATER))
    assert (await reader.removals.standing()).decided_at == LATER


async def test_what_is_gone_is_listed_by_time(writer: IndexWriter, reader: IndexReader) -> None:
    """In pages, all of it or one state, with what was said of it."""
    for ordinal, name in enumerate("abcd", start=1):
        await writer.commit(captured(name, ordinal, "1.0.0"))
    for ordinal, name in enumerate("cab", start=10):
        at = f"2026-11-20T1{ordinal - 10}:00:00.000000Z"
        await writer.commit(Group(gone=(replace(gone(name, ordinal), at=at),)))
    unpublished = replace(effects(), package=facts("unpublished"))
    group = captured("d", 20)
    await writer.commit(
        replace(group, documents=(replace(group.documents[0], effects=unpublished),))
    )
    first = await reader.removals.gone(("", 0), 2)
    rest = await reader.removals.gone(first[-1].place, 100)
    found = [row.name for row in (*first, *rest)]
    assert sorted(found) == ["a", "b", "c", "d"]
    assert [name for name in found if name != "d"] == ["c", "a", "b"]
    [only] = await reader.removals.gone(("", 0), 100, "unpublished")
    assert (only.name, only.happened_at, only.detail) == ("d", None, {})
    counts = await reader.removals.since("2026-11-20T10:30:00.000000Z")
    assert counts == [("2026-11-20T11:00", 1), ("2026-11-20T12:00", 1)]


async def test_what_is_on_the_way_is_listed(writer: IndexWriter, reader: IndexReader) -> None:
    """Packages that were captured and were not there; no others."""
    await writer.commit(captured("a", 1, "1.0.0"))
    await writer.commit(captured("b", 2, "1.0.0"))
    rows = (
        work("a", reason="not_found", attempts=2),
        work("b", reason="http_500"),
        work("never", reason="not_found"),
        work("b", "1.0.0", reason="not_found"),
    )
    await writer.commit(Group(work_put=rows))
    [(_, row)] = await reader.removals.confirming(0, 100)
    assert row == rows[0]


async def test_a_rebuilt_index_takes_over_what_is_held(path: Path, tmp_path: Path) -> None:
    """But for packages of which the log tells something newer."""
    async with await IndexWriter.open(path) as before:
        for ordinal, name in enumerate(("a", "b", "c"), start=1):
            await before.commit(captured(name, ordinal, "1.0.0"))
        await before.commit(held("a", "b", "c"))
        await before.commit(Group(mark=mark(4)))
    other = tmp_path / "new.db"
    async with await IndexWriter.open(other) as new, await IndexReader.open(other) as reader:
        for ordinal, name in enumerate(("c", "b", "a"), start=1):
            known = {"c": 3, "b": 2, "a": 1}[name]
            del ordinal
            await new.commit(captured(name, known, "1.0.0"))
        await new.commit(captured("b", 9, "1.1.0"))
        await new.commit(Group(gone=(gone("c", 10),)))
        await new.carry(path)
        assert await names_held(reader) == ["a"]


async def test_the_queries_use_their_indices(writer: IndexWriter, reader: IndexReader) -> None:
    """Neither a list nor the window reads all packages."""
    del writer
    from npmmirror.index import removals  # noqa: PLC0415 - its statements alone

    async with reader._query() as now:
        for sql, values in (
            (removals._REMOVED_SINCE, (AT,)),
            (removals._PACKAGES_GONE, (None, "", 0, 10)),
            (removals._CONFIRMING, (0, 10)),
        ):
            plan = await now.rows(f"EXPLAIN QUERY PLAN {sql}", values)
            told = " ".join(str(row[-1]) for row in plan)
            assert "packages_gone" in told or "work_failed" in told, told
            assert "SCAN packages\b" not in told
            assert "SCAN p " not in f"{told} ", told
