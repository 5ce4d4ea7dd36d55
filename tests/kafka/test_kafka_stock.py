"""What `npmmirror reset` does with a topic."""

from pathlib import Path

import pytest

from npmmirror.buffer.base import BufferUnavailableError
from npmmirror.buffer.kafka_security import connection_options
from npmmirror.buffer.kafka_stock import KafkaStock
from npmmirror.change import Change
from npmmirror.config import KafkaSection
from tests.kafka.conftest import buffer_of, section

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.timeout(400)]


def stock(made: KafkaSection) -> KafkaStock:
    return KafkaStock(made, connection_options(made))


async def test_a_topic_goes_with_its_records(
    broker_address: str, topic: str, tmp_path: Path
) -> None:
    """It is counted, deleted, and afterwards another one; deleting again does nothing."""
    made = section(broker_address, topic)
    async with buffer_of(made, tmp_path) as buffer:
        await buffer.refresh()
        identity = buffer.identity
        changes = [Change(number, f"p{number}", "1-a") for number in range(5)]
        await buffer.append(changes, observed_at="2026-11-20T10:00:00Z", source="feed")
    held = await stock(made).holdings()
    assert held.places == (f"topic {topic} at {broker_address}",)
    assert (held.count, held.unit) == (5, "record")
    await stock(made).discard()
    await stock(made).discard()
    assert await stock(made).holdings() == type(held)(unit="record")
    async with buffer_of(made, tmp_path) as buffer:
        await buffer.refresh()
        assert buffer.identity != identity


async def test_a_broker_that_is_away_is_a_sentence(topic: str) -> None:
    """It names the topic and the broker."""
    made = section("127.0.0.1:9", topic)
    with pytest.raises(BufferUnavailableError, match=rf"topic {topic} at 127\.0\.0\.1:9 cannot"):
        await stock(made).holdings()
