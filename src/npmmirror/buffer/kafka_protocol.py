"""Two requests of Kafka's protocol that aiokafka has no call for.

`Metadata` in a version that tells a topic's id, by which a topic made anew is known, and asked so
that no broker makes the topic by itself; `OffsetCommit` without being a member of the group.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

NO_TOPIC = 3
"""The code of `UnknownTopicOrPartitionError`."""
NO_GENERATION = -1


class _Uuid(AbstractType):  # type: ignore[misc]  # aiokafka ships no types
    """16 bytes."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        """The bytes as they are."""
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        """The next 16 bytes."""
        return data.read(16)


class _MetadataResponse(Response):  # type: ignore[misc]  # as above
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequest(RequestStruct):  # type: ignore[misc]  # as above
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicRequest(Request[_MetadataRequest]):  # type: ignore[misc]  # as above
    API_KEY: ClassVar[int] = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: Any) -> Any:
        """The request."""
        return request_struct_class([(bytes(16), self._topic, {})], False, False, False, {})


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that is there. `id` is "" where the brokers are too old to give one (before 2.8).

    `replicas` are of the partition that has the fewest, `in_sync` likewise.
    """

    cluster: str
    id: str
    partitions: int
    replicas: int
    in_sync: int
    brokers: tuple[str, ...]


async def describe_topic(client: AIOKafkaClient, name: str) -> Topic | None:
    """What the brokers say of a topic; None where it is not there.

    Raises:
        KafkaError: they do not say.
    """
    node = client.get_random_node()
    try:
        answer = await client.send(node, _TopicRequest(name))
        [(code, _, topic_id, _, partitions, *_)] = answer.topics
    except NotImplementedError:
        answer = await client.send(node, MetadataRequest([name], allow_auto_topic_creation=False))
        [(code, _, _, partitions)] = answer.topics
        topic_id = b""
    if code == NO_TOPIC:
        return None
    for error in [code, *(partition[0] for partition in partitions)]:
        if error:
            raise for_code(error)(name)
    if not partitions:
        raise UnknownTopicOrPartitionError(name)
    # Replicas and those in sync are two lists behind each other, wherever the two begin.
    lists = [[part for part in partition if isinstance(part, list)] for partition in partitions]
    return Topic(
        cluster=answer.cluster_id or "",
        id=str(uuid.UUID(bytes=topic_id)) if topic_id else "",
        partitions=len(partitions),
        replicas=min(len(replicas) for replicas, *_ in lists),
        in_sync=min(len(in_sync) for _, in_sync, *_ in lists),
        brokers=tuple(sorted(f"{broker[1]}:{broker[2]}" for broker in answer.brokers)),
    )


async def commit_offsets(
    client: AIOKafkaClient, group: str, topic: str, offsets: Sequence[int]
) -> None:
    """Set a group's offsets, without joining it.

    Raises:
        KafkaError: the brokers refuse.
    """
    node = await client.coordinator_lookup(CoordinationType.GROUP, group)
    rows = [(partition, offset, "") for partition, offset in enumerate(offsets)]
    request = OffsetCommitRequest(group, NO_GENERATION, "", -1, [(topic, rows)])
    answer = await client.send(node, request, group=ConnectionGroup.COORDINATION)
    for _, partitions in answer.topics:
        for _, code in partitions:
            if code:
                raise for_code(code)(group)


def group_offsets(found: Mapping[Any, Any], partitions: int) -> list[int | None]:
    """A group's offsets by partition, of what the admin client found; None where there is none."""
    offsets = {at.partition: meta.offset for at, meta in found.items() if meta.offset >= 0}
    return [offsets.get(partition) for partition in range(partitions)]
