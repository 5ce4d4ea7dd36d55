"""The topic of the mirror: whether it is there, made where it is not, and as it should be."""

import contextlib
from collections.abc import Mapping
from typing import Any, Final

import anyio
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from npmmirror.buffer import kafka_protocol
from npmmirror.buffer.kafka_protocol import Topic
from npmmirror.config import KafkaSection

CREATE_SECONDS: Final = 0.05
"""Between two looks for a topic that was just created."""
WANTED: Final[Mapping[str, str]] = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "compression.type": "producer",
}
"""The configuration that the topic is created with: nobody deletes records but the mirror."""


def unwanted(found: Mapping[str, str]) -> dict[str, str]:
    """What of a topic's configuration is not as it should be."""
    return {key: found[key] for key, value in WANTED.items() if found.get(key, value) != value}


async def why_unreachable(section: KafkaSection, security: Mapping[str, Any]) -> str:
    """In a clause: what each of the brokers that were named says, or why it says nothing."""
    told = [await _why(broker, section, security) for broker in section.bootstrap_servers]
    return "; ".join(dict.fromkeys(told))


async def _why(broker: str, section: KafkaSection, security: Mapping[str, Any]) -> str:
    host, _, port = broker.rpartition(":")
    milliseconds = int(section.request_seconds * 1000)
    try:
        connection = await create_conn(
            host.strip("[]"), int(port), request_timeout_ms=milliseconds, **security
        )
    except (AuthenticationFailedError, SaslAuthenticationFailed) as error:
        return f"{broker} refuses the user {section.sasl_username}: {error.args[0]}"
    except KafkaConnectionError as error:
        return f"{broker} closes the connection: {error.args[0]}"
    except TimeoutError:
        return f"{broker} does not answer"
    except (KafkaError, OSError) as error:
        return f"{broker}: {getattr(error, 'strerror', None) or error}"
    connection.close()
    return f"{broker} answers, but knows no brokers of the cluster that can be reached"


async def find_topic(admin: AIOKafkaAdminClient, section: KafkaSection, *, create: bool) -> Topic:
    """The topic, which is created where it is not there."""
    found = await kafka_protocol.describe_topic(admin._client, section.topic)  # noqa: SLF001 - no other way to ask
    if found is None and not create:
        raise UnknownTopicOrPartitionError(f"there is no topic {section.topic}")
    if found is None:
        await _create(admin, section)
    while found is None:
        await anyio.sleep(CREATE_SECONDS)
        with contextlib.suppress(UnknownTopicOrPartitionError):
            found = await kafka_protocol.describe_topic(admin._client, section.topic)  # noqa: SLF001 - as above
    return found


async def _create(admin: AIOKafkaAdminClient, section: KafkaSection) -> None:
    topic = NewTopic(
        section.topic,
        section.partitions,
        section.replication_factor,
        topic_configs=dict(WANTED),
    )
    answer = await admin.create_topics([topic])
    for _, code, *message in answer.topic_errors:
        if code and for_code(code) is not TopicAlreadyExistsError:
            raise for_code(code)(message[0] if message else section.topic)


async def configuration_of(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    """A topic's configuration.

    Raises:
        KafkaError: the brokers do not say.
    """
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    found: dict[str, str] = {}
    for code, message, _, _, entries in answer.resources:
        if code:
            raise for_code(code)(message)
        found |= {entry[0]: entry[1] for entry in entries}
    return found
