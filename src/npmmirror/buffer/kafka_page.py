"""A page of the feed as batches of records, one after the other in each partition."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from npmmirror.buffer import kafka_records as records
from npmmirror.buffer.set_aside import Odd
from npmmirror.change import Change
from npmmirror.clock import moment


@dataclass(frozen=True, slots=True)
class Page:
    """The batches of a page, by partition in their order, and what lies last in each partition."""

    batches: dict[int, list[Any]]
    tails: dict[int, Any]
    odd: list[Odd]


def as_batches(
    make: Callable[[], Any],
    changes: Sequence[Change],
    observed_at: str,
    source: str,
    partitions: int,
) -> Page:
    """A page as batches. Done in a thread: ten thousand records take some 100 ms."""
    page = Page({}, {}, [])
    milliseconds = int(moment(observed_at).timestamp() * 1000)
    for change in changes:
        key, value = records.key_of(change), records.encode(change, observed_at, source)
        if len(key) + len(value) > records.MOST_BYTES:
            page.odd.append(_too_large(change, key, value))
            continue
        partition = records.partition_of(key, partitions)
        batches = page.batches.setdefault(partition, [])
        if not batches or not _fits(batches[-1], milliseconds, key, value):
            batches.append(make())
            _fits(batches[-1], milliseconds, key, value)
        page.tails[partition] = records.tail_of_change(change)
    return page


def _fits(batch: Any, milliseconds: int, key: bytes, value: bytes) -> bool:
    """Put a record into a batch; False where it is full. The first one always fits."""
    headers = list(records.HEADERS)
    added = batch.append(timestamp=milliseconds, key=key, value=value, headers=headers)
    return added is not None


def _too_large(change: Change, key: bytes, value: bytes) -> Odd:
    name = f"feed-{hashlib.sha256(value).hexdigest()[:16]}"
    why = f"it is larger than {records.MOST_BYTES} bytes"
    return Odd(name, f"the feed at seq {str(change.seq)[:100]}", why, key, value)
