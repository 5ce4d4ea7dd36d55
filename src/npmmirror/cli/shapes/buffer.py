"""What `buffer status` and `buffer peek` print."""

from typing import Any

from npmmirror.cli.shapes.shape import Seq, Shape


class SetAside(Shape):
    """Records of the buffer that are no changes."""

    count: int
    directory: str
    newest: list[dict[str, Any]]


class BufferPartition(Shape):
    """How far a partition is worked off; the embedded buffer has one."""

    partition: int
    start: int
    checkpoint: int | None
    end: int
    depth: int
    group: int | None
    group_lag: int | None


class UnwantedSetting(Shape):
    """A setting of the topic that is not as the mirror would have it."""

    key: str
    value: str
    wanted: str


class BufferTopic(Shape):
    """The topic, where the backend is Kafka."""

    name: str
    id: str
    cluster: str
    partitions: int
    configured_partitions: int
    replicas: int
    configured_replicas: int
    in_sync: int
    configuration: dict[str, str | None]
    unwanted: list[UnwantedSetting]


class BufferStatus(Shape):
    """What `buffer status` prints."""

    backend: str
    set_aside: SetAside
    identity: str
    checkpoint_is_ours: bool | None
    depth: int | None
    place: str
    partitions: list[BufferPartition]
    group: str | None
    brokers: list[str] | None
    topic: BufferTopic | None


class BufferedChange(Shape):
    """A change that waits in the buffer."""

    seq: Seq
    id: str
    rev: str | None
    deleted: bool
    observed_at: str
    source: str


class Peeked(Shape):
    """An element of what `buffer peek` prints; null where a record is no change."""

    partition: int
    offset: int
    change: BufferedChange | None
