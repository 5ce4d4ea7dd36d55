"""Brokers for tests: one that is shared and stays, and ones that a test may break."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from npmmirror.buffer.kafka import KafkaBuffer
from npmmirror.buffer.kafka_security import connection_options
from npmmirror.buffer.set_aside import SetAside
from npmmirror.clock import SystemClock
from npmmirror.config import KafkaSection
from tests.kafka.broker import Broker, shared_broker

MakeBuffer = Callable[..., KafkaBuffer]


@pytest.fixture(scope="session")
def broker_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker that answers as long as the tests run; each test has topics of its own."""
    with shared_broker(tmp_path_factory.mktemp("broker")) as address:
        yield address


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that the test may kill."""
    with Broker(tmp_path / "broker") as one:
        yield one


@pytest.fixture
def topic() -> str:
    """A topic's name that nobody else uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


def section(address: str, topic: str, **keys: Any) -> KafkaSection:
    """A configuration that is in a hurry."""
    given: dict[str, Any] = {
        "bootstrap_servers": [address],
        "topic": topic,
        "partitions": 3,
        "keep_hours": 0.0,
        "poll_seconds": 0.5,
        "request_seconds": 5.0,
    }
    return KafkaSection.model_validate(given | keys)


def buffer_of(made: KafkaSection, directory: Path) -> KafkaBuffer:
    """A buffer that was not used yet."""
    aside = SetAside(directory / "set_aside")
    return KafkaBuffer(made, connection_options(made), aside, SystemClock().now)
