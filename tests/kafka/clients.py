"""What other programs do to a topic: people with kcat, administrators, a broker's own retention."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import GroupCoordinatorNotAvailableError

T = TypeVar("T")


async def _as_admin(address: str, work: Callable[[Any], Awaitable[T]]) -> T:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        return await work(admin)
    finally:
        await admin.close()


async def delete_topic(address: str, topic: str) -> None:
    """Delete a topic, and wait until it is gone."""

    async def work(admin: Any) -> None:
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.02)

    await _as_admin(address, work)


async def create_topic(
    address: str, topic: str, partitions: int, configuration: dict[str, str] | None = None
) -> None:
    """Create a topic."""

    async def work(admin: Any) -> None:
        new = NewTopic(topic, partitions, 1, topic_configs=configuration or {})
        answer = await admin.create_topics([new])
        assert [code for _, code, *_ in answer.topic_errors] == [0], answer

    await _as_admin(address, work)


async def delete_records(address: str, topic: str, before: Sequence[int]) -> None:
    """Delete the records before an offset of each partition (-1: all of them)."""
    wanted = {TopicPartition(topic, n): RecordsToDelete(at) for n, at in enumerate(before)}

    async def work(admin: Any) -> None:
        await admin.delete_records(wanted)

    await _as_admin(address, work)


async def group_offsets(address: str, group: str, topic: str) -> dict[int, int]:
    """How far a group is in a topic, by partition."""

    async def work(admin: Any) -> dict[int, int]:
        try:
            found = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:  # before the first group of a cluster
            return {}
        return {at.partition: meta.offset for at, meta in found.items() if at.topic == topic}

    return await _as_admin(address, work)


async def produce(
    address: str,
    topic: str,
    *values: bytes,
    partition: int = 0,
    headers: Sequence[tuple[str, bytes]] = (),
) -> None:
    """Write records as a program that is not the mirror."""
    producer = AIOKafkaProducer(bootstrap_servers=address, max_request_size=20 << 20)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(
                topic, value, key=b"foreign", partition=partition, headers=[*headers]
            )
    finally:
        await producer.stop()
