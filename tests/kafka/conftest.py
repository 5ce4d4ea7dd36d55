"""Brokers for tests: one that is shared and stays, and ones that a test may break."""

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from npmmirror.buffer.kafka import KafkaBuffer
from npmmirror.buffer.kafka_security import connection_options
from npmmirror.buffer.set_aside import SetAside
from npmmirror.clock import SystemClock
from npmmirror.config import KafkaSection
from tests.kafka.broker import Broker, shared_broker
from tests.kill.pair import Pair


@pytest.fixture(scope="session")
def broker_address(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> str:
    """A broker that answers as long as the tests run; each test has topics of its own."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # one for all workers
    stack = ExitStack()
    # It waits for the other workers then: that is no test's time.
    pytestconfig.add_cleanup(stack.close)
    return stack.enter_context(shared_broker(place / "shared-broker"))


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


def settings(address: str, topic: str, **keys: object) -> dict[str, object]:
    """As `section`, for a daemon's environment; further keys of buffer.kafka by keyword."""
    given = {
        "bootstrap_servers": address,
        "topic": topic,
        "partitions": 3,
        "keep_hours": 0,
        "poll_seconds": 0.3,
        "request_seconds": 3,
    }
    kafka = {f"BUFFER__KAFKA__{key.upper()}": value for key, value in (given | keys).items()}
    return {"BUFFER__BACKEND": "kafka", **kafka}


@pytest.fixture(scope="module")
def frail_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that tests of one module break one after the other."""
    with Broker(tmp_path_factory.mktemp("frail")) as one:
        yield one


@pytest.fixture
def frail(frail_broker: Broker) -> Broker:
    """That broker, in good order."""
    return frail_broker.revive()


@pytest.fixture
def pair(frail: Broker, topic: str, tmp_path: Path) -> Iterator[Pair]:
    """Two mirrors that are alike: one on SQLite, the other one, on Kafka, not running."""
    made = Pair(tmp_path, settings(frail.address, topic))
    yield made
    made.close()
