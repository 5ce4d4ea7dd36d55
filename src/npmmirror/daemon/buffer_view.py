"""The buffer as people see it: where it is, how far it is worked off, what lies in it.

Nothing here asks the daemon, nor changes anything: it works beside one, and where none runs.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from npmmirror.buffer.base import BufferUnavailableError, Entry, Item, Position
from npmmirror.buffer.set_aside import SetAside
from npmmirror.buffer.sqlite import SqliteBuffer
from npmmirror.clock import SystemClock
from npmmirror.config import Config
from npmmirror.index import IndexReader
from npmmirror.sqlite import storable

if TYPE_CHECKING:
    from npmmirror.buffer.kafka import KafkaBuffer

Report = dict[str, Any]


async def buffer_report(config: Config) -> Report:
    """The state of the buffer, as `npmmirror buffer status --json` prints it.

    Raises:
        BufferUnavailableError: it is not there, or does not answer.
    """
    checkpoint = await _checkpoint(config)
    aside = SetAside(config.storage.set_aside_path)
    common = {
        "backend": config.buffer.backend,
        "set_aside": await anyio.to_thread.run_sync(aside.report),
    }
    async with _opened(config) as buffer:
        ours = checkpoint if checkpoint and checkpoint.buffer == buffer.identity else None
        if isinstance(buffer, SqliteBuffer):
            told = await _of_sqlite(config, buffer, ours)
        else:
            told = await _of_kafka(config, buffer, ours)
        lag = [one["depth"] for one in told["partitions"]]
        return {
            **common,
            "identity": buffer.identity,
            "checkpoint_is_ours": None if checkpoint is None else ours is not None,
            "depth": sum(lag) if ours is not None else None,
            **told,
        }


async def peek(config: Config, count: int) -> list[Report]:
    """The next changes that are not finished, or the oldest that are there.

    Raises:
        BufferUnavailableError: the buffer is not there, or does not answer.
    """
    checkpoint = await _checkpoint(config)
    async with _opened(config) as buffer:
        at = await buffer.start()
        if checkpoint is not None and await buffer.reaches(checkpoint):
            at = checkpoint
        found: list[Item] = []
        while len(found) < count and (more := await buffer.read(at, count - len(found))):
            found += more
            at = buffer.advance(at, more)
    return [_told(item) for item in found]


async def _checkpoint(config: Config) -> Position | None:
    path = config.storage.index_path
    if not await anyio.Path(path).exists():
        return None
    async with await IndexReader.open(path, connections=1) as reader:
        return await reader.checkpoint()


@asynccontextmanager
async def _opened(config: Config) -> "AsyncIterator[SqliteBuffer | KafkaBuffer]":
    """The buffer, to be read alone."""
    if config.buffer.backend == "sqlite":
        path = config.storage.data_dir / "buffer.db"
        if not await anyio.Path(path).exists():
            raise BufferUnavailableError(f"there is no buffer {path} yet; `npmmirror run` makes it")
        async with await SqliteBuffer.look(path) as buffer:
            yield buffer
        return
    from npmmirror.buffer.kafka import KafkaBuffer  # noqa: PLC0415 - others do without it
    from npmmirror.buffer.kafka_security import connection_options  # noqa: PLC0415 - as above

    section = config.buffer.kafka
    security = connection_options(section)
    async with KafkaBuffer(section, security, None, SystemClock().now, create=False) as topic:
        await topic.refresh()
        yield topic


async def _of_sqlite(config: Config, buffer: SqliteBuffer, checkpoint: Position | None) -> Report:
    start, end = int((await buffer.start()).value), int((await buffer.end()).value)
    at = int(checkpoint.value) if checkpoint is not None else None
    return {
        "place": str(config.storage.data_dir / "buffer.db"),
        "partitions": [_lane(0, start, end, at, None)],
        "group": None,
        "brokers": None,
        "topic": None,
    }


async def _of_kafka(config: Config, buffer: "KafkaBuffer", checkpoint: Position | None) -> Report:
    from npmmirror.buffer.kafka_records import read_offsets  # noqa: PLC0415 - others do without it
    from npmmirror.buffer.kafka_topic import WANTED, unwanted  # noqa: PLC0415 - as above

    section, look = config.buffer.kafka, await buffer.look()
    count = look.topic.partitions
    at: Sequence[int | None] = [None] * count
    if checkpoint is not None:
        at = read_offsets(checkpoint.value, count)
    lanes = zip(range(count), look.starts, look.ends, at, look.group, strict=True)
    return {
        "place": f"topic {section.topic} at {', '.join(section.bootstrap_servers)}",
        "partitions": [_lane(*lane) for lane in lanes],
        "group": section.group,
        "brokers": list(look.topic.brokers),
        "topic": {
            "name": section.topic,
            "id": look.topic.id,
            "cluster": look.topic.cluster,
            "partitions": count,
            "configured_partitions": section.partitions,
            "replicas": look.topic.replicas,
            "configured_replicas": section.replication_factor,
            "in_sync": look.topic.in_sync,
            "configuration": look.configuration,
            "unwanted": [
                {"key": key, "value": value, "wanted": WANTED[key]}
                for key, value in unwanted(look.configuration).items()
            ],
        },
    }


def _lane(
    partition: int, start: int, end: int, checkpoint: int | None, group: int | None
) -> Report:
    return {
        "partition": partition,
        "start": start,
        "checkpoint": checkpoint,
        "end": end,
        "depth": end - max(checkpoint if checkpoint is not None else start, start),
        "group": group,
        "group_lag": None if group is None else max(end - max(group, start), 0),
    }


def _told(item: Item) -> Report:
    partition, number = item.place
    place = {"partition": partition, "offset": number}
    if not isinstance(item, Entry):
        return {**place, "change": None}
    change = item.change
    return {
        **place,
        "change": {
            "seq": change.seq,
            "id": storable(change.id),
            "rev": storable(change.rev) if change.rev is not None else None,
            "deleted": change.deleted,
            "observed_at": item.observed_at,
            "source": item.source,
        },
    }
