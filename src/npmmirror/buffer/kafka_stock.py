"""What a topic of Kafka keeps, for whoever wants to be rid of it while nobody uses it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code

from npmmirror.buffer.base import BufferUnavailableError
from npmmirror.buffer.kafka_protocol import describe_topic
from npmmirror.buffer.kafka_topic import why_unreachable
from npmmirror.buffer.stock import Holdings
from npmmirror.config import KafkaSection

LOOK_SECONDS: Final = 0.1
"""Between two looks at a topic that is being deleted."""
GONE_SECONDS: Final = 60.0


class KafkaStock:
    """A topic with its records. The offsets of its group go with it."""

    def __init__(self, section: KafkaSection, security: Mapping[str, Any]) -> None:
        self._section = section
        self._security = security

    async def holdings(self) -> Holdings:
        """See `BufferStock.holdings`. Brokers do not tell how many bytes a topic has."""
        async with self._asked() as admin:
            if not await self._is_there(admin):
                return Holdings(unit="record")
            consumer = AIOKafkaConsumer(**self._common())
            await consumer.start()
            try:
                count = await self._count(admin, consumer)
            finally:
                await consumer.stop()
        return Holdings((self._place,), count, None, "record")

    async def discard(self) -> None:
        """See `BufferStock.discard`. Returns once the brokers know the topic no more."""
        async with self._asked() as admin:
            if not await self._is_there(admin):
                return
            answer = await admin.delete_topics([self._section.topic])
            for _, code, *_rest in answer.topic_error_codes:
                if code and for_code(code) is not UnknownTopicOrPartitionError:
                    raise for_code(code)(self._section.topic)
            with anyio.fail_after(GONE_SECONDS):
                while await self._is_there(admin):  # noqa: ASYNC110 - the brokers tell nobody
                    await anyio.sleep(LOOK_SECONDS)

    @property
    def _place(self) -> str:
        return f"topic {self._section.topic} at {', '.join(self._section.bootstrap_servers)}"

    def _common(self) -> dict[str, Any]:
        return {
            "bootstrap_servers": list(self._section.bootstrap_servers),
            "client_id": self._section.client_id,
            "request_timeout_ms": int(self._section.request_seconds * 1000),
            **self._security,
        }

    async def _count(self, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> int:
        [topic] = await admin.describe_topics([self._section.topic])
        numbers = range(len(topic["partitions"]))
        partitions = [TopicPartition(self._section.topic, number) for number in numbers]
        starts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        return int(sum(ends.values()) - sum(starts.values()))

    async def _is_there(self, admin: AIOKafkaAdminClient) -> bool:
        client = admin._client  # noqa: SLF001 - no other way to ask without creating it
        return await describe_topic(client, self._section.topic) is not None

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """The brokers' administration; what they refuse is told in a sentence."""
        admin = AIOKafkaAdminClient(**self._common())
        try:
            await admin.start()
        except (KafkaError, OSError) as error:
            await admin.close()
            why = await why_unreachable(self._section, self._security)
            raise BufferUnavailableError(f"{self._place} cannot be looked at: {why}") from error
        try:
            yield admin
        except (KafkaError, OSError, TimeoutError) as error:
            told = str(error) or type(error).__name__
            raise BufferUnavailableError(f"{self._place} cannot be deleted: {told}") from error
        finally:
            await admin.close()
