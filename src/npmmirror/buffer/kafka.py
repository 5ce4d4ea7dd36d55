"""The buffer on Apache Kafka: a topic, whose positions are an offset for each partition."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any, Self

import anyio
import structlog
from aiokafka.errors import KafkaError

from npmmirror.buffer import kafka_records as records
from npmmirror.buffer.base import (
    BufferUnavailableError,
    Entry,
    Gap,
    Item,
    Position,
    Receipt,
)
from npmmirror.buffer.kafka_link import Link
from npmmirror.buffer.kafka_page import Page, as_batches
from npmmirror.buffer.kafka_protocol import Topic
from npmmirror.buffer.kafka_records import ForeignRecordError
from npmmirror.buffer.kafka_session import Record, Session, tail_of
from npmmirror.buffer.set_aside import MOST, Odd, SetAside
from npmmirror.change import Change
from npmmirror.clock import timestamp
from npmmirror.config import KafkaSection

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What a topic is, and where its partitions begin and end; `group` is None where never told."""

    topic: Topic
    starts: list[int]
    ends: list[int]
    group: list[int | None]
    configuration: dict[str, str]


class KafkaBuffer:
    """A `Buffer` in a topic. It connects when it is first used, and again after each failure.

    The mirror is the only one that writes to the topic and that deletes of it. Where the topic
    differs from what was acknowledged, every call raises `BufferChangedError` until `refresh`.

    Args:
        section: the topic, and how its brokers are reached.
        security: see `connection_options`.
        aside: where records go that are no changes; None where they are passed and not told.
        now: the time, in UTC.
        create: whether a topic that is not there is created.
    """

    def __init__(
        self,
        section: KafkaSection,
        security: Mapping[str, Any],
        aside: SetAside | None,
        now: Callable[[], datetime],
        *,
        create: bool = True,
    ) -> None:
        self._section = section
        self._link = Link(section, security, create=create)
        self._aside = aside
        self._now = now
        self._flooded = False
        self._appended = anyio.Event()

    @property
    def identity(self) -> str:
        """See `Buffer.identity`: the cluster, the topic's name, and the id that it was given."""
        topic = self._link.topic
        return f"kafka:{topic.cluster}:{self._section.topic}:{topic.id}"

    async def refresh(self) -> None:
        """See `Buffer.refresh`. A topic that is not there is created."""
        await self._link.renew()

    async def append(
        self, changes: Sequence[Change], *, observed_at: str, source: str
    ) -> tuple[Position, str]:
        """See `Buffer.append`. What is too large for a record is set aside."""
        if changes:
            await self._append(changes, observed_at, source)
        return await self.end(), json.dumps(self._link.extent.tails)

    async def _append(self, changes: Sequence[Change], observed_at: str, source: str) -> None:
        async with self._link.asking() as session:
            make = session.producer.create_batch
            page = await anyio.to_thread.run_sync(
                as_batches, make, changes, observed_at, source, session.topic.partitions
            )
            for odd in page.odd:
                await self._set_aside(odd)
            try:
                ends = await self._sent(session, page)
            except BaseException:
                # Of a part of the page nobody knows whether it is there.
                await self._link.let_go()
                raise
        self._note_appended(ends, page.tails)

    async def _sent(self, session: Session, page: Page) -> dict[int, int]:
        """Where each partition ends, once all of the page is acknowledged."""
        sent: list[tuple[int, int, asyncio.Future[Any]]] = []
        for batches in zip_longest(*([(n, one) for one in own] for n, own in page.batches.items())):
            for partition, batch in filter(None, batches):
                count = batch.record_count()
                sent.append((partition, count, await session.send(batch, partition)))
        answers = await asyncio.gather(*(future for *_, future in sent), return_exceptions=True)
        ends: dict[int, int] = {}
        for (partition, count, _), answer in zip(sent, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            if answer.offset < 0:
                raise KafkaError("a batch was acknowledged without its place")
            if answer.offset < ends.get(partition, self._link.extent.ends[partition]):
                self._link.fail(
                    f"partition {partition} took a record at {answer.offset}, below what it had "
                    f"acknowledged ({self._link.extent.ends[partition]}): it lost its end"
                )
            ends[partition] = answer.offset + count
        return ends

    def _note_appended(self, ends: Mapping[int, int], tails: Mapping[int, Any]) -> None:
        for partition, end in ends.items():
            self._link.extent.ends[partition] = end
            self._link.extent.tails[partition] = tails[partition]
        self._appended.set()
        self._appended = anyio.Event()

    async def read(self, after: Position, limit: int) -> list[Item]:
        """See `Buffer.read`."""
        offsets = self._from(after)
        if not self._left(offsets):
            self._link.check()
            return []
        async with self._link.reading() as session:
            found, behind = await session.read(
                offsets,
                self._link.extent.ends,
                min(limit, self._section.poll_records),
                self._section.request_seconds,
            )
            items = await self._items(found, offsets, behind)
        if not items:
            await self._link.let_go()
            raise BufferUnavailableError(f"the brokers of {self._section.topic} give no records")
        return items

    async def _items(
        self, found: Mapping[int, Sequence[Record]], offsets: Sequence[int], behind: dict[int, int]
    ) -> list[Item]:
        items: list[Item] = []
        for partition, offset in behind.items():
            own = found.get(partition, ())
            for record in own:
                item = _item(record)
                if isinstance(item, str):
                    await self._set_aside(self._odd(record, item))
                    items.append(Gap((partition, record.offset)))
                else:
                    items.append(item)
            if offset > (own[-1].offset + 1 if own else offsets[partition]):
                # Marks of transactions, or a record that cannot be read.
                items.append(Gap((partition, offset - 1)))
        return items

    async def wait(self, after: Position) -> None:
        """See `Buffer.wait`. Every so often it is looked whether the topic is still what it was."""
        while not self._left(self._from(after)):
            appended = self._appended
            with anyio.move_on_after(self._section.poll_seconds):
                await appended.wait()
                continue
            await self._link.look()

    def advance(self, position: Position, items: Sequence[Item]) -> Position:
        """See `Buffer.advance`."""
        offsets = self._offsets(position)
        for item in items:
            partition, offset = item.place
            offsets[partition] = offset + 1
        return self._position(offsets)

    def covers(self, position: Position, other: Position) -> bool:
        """See `Buffer.covers`."""
        if not position.buffer == other.buffer == self.identity:
            return False
        mine, its = self._offsets(position), self._offsets(other)
        return all(one >= another for one, another in zip(mine, its, strict=True))

    async def start(self) -> Position:
        """See `Buffer.start`."""
        self._link.check()
        return self._position(self._link.extent.starts)

    async def end(self) -> Position:
        """See `Buffer.end`."""
        self._link.check()
        return self._position(self._link.extent.ends)

    async def holds(self, receipt: Receipt) -> bool:
        """See `Buffer.holds`: the last records of the page are read back."""
        self._link.check()
        if receipt.end.buffer != self.identity:
            return False
        offsets, extent = self._offsets(receipt.end), self._link.extent
        if any(offset > end for offset, end in zip(offsets, extent.ends, strict=True)):
            return False
        if not receipt.tail:
            return True
        tails = records.read_tails(receipt.tail, len(offsets))
        there = {n: offset for n, offset in enumerate(offsets) if offset > extent.starts[n]}
        now = {n: extent.tails[n] for n, offset in there.items() if offset == extent.ends[n]}
        if all(now[n] == tails[n] for n in now) and len(now) < len(there):
            async with self._link.reading() as session:
                found = await session.records_at(
                    {n: offset - 1 for n, offset in there.items() if n not in now}
                )
            now |= {n: tail_of(record) for n, record in found.items()}
        return all(now[n] == tails[n] for n in now)

    async def reaches(self, position: Position) -> bool:
        """See `Buffer.reaches`."""
        self._link.check()
        if position.buffer != self.identity:
            return False
        bounds = zip(
            self._link.extent.starts, self._offsets(position), self._link.extent.ends, strict=True
        )
        return all(start <= offset <= end for start, offset, end in bounds)

    async def trim(self, before: Position) -> int:
        """See `Buffer.trim`. The last `keep_hours` stay; the group is told how far the mirror is."""
        offsets = self._offsets(before)
        async with self._link.reading() as session:
            await self._tell_group(session, offsets)
            least = self._now() - timedelta(hours=self._section.keep_hours)
            recent = await session.offsets_since(max(int(least.timestamp() * 1000), 0))
            ours = {
                n: at if at is not None else offset
                for n, (offset, at) in enumerate(zip(offsets, recent, strict=True))
            }
            deletable = {
                n: min(at, offsets[n], self._link.extent.ends[n])
                for n, at in ours.items()
                if min(at, offsets[n], self._link.extent.ends[n]) > self._link.extent.starts[n]
            }
            starts = await session.delete(deletable) if deletable else {}
            gone = 0
            for partition, start in starts.items():
                gone += max(start - self._link.extent.starts[partition], 0)
                self._link.extent.starts[partition] = start
                self._link.trimmed[partition] = max(self._link.trimmed[partition], start)
        return gone

    async def _tell_group(self, session: Session, offsets: Sequence[int]) -> None:
        try:
            await session.commit(offsets)
        except KafkaError as error:
            # For those who watch alone: the checkpoint is in the index.
            log.debug("group_not_told", group=self._section.group, error=str(error))

    async def depth(self, after: Position) -> int:
        """See `Buffer.depth`."""
        return sum(end - offset for end, offset in self._both(after) if end > offset)

    def _both(self, after: Position) -> Iterator[tuple[int, int]]:
        return zip(self._link.extent.ends, self._from(after), strict=True)

    async def look(self) -> Look:
        """The topic as it is now, for people.

        Raises:
            BufferUnavailableError: the brokers do not answer.
        """
        async with self._link.reading() as session:
            starts, ends = await session.bounds()
            group = await session.committed()
            return Look(session.topic, starts, ends, group, await session.configuration())

    async def close(self) -> None:
        """See `Buffer.close`."""
        await self._link.let_go()

    async def __aenter__(self) -> Self:
        """The buffer itself."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close it."""
        await self.close()

    async def _set_aside(self, odd: Odd) -> None:
        if self._aside is None:
            return
        try:
            kept = await anyio.to_thread.run_sync(self._aside.keep, odd, timestamp(self._now()))
        except OSError as error:
            raise BufferUnavailableError(f"cannot set a record aside: {error.strerror}") from error
        if kept:
            log.error("record_set_aside", place=odd.place, why=odd.why, file=f"{odd.name}.json")
        elif not self._flooded:
            self._flooded = True
            log.error("records_dropped", detail=f"more than {MOST} records were set aside")

    def _odd(self, record: Record, why: str) -> Odd:
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        name = f"{record.topic}-{self._link.topic.id[:8]}-{record.partition}-{record.offset}"
        headers = tuple((key, value or b"") for key, value in record.headers)
        return Odd(name, place, why, record.key, record.value, headers)

    def _position(self, offsets: Sequence[int]) -> Position:
        return Position(self.identity, records.written_offsets(offsets))

    def _offsets(self, position: Position) -> list[int]:
        if position.buffer != self.identity:
            raise ValueError(f"{position} is of another buffer than {self.identity}")
        return records.read_offsets(position.value, self._link.topic.partitions)

    def _from(self, after: Position) -> list[int]:
        """The offsets to read from: what the mirror deleted itself is passed."""
        offsets = self._offsets(after)
        for partition, start in enumerate(self._link.extent.starts):
            if start > max(offsets[partition], self._link.trimmed[partition]):
                self._link.fail(
                    f"partition {partition} begins at {start}: somebody deleted records that were "
                    "not read yet"
                )
            offsets[partition] = max(offsets[partition], start)
        return offsets

    def _left(self, offsets: Sequence[int]) -> bool:
        return any(at < end for at, end in zip(offsets, self._link.extent.ends, strict=True))


def _item(record: Record) -> Entry | str:
    """The entry of a record, or why it is none."""
    try:
        decoded = records.decode(record.value, record.headers)
    except ForeignRecordError as error:
        return str(error)
    place = (record.partition, record.offset)
    return Entry(decoded.change, place, decoded.observed_at, decoded.source)
