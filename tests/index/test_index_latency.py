"""How long versions take: what is counted, in what buckets, and what a quantile is worth."""

import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from npmmirror.clock import timestamp
from npmmirror.effects import Event, EventKind
from npmmirror.index import (
    Group,
    IndexReader,
    IndexWriter,
    Mark,
    StoredDocument,
    StoredErasure,
    StoredFollowing,
    latency,
)
from tests.index.building import document, effects, mark, tarball

pytestmark = pytest.mark.anyio

BEGAN = datetime(2026, 11, 20, 10, tzinfo=UTC)


def at(seconds: float) -> str:
    """So long after following began."""
    return timestamp(BEGAN + timedelta(seconds=seconds))


def published(*versions: str, seconds: float = 100) -> StoredDocument:
    """A document that first names versions, 20 s after they were published, announced after 5."""
    events = tuple(
        Event(EventKind.VERSION_PUBLISHED, version=each, happened_at=at(seconds))
        for each in versions
    )
    told = document("left-pad", 10, effects(*versions, events=events))
    return replace(told, at=at(seconds + 20), announced_at=at(seconds + 5))


def sealed(ordinal: int, seconds: float) -> Mark:
    return mark(ordinal, at(seconds))


FOLLOWED = Group(following=(StoredFollowing(2, at(0), "feed"),), mark=sealed(3, 0))


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as index:
        return index.execute(sql).fetchall()


async def quantiles(reader: IndexReader, since: float = 0) -> dict[str, float | None]:
    """The medians of the legs that anything is counted of."""
    counts = await reader.ask(partial(latency.counts_since, since=BEGAN + timedelta(seconds=since)))
    return {leg: latency.quantile(found, 0.5) for leg, found in counts.items() if found}


def close_to(seconds: float) -> object:
    return pytest.approx(seconds, rel=0.045)


@given(st.lists(st.floats(0.001, 1e8), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_within_the_stated_error(times: list[float], share: float) -> None:
    """Of the true one, whatever the times."""
    counts: dict[int, int] = {}
    for each in times:
        bucket = latency.bucket_of(each)
        counts[bucket] = counts.get(bucket, 0) + 1
    found = latency.quantile(sorted(counts.items()), share)
    true = sorted(times)[math.ceil(share * len(times)) - 1]
    assert found == pytest.approx(true, rel=0.045)


def test_of_nothing_there_is_no_quantile() -> None:
    """And what clocks make less than nothing counts as nothing."""
    assert latency.quantile([], 0.5) is None
    assert latency.quantile([(latency.bucket_of(-3), 1)], 0.99) == 0


async def test_each_leg_is_counted(writer: IndexWriter, reader: IndexReader, path: Path) -> None:
    """From the publication over announcement and fetch to document and tarball."""
    await writer.commit(FOLLOWED)
    group = Group(documents=(published("1.0.0"),), mark=sealed(11, 121))
    await writer.commit(group)
    assert await quantiles(reader) == {
        "announced": close_to(5),
        "observed": close_to(15),
        "captured": close_to(1),
        "until_captured": close_to(21),
    }
    await writer.commit(Group(tarballs=(tarball("left-pad", "1.0.0", 12),), mark=sealed(13, 130)))
    found = await quantiles(reader)
    assert (found["held"], found["until_held"]) == (close_to(10), close_to(30))
    assert rows(path, "SELECT * FROM capture_latencies") == [
        ("left-pad", "1.0.0", at(100), at(105), at(120), at(121), at(130))
    ]


async def test_a_file_that_is_fetched_again_counts_once(
    writer: IndexWriter, reader: IndexReader
) -> None:
    """When it was first held is what matters."""
    await writer.commit(FOLLOWED)
    first = Group((published("1.0.0"),), tarballs=(tarball("left-pad", "1.0.0", 11),))
    await writer.commit(replace(first, mark=sealed(12, 121)))
    again = Group(tarballs=(tarball("left-pad", "1.0.0", 13),), mark=sealed(14, 90_000))
    await writer.commit(again)
    assert (await quantiles(reader))["until_held"] == close_to(21)


@pytest.mark.parametrize("seconds", [-1.0, -1e6])
async def test_what_was_published_before_following_is_no_latency(
    writer: IndexWriter, path: Path, seconds: float
) -> None:
    """Nor is anything where nothing is followed."""
    group = Group(documents=(published("1.0.0", seconds=seconds),), mark=sealed(11, 121))
    await writer.commit(FOLLOWED)
    await writer.commit(group)
    assert rows(path, "SELECT * FROM latencies") == []
    assert rows(path, "SELECT * FROM latency_counts") == []


async def test_a_version_that_came_back_is_no_latency(writer: IndexWriter, path: Path) -> None:
    """It was published when it was first there."""
    back = Event(
        EventKind.VERSION_PUBLISHED,
        version="1.0.0",
        happened_at=at(100),
        detail={"returned": True, "bytes_changed": False},
    )
    await writer.commit(FOLLOWED)
    told = replace(published(), effects=effects("1.0.0", events=(back,)))
    await writer.commit(Group(documents=(told,), mark=sealed(11, 121)))
    assert rows(path, "SELECT * FROM latencies") == []


async def test_hours_that_nobody_asks_for_are_forgotten(
    writer: IndexWriter, reader: IndexReader, path: Path
) -> None:
    """The times of each version stay."""
    await writer.commit(FOLLOWED)
    await writer.commit(Group(documents=(published("1.0.0"),), mark=sealed(11, 121)))
    assert await quantiles(reader, since=7200) == {}
    await writer.commit(Group(mark=sealed(20, 10 * 86_400)))
    assert rows(path, "SELECT * FROM latency_counts") == []
    assert len(rows(path, "SELECT * FROM latencies")) == 1


async def test_an_erased_package_leaves_the_counts_as_if_it_had_never_been(
    writer: IndexWriter, path: Path
) -> None:
    """So that an index made anew of the log has the same."""
    await writer.commit(FOLLOWED)
    other = replace(published("1.0.0"), name="other", ordinal=20)
    await writer.commit(Group(documents=(other,), mark=sealed(21, 125)))
    before = rows(path, "SELECT * FROM latency_counts")
    group = Group((published("1.0.0", "2.0.0"),), tarballs=(tarball("left-pad", "1.0.0", 31),))
    group = replace(group, documents=(replace(group.documents[0], ordinal=30),))
    await writer.commit(replace(group, mark=sealed(32, 140)))
    assert rows(path, "SELECT * FROM latency_counts") != before
    await writer.commit(
        Group(erasures=(StoredErasure("left-pad", 40, at(200)),), mark=sealed(41, 200))
    )
    assert rows(path, "SELECT * FROM latency_counts") == before
    assert len(rows(path, "SELECT * FROM latencies")) == 1
