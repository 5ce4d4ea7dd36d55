"""How long versions take from their publication until they are held. Steps of a transaction.

What is counted is kept in buckets whose bounds are 2 ** (1 / 8) apart, so that a quantile is within
4.5 % of the true one however many versions there are, and is asked of some thousand rows.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from npmmirror.clock import moment
from npmmirror.effects import Event, EventKind
from npmmirror.index import bookkeeping, statements
from npmmirror.index.group import Group
from npmmirror.index.rows import Batches, cleaned
from npmmirror.packument import instant
from npmmirror.sqlite import Batch, Row, Transaction, listed

Leg = Literal["announced", "observed", "captured", "held", "until_captured", "until_held"]
"""`announced`: from the publication until the follower saw the change. `observed`: from then until
the document was fetched. `captured`, `held`: from then until the document, or the tarball, was
durable. `until_captured`, `until_held`: from the publication until then."""
LEGS: Final[tuple[Leg, ...]] = (
    *("announced", "observed", "captured", "held"),
    *("until_captured", "until_held"),
)
KEPT: Final = timedelta(days=9)
KEYS_EACH: Final = 500

_STEPS: Final = 8
"""Buckets within a doubling."""
_SMALLEST: Final = 0.001
_HOUR: Final = len("2026-11-20T10")

_WAITING: Final = """
SELECT l.package_id, l.version, k.column3, l.published_at, r.observed_at
FROM (VALUES {list}) AS k
CROSS JOIN latencies AS l ON l.package_id = k.column1 AND l.version = k.column2
CROSS JOIN revisions AS r ON r.ordinal = l.document
WHERE l.tarball IS NULL
"""
_OF_PACKAGE: Final = """
SELECT l.published_at, r.announced_at, r.observed_at,
    (SELECT committed_at FROM marks WHERE ordinal > l.document ORDER BY ordinal LIMIT 1),
    (SELECT committed_at FROM marks WHERE ordinal > l.tarball ORDER BY ordinal LIMIT 1)
FROM latencies AS l JOIN revisions AS r ON r.ordinal = l.document WHERE l.package_id = ?
"""
_LESS: Final = (
    "UPDATE latency_counts SET number = number - ?4 WHERE hour = ?1 AND leg = ?2 AND bucket = ?3"
)
_COUNTS: Final = (
    "SELECT leg, bucket, sum(number) FROM latency_counts WHERE hour >= ? "
    "GROUP BY leg, bucket ORDER BY leg, bucket"
)

Counts = Counter[tuple[str, Leg, int]]
Put = Callable[[Batch, Iterable[Row]], Awaitable[int]]


def bucket_of(seconds: float) -> int:
    """The bucket of a time; clocks may differ, so that it may seem to be less than nothing."""
    if seconds < _SMALLEST:
        return 0
    return 1 + math.floor(_STEPS * math.log2(seconds / _SMALLEST))


def seconds_of(bucket: int) -> float:
    """The time in the middle of a bucket, by its logarithm."""
    return 0.0 if bucket == 0 else _SMALLEST * math.exp2((bucket - 0.5) / _STEPS)


class _Marks:
    """When the records of a group became durable: at the first mark behind each."""

    def __init__(self, group: Group) -> None:
        last = () if group.mark is None else (group.mark,)
        self._marks = (*group.earlier_marks, *last)
        self._ordinals = [mark.ordinal for mark in self._marks]
        self.newest = self._marks[-1].committed_at if self._marks else None

    def behind(self, ordinal: int) -> str | None:
        """The time of the mark; None where it is lost."""
        place = bisect_right(self._ordinals, ordinal)
        return self._marks[place].committed_at if place < len(self._marks) else None


async def put(now: Transaction, batches: Batches, put_rows: Put) -> None:
    """Note what a group brought of versions that were published since following began."""
    marks, counts = _Marks(batches.group), Counts()
    since = await _following_since(now, batches.group)
    if since is not None:
        rows = [*_captured(batches, marks, since, counts)]
        await put_rows(statements.LATENCY, rows)
    await put_rows(statements.LATENCY_HELD, await _held(now, batches, marks, counts))
    rows_of = [(*key, number) for key, number in sorted(counts.items())]
    await put_rows(statements.LATENCY_COUNT, rows_of)
    if marks.newest is not None:
        oldest = _hour(moment(marks.newest) - KEPT)
        await now.run("DELETE FROM latency_counts WHERE hour < ?", (oldest,))


async def _following_since(now: Transaction, group: Group) -> datetime | None:
    first = await bookkeeping.first_following(now)
    starts = [start.at for start in (first, *group.following) if start is not None]
    return moment(min(starts)) if starts else None


def _captured(batches: Batches, marks: _Marks, since: datetime, counts: Counts) -> Iterator[Row]:
    for doc, effects in batches.compared:
        for event in effects.events:
            published = _published(event)
            if published is not None and published >= since:
                yield batches.packages[doc.name].id, event.version, event.happened_at, doc.ordinal
                if (at := marks.behind(doc.ordinal)) is not None:
                    counts.update(_of_document(_Way(published, doc.announced_at, doc.at), at))


def _published(event: Event) -> datetime | None:
    """When a version was published that was not there before; None for any other event."""
    if event.kind is not EventKind.VERSION_PUBLISHED or event.detail.get("returned"):
        return None
    return instant(event.happened_at)


@dataclass(frozen=True, slots=True)
class _Way:
    """How far a version came before it was durable."""

    published: datetime
    announced_at: str | None
    observed_at: str


def _of_document(way: _Way, committed_at: str) -> Iterator[tuple[str, Leg, int]]:
    hour, committed, observed = committed_at[:_HOUR], moment(committed_at), moment(way.observed_at)
    if way.announced_at is not None:
        announced = moment(way.announced_at)
        yield hour, "announced", _bucket(way.published, announced)
        yield hour, "observed", _bucket(announced, observed)
    yield hour, "captured", _bucket(observed, committed)
    yield hour, "until_captured", _bucket(way.published, committed)


def _of_tarball(way: _Way, committed_at: str) -> Iterator[tuple[str, Leg, int]]:
    hour, committed = committed_at[:_HOUR], moment(committed_at)
    yield hour, "held", _bucket(moment(way.observed_at), committed)
    yield hour, "until_held", _bucket(way.published, committed)


async def _held(now: Transaction, batches: Batches, marks: _Marks, counts: Counts) -> list[Row]:
    """The files of such versions that are held for the first time."""
    keys = [
        cleaned((batches.packages[tarball.name].id, tarball.version, tarball.ordinal))
        for tarball in batches.group.tarballs
    ]
    rows: list[Row] = []
    for start in range(0, len(keys), KEYS_EACH):
        rows += await _waiting(now, keys[start : start + KEYS_EACH])
    for _, _, ordinal, published_at, observed_at in rows:
        published, at = instant(published_at), marks.behind(ordinal)
        if published is not None and at is not None:
            counts.update(_of_tarball(_Way(published, None, observed_at), at))
    return [row[:3] for row in rows]


async def _waiting(now: Transaction, keys: Sequence[Row]) -> list[Row]:
    values: list[Any] = [value for key in keys for value in key]
    return await now.rows(listed(_WAITING, len(keys), "(?, ?, ?)"), values)


def _bucket(earlier: datetime, later: datetime) -> int:
    return bucket_of((later - earlier).total_seconds())


def _hour(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H")


async def take_out(now: Transaction, package: int) -> None:
    """Forget what a package took; its documents are being erased."""
    counts = Counts()
    for published_at, announced_at, observed_at, captured_at, held_at in await now.rows(
        _OF_PACKAGE, (package,)
    ):
        published = instant(published_at)
        if published is None:
            continue
        way = _Way(published, announced_at, observed_at)
        counts.update(_of_document(way, captured_at) if captured_at is not None else ())
        counts.update(_of_tarball(way, held_at) if held_at is not None else ())
    await now.run_many(_LESS, [(*key, number) for key, number in counts.items()])
    await now.run("DELETE FROM latency_counts WHERE number <= 0")
    await now.run("DELETE FROM latencies WHERE package_id = ?", (package,))


async def counts_since(now: Transaction, since: datetime) -> dict[str, list[tuple[int, int]]]:
    """How many versions are in which bucket, by leg, of the hours from `since` on."""
    found: dict[str, list[tuple[int, int]]] = {leg: [] for leg in LEGS}
    for leg, bucket, number in await now.rows(_COUNTS, (_hour(since),)):
        found[leg].append((bucket, number))
    return found


def quantile(counts: Sequence[tuple[int, int]], share: float) -> float | None:
    """The time, in seconds, that this share of the versions did not take longer than.

    `counts` are in the order of their buckets; None where there are none.
    """
    wanted = math.ceil(share * sum(number for _, number in counts))
    for bucket, number in counts:
        wanted -= number
        if wanted <= 0:
            return seconds_of(bucket)
    return None
