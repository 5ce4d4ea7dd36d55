"""Connections to the brokers of a topic: a producer, a consumer and an admin client, held together.

A session that failed once is let go as a whole, and a new one is opened: what an idempotent
producer has under way when its broker goes away cannot be told apart from what is lost.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

import anyio
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    RecordTooLargeError,
)

from npmmirror.buffer import kafka_protocol, kafka_records
from npmmirror.buffer.kafka_protocol import Topic
from npmmirror.buffer.kafka_topic import configuration_of, find_topic
from npmmirror.config import KafkaSection

FETCH_BYTES: Final = 256 << 10
"""Of each partition, at once: records of all partitions come by turns, and memory is bounded."""
FETCH_ALL_BYTES: Final = 8 << 20
BATCH_BYTES: Final = 512 << 10
CLOSE_SECONDS: Final = 5.0
UNKNOWN: Final = -1
_CLOSED: Final = "the handler is closed"

log = structlog.get_logger(__name__)
# Failures are told by the buffer, once and in plain words; these lines come by the dozen a second.
logging.getLogger("aiokafka").addHandler(logging.NullHandler())
logging.getLogger("aiokafka").propagate = False

Record: TypeAlias = Any
"""aiokafka's `ConsumerRecord`, which has no types."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the partitions begin and end, and what lies last in each (see `tail_of`)."""

    starts: list[int]
    ends: list[int]
    tails: list[Any]


class Session:
    """Open connections, and the topic that they lead to. Made by `Session.open`."""

    def __init__(
        self,
        section: KafkaSection,
        topic: Topic,
        *,
        admin: AIOKafkaAdminClient,
        producer: AIOKafkaProducer,
        consumer: AIOKafkaConsumer,
        closing: contextlib.AsyncExitStack,
    ) -> None:
        self._section = section
        self._admin = admin
        self._consumer = consumer
        self.producer = producer
        self.topic = topic
        self._all = [TopicPartition(section.topic, n) for n in range(topic.partitions)]
        self._at = [0] * topic.partitions
        self._closing = closing
        self._sent: set[asyncio.Future[Any]] = set()
        consumer.assign(self._all)
        for one in self._all:
            # Before anything is awaited: a partition without a position is an error.
            consumer.seek(one, 0)
        consumer.pause(*self._all)

    @classmethod
    async def open(
        cls, section: KafkaSection, security: Mapping[str, Any], *, create: bool = True
    ) -> Self:
        """Connect; the topic is created where it is not there, unless told not to.

        Raises:
            KafkaError: the brokers do not answer, or refuse.
        """
        common = {
            "bootstrap_servers": list(section.bootstrap_servers),
            "client_id": section.client_id,
            "request_timeout_ms": int(section.request_seconds * 1000),
            **security,
        }
        async with contextlib.AsyncExitStack() as stack:
            admin = AIOKafkaAdminClient(**common)
            stack.push_async_callback(_quietly, admin.close)
            await admin.start()
            topic = await find_topic(admin, section, create=create)
            producer = AIOKafkaProducer(
                acks="all",
                enable_idempotence=True,
                compression_type=section.compression,
                max_batch_size=BATCH_BYTES,
                max_request_size=kafka_records.MOST_BYTES + (64 << 10),
                **common,
            )
            stack.push_async_callback(_end_producer, producer)
            await producer.start()
            consumer = AIOKafkaConsumer(
                enable_auto_commit=False,
                auto_offset_reset="none",
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_bytes=FETCH_ALL_BYTES,
                **common,
            )
            stack.push_async_callback(_end_consumer, consumer)
            await consumer.start()
            return cls(
                section,
                topic,
                admin=admin,
                producer=producer,
                consumer=consumer,
                closing=stack.pop_all(),
            )

    async def send(self, batch: Any, partition: int) -> asyncio.Future[Any]:
        """Send a batch; what it was acknowledged with comes later.

        Raises:
            KafkaError: it cannot be sent.
        """
        future: asyncio.Future[Any] = await self.producer.send_batch(
            batch, self._section.topic, partition=partition
        )
        self._sent.add(future)
        future.add_done_callback(self._sent.discard)
        return future

    async def close(self) -> None:
        """Let go of all connections, whatever is under way: it fails."""
        for future in [future for future in self._sent if not future.done()]:
            future.set_exception(KafkaConnectionError("the session was closed"))
        with anyio.move_on_after(2 * CLOSE_SECONDS, shield=True):
            await self._closing.aclose()

    async def extent(self) -> Extent:
        """Where the topic begins and ends now, and its last records.

        Raises:
            KafkaError: the brokers do not say.
        """
        starts, ends = await self.bounds()
        last = {n: end - 1 for n, end in enumerate(ends) if end > starts[n]}
        records = await self.records_at(last)
        return Extent(starts, ends, [tail_of(records.get(n)) for n in range(len(ends))])

    async def bounds(self) -> tuple[list[int], list[int]]:
        """The first offset of each partition, and the one behind its last.

        Raises:
            KafkaError: the brokers do not say.
        """
        starts = await self._consumer.beginning_offsets(self._all)
        ends = await self._consumer.end_offsets(self._all)
        return [starts[one] for one in self._all], [ends[one] for one in self._all]

    async def describe(self) -> Topic | None:
        """The topic as it is now; None where it is gone.

        Raises:
            KafkaError: the brokers do not say.
        """
        return await kafka_protocol.describe_topic(self.producer.client, self._section.topic)

    async def read(
        self, offsets: Sequence[int], ends: Sequence[int], limit: int, seconds: float
    ) -> tuple[dict[int, list[Record]], dict[int, int]]:
        """Records from these offsets on, of the partitions that have any before `ends`.

        Waits for `seconds` at most. Also gives the offset behind what was read of each partition:
        places may hold no record.

        Raises:
            KafkaError: the brokers do not say.
        """
        wanted = [one for one in self._all if offsets[one.partition] < ends[one.partition]]
        self._fetch_only(wanted)
        for one in wanted:
            if self._at[one.partition] != offsets[one.partition]:
                self._seek(one, offsets[one.partition])
        try:
            found = await self._consumer.getmany(
                *wanted, timeout_ms=int(seconds * 1000), max_records=limit
            )
        except RecordTooLargeError as error:
            # Brokers of this century give a record whole, however large. The client passes it.
            log.warning("record_not_readable", detail=error.args[0] % error.args[1:])
            found = {}
        behind: dict[int, int] = {}
        for one in wanted:
            behind[one.partition] = self._at[one.partition] = await self._consumer.position(one)
        return {one.partition: records for one, records in found.items()}, behind

    async def records_at(self, wanted: Mapping[int, int]) -> dict[int, Record | None]:
        """The record at an offset of each of these partitions; None where there is none.

        Raises:
            KafkaError: the brokers do not say.
        """
        found: dict[int, Record | None] = {}
        missing = {self._all[partition]: offset for partition, offset in wanted.items()}
        for one, offset in missing.items():
            self._seek(one, offset)
            self._at[one.partition] = UNKNOWN
        while missing:
            self._fetch_only(list(missing))
            answer = await self._consumer.getmany(*missing, timeout_ms=100)
            for one, offset in list(missing.items()):
                records = answer.get(one) or []
                if records or await self._consumer.position(one) > offset:
                    at = next((record for record in records if record.offset == offset), None)
                    found[one.partition] = at
                    del missing[one]
        self._fetch_only([])
        return found

    async def commit(self, offsets: Sequence[int]) -> None:
        """Tell the group how far the mirror is.

        Raises:
            KafkaError: the brokers refuse.
        """
        section = self._section
        await kafka_protocol.commit_offsets(
            self.producer.client, section.group, section.topic, offsets
        )

    async def committed(self) -> list[int | None]:
        """How far the group is; None for a partition of which nothing was committed.

        Raises:
            KafkaError: the brokers do not say.
        """
        try:
            found = await self._admin.list_consumer_group_offsets(
                self._section.group, partitions=self._all
            )
        except GroupCoordinatorNotAvailableError:  # before the first group of a cluster
            found = {}
        return kafka_protocol.group_offsets(found, len(self._all))

    async def configuration(self) -> dict[str, str]:
        """The topic's configuration.

        Raises:
            KafkaError: the brokers do not say.
        """
        return await configuration_of(self._admin, self._section.topic)

    async def offsets_since(self, milliseconds: int) -> list[int | None]:
        """The offset of the first record of that time or later; None where there is none.

        Raises:
            KafkaError: the brokers do not say.
        """
        found = await self._consumer.offsets_for_times(dict.fromkeys(self._all, milliseconds))
        return [None if (at := found.get(one)) is None else at.offset for one in self._all]

    async def delete(self, before: Mapping[int, int]) -> dict[int, int]:
        """Delete the records before an offset of each of these partitions; where they begin then.

        Raises:
            KafkaError: the brokers refuse.
        """
        wanted = {self._all[n]: RecordsToDelete(offset) for n, offset in before.items()}
        found = await self._admin.delete_records(wanted)
        return {one.partition: offset for one, offset in found.items()}

    def _seek(self, one: TopicPartition, offset: int) -> None:
        self._consumer.seek(one, offset)
        self._at[one.partition] = offset

    def _fetch_only(self, wanted: Sequence[TopicPartition]) -> None:
        """Others are not fetched: nothing is asked for at the end of the topic, or twice."""
        paused, fetched = self._consumer.paused(), set(wanted)
        if stopping := [one for one in self._all if one not in fetched and one not in paused]:
            self._consumer.pause(*stopping)
        if starting := [one for one in wanted if one in paused]:
            self._consumer.resume(*starting)


def tail_of(record: Record | None) -> Any:
    """What a receipt remembers of the last record of a partition; None where there is none."""
    return None if record is None else kafka_records.tail_of(record.value, record.headers)


@contextlib.contextmanager
def broken_links() -> Iterator[None]:
    """Tell a connection that broke from a bug: uvloop raises RuntimeError where one is written to.

    aiokafka expects an OSError there, and lets this one out to whoever asked, and to whoever waits
    for its own tasks.

    Raises:
        KafkaConnectionError: the connection broke before it was written to.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).endswith(_CLOSED):
            raise
        raise KafkaConnectionError("the connection broke") from error


def is_cancelled() -> bool:
    """Whether it is the calling task itself that is to end.

    aiokafka lets the cancellation of its own tasks out to whoever waits for them.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _quietly(close: Callable[[], Awaitable[None]]) -> None:
    """Close a client; one that is in trouble is left to itself after a while."""
    with (
        anyio.move_on_after(CLOSE_SECONDS, shield=True),
        contextlib.suppress(KafkaError, OSError),
        broken_links(),
    ):
        try:
            await close()
        except asyncio.CancelledError:
            if is_cancelled():
                raise


async def _end_consumer(consumer: AIOKafkaConsumer) -> None:
    await _quietly(consumer.stop)
    # Where its fetcher was in trouble, `stop` ends before it comes to this.
    await _quietly(consumer._client.close)  # noqa: SLF001 - as told above


async def _end_producer(producer: AIOKafkaProducer) -> None:
    """End a producer without waiting for what it has under way: `stop` would wait for ever."""
    task: asyncio.Task[None] | None = producer._sender.sender_task  # noqa: SLF001 - as told above
    while task is not None and not task.done():
        # It waits for requests under way when it is cancelled once, and ends when it is again.
        task.cancel()
        await asyncio.wait([task], timeout=0.05)
    await _quietly(producer.client.close)
    producer._closed = True  # noqa: SLF001 - as above
