"""The buffer on a real broker keeps the contract."""

from pathlib import Path

import pytest

from npmmirror.buffer.base import Buffer
from tests.buffer.contract import BufferContract
from tests.kafka.clients import delete_topic
from tests.kafka.conftest import buffer_of, section

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.timeout(400)]


class KafkaPlace:
    """A topic."""

    def __init__(self, address: str, topic: str, directory: Path) -> None:
        self.section = section(address, topic)
        self._directory = directory

    async def open(self) -> Buffer:
        buffer = buffer_of(self.section, self._directory)
        await buffer.refresh()
        return buffer

    async def replace(self) -> None:
        await delete_topic(self.section.bootstrap_servers[0], self.section.topic)


@pytest.fixture
def place(broker_address: str, topic: str, tmp_path: Path) -> KafkaPlace:
    return KafkaPlace(broker_address, topic, tmp_path)


class TestKafkaBuffer(BufferContract):
    """All of it."""
