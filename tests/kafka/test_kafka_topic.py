"""The buffer on a broker that stands in the way: what is told, set aside, and noticed."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror.buffer.base import BufferChangedError, BufferUnavailableError, Gap, Item
from npmmirror.buffer.kafka import KafkaBuffer
from npmmirror.buffer.kafka_records import MOST_BYTES
from npmmirror.change import Change
from tests.buffer.contract import append, changes, drained, of
from tests.kafka.broker import Broker
from tests.kafka.clients import (
    create_topic,
    delete_records,
    delete_topic,
    group_offsets,
    produce,
)
from tests.kafka.conftest import buffer_of, section

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.timeout(400)]

OURS = (("npmmirror-schema", b"1"),)


@asynccontextmanager
async def opened(
    address: str, topic: str, directory: Path, **keys: object
) -> AsyncIterator[KafkaBuffer]:
    """A buffer that was looked at."""
    async with buffer_of(section(address, topic, **keys), directory) as buffer:
        await buffer.refresh()
        yield buffer


@pytest.fixture
async def buffer(broker_address: str, topic: str, tmp_path: Path) -> AsyncIterator[KafkaBuffer]:
    async with opened(broker_address, topic, tmp_path, partitions=1) as one:
        yield one


def kept(directory: Path) -> list[dict[str, str]]:
    """What was set aside, in the order of its names."""
    return [json.loads(path.read_text()) for path in sorted(directory.glob("set_aside/*.json"))]


@pytest.mark.parametrize(
    ("value", "headers", "why"),
    [
        (b"hello", (), "it has no header npmmirror-schema"),
        (b"{}", (("npmmirror-schema", b"2"),), "its header npmmirror-schema is b'2', not 1"),
        (b"\xff\x00", OURS, "its value is no JSON"),
        (b"[1]", OURS, "its value is no JSON object"),
        (b'{"seq":1,"id":7,"rev":null,"deleted":false}', OURS, "lacks a right 'id'"),
        (b"x" * 3_000_000, (), "it has no header npmmirror-schema"),
    ],
    ids=["foreign", "newer", "no JSON", "no object", "wrong", "oversized"],
)
async def test_a_record_that_is_no_change_is_set_aside_with_its_bytes(
    broker_address: str,
    topic: str,
    tmp_path: Path,
    *,
    value: bytes,
    headers: tuple[tuple[str, bytes], ...],
    why: str,
) -> None:
    """The changes around it are read; its place is a gap, so that the checkpoint passes it."""
    await create_topic(broker_address, topic, 1, {"max.message.bytes": "10000000"})
    async with opened(broker_address, topic, tmp_path) as buffer:
        start = await buffer.start()
        await append(buffer, changes(1, 3))
        await produce(broker_address, topic, value, headers=headers)
        await append(buffer, changes(4, 2))
        items: list[Item] = []
        while await buffer.depth(buffer.advance(start, items)):
            items += await buffer.read(buffer.advance(start, items), 100)
        assert [one.seq for one in of(items)] == [1, 2, 3, 4, 5]
        [gap] = [item for item in items if isinstance(item, Gap)]
    [aside] = kept(tmp_path)
    assert why in aside["why"]
    assert aside["place"] == f"{topic}[0]@{gap.place[1]}"
    assert base64.b64decode(aside["value_base64"]) == value


async def test_a_receipt_remembers_a_foreign_record_at_the_end(
    buffer: KafkaBuffer, broker_address: str, topic: str
) -> None:
    """It is the last of its partition until the next page comes."""
    await produce(broker_address, topic, b"hello")
    end = await buffer.end()
    with anyio.fail_after(30):
        await buffer.wait(end)
    receipt = await append(buffer, [])
    assert "sha256" in receipt.tail
    assert await buffer.holds(receipt)


async def test_a_change_too_large_for_a_record_is_set_aside(
    buffer: KafkaBuffer, tmp_path: Path
) -> None:
    """The rest of its page goes on."""
    start = await buffer.start()
    await append(buffer, [Change(1, "a", "1-a"), Change(2, "b" * MOST_BYTES, "1-b")])
    assert of(await buffer.read(start, 10)) == [Change(1, "a", "1-a")]
    [aside] = kept(tmp_path)
    assert aside["place"] == "the feed at seq 2"
    assert "larger than" in aside["why"]


async def test_a_page_of_many_batches_keeps_its_order(buffer: KafkaBuffer) -> None:
    """Batches are bounded; a partition may get several of them."""
    start = await buffer.start()
    page = [Change(seq, "same" * 50, f"{seq}-{'r' * 200}") for seq in range(1, 6001)]
    await append(buffer, page)
    assert of(await drained(buffer, start, limit=1000)) == page


async def test_a_group_is_told_how_far_the_mirror_is(
    buffer: KafkaBuffer, broker_address: str, topic: str
) -> None:
    """For those who watch; it is told when the buffer is trimmed."""
    receipt = await append(buffer, changes(1, 9))
    with anyio.fail_after(60):
        while await group_offsets(broker_address, "npmmirror", topic) != {0: 9}:
            await buffer.trim(receipt.end)


async def test_what_is_worked_off_is_kept_for_those_who_look(
    broker_address: str, topic: str, tmp_path: Path
) -> None:
    """For the hours that are configured; `AT`, when the contract's changes were seen, is past."""
    async with opened(broker_address, topic, tmp_path, keep_hours=1e6) as buffer:
        receipt = await append(buffer, changes(1, 9))
        assert await buffer.trim(receipt.end) == 0
        assert len(await drained(buffer, await buffer.start())) == 9
    async with opened(broker_address, topic, tmp_path, keep_hours=1.0) as buffer:
        assert await buffer.trim(receipt.end) == 9


async def test_nothing_above_the_checkpoint_is_deleted(
    broker_address: str, topic: str, tmp_path: Path
) -> None:
    """However old it is."""
    async with opened(broker_address, topic, tmp_path, keep_hours=0.0) as buffer:
        start = await buffer.start()
        await append(buffer, changes(1, 9))
        assert await buffer.trim(start) == 0
        assert len(await drained(buffer, start)) == 9


async def test_a_topic_made_anew_is_noticed_while_nothing_happens(
    buffer: KafkaBuffer, broker_address: str, topic: str
) -> None:
    """By its id, though nothing ever lay in it."""
    end = await buffer.end()
    await delete_topic(broker_address, topic)
    await create_topic(broker_address, topic, 1)
    with anyio.fail_after(30), pytest.raises(BufferChangedError, match="made anew"):
        await until_changed(buffer)
    with pytest.raises(BufferChangedError):
        await buffer.read(end, 1)
    await buffer.refresh()
    assert not await buffer.reaches(end)


async def until_changed(buffer: KafkaBuffer) -> None:
    """Wait for news, over failures that pass."""
    while True:
        try:
            await buffer.wait(await buffer.end())
        except BufferUnavailableError:
            await anyio.sleep(0.05)


async def test_a_page_for_a_topic_made_anew_is_not_taken_for_one_of_the_old(
    buffer: KafkaBuffer, broker_address: str, topic: str
) -> None:
    """What is acknowledged below what was acknowledged before lies in another log."""
    await append(buffer, changes(1, 9))
    await delete_topic(broker_address, topic)
    await create_topic(broker_address, topic, 1)
    with anyio.fail_after(60), pytest.raises(BufferChangedError):
        await append_until_changed(buffer)


async def append_until_changed(buffer: KafkaBuffer) -> None:
    """Append a page again and again, over failures that pass."""
    while True:
        try:
            await append(buffer, changes(10, 3))
        except BufferUnavailableError:
            await anyio.sleep(0.05)


async def test_unread_records_that_somebody_deletes_are_missed(
    buffer: KafkaBuffer, broker_address: str, topic: str
) -> None:
    """The reader would pass them silently otherwise."""
    start = await buffer.start()
    await append(buffer, changes(1, 9))
    await delete_records(broker_address, topic, [4])
    with pytest.raises(BufferChangedError, match=r"gone|deleted"):
        await buffer.read(start, 10)


async def test_a_topic_regrown_with_other_records_does_not_hold_a_receipt(
    broker_address: str, topic: str, tmp_path: Path
) -> None:
    """As long as a page lies between start and end, its last records are read back."""
    async with opened(broker_address, topic, tmp_path) as buffer:
        pages = [await append(buffer, changes(1 + 10 * n, 10)) for n in range(3)]
    async with opened(broker_address, topic, tmp_path) as buffer:
        assert [await buffer.holds(page) for page in pages] == [True] * 3
        other = pages[0]
        swapped = type(other)(1, 10, other.end, pages[1].tail)
        assert not await buffer.holds(swapped)


async def test_a_session_closed_by_another_call_is_no_cancellation(
    broker: Broker, tmp_path: Path
) -> None:
    """A client lets its own tasks' end out: a reader was seen to end without a word."""
    async with opened(broker.address, "topic", tmp_path, request_seconds=2.0) as buffer:
        broker.suspend()
        failures: list[str] = []

        async def ask(call: str) -> None:
            with pytest.raises(BufferUnavailableError):
                await (append(buffer, changes(1, 9)) if call == "append" else buffer._link.look())
            failures.append(call)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "append")
            tasks.start_soon(ask, "look")
            await anyio.sleep(0.2)
            broker.kill()
        assert sorted(failures) == ["append", "look"]
        broker.start()
        await append(buffer, changes(1, 9))


@pytest.mark.parametrize("closing", [False, True], ids=["asking", "closing"])
async def test_a_connection_that_broke_unseen_is_written_to(
    broker_address: str, topic: str, tmp_path: Path, *, closing: bool
) -> None:
    """A RuntimeError of uvloop, taken for a bug: it ended the daemon, from a call and from the closing behind one."""
    async with opened(broker_address, topic, tmp_path) as buffer:
        await append(buffer, changes(1, 9))
        session = buffer._link._session
        assert session is not None
        links = [*session.producer.client._conns.values()]
        left = await break_unseen(broker_address, links)
        if closing:
            # As aiokafka's own task does when its broker was killed just then.
            client = session.producer.client
            client._sync_task.cancel()
            await asyncio.wait([client._sync_task])
            client._sync_task = asyncio.ensure_future(write(links[0]))
            await asyncio.wait([client._sync_task])
            await buffer._link.let_go()
        else:
            with pytest.raises(BufferUnavailableError):
                await buffer._link.look()
        for transport in left:
            transport.abort()
        await append(buffer, changes(10, 9))


async def break_unseen(address: str, links: list[Any]) -> list[Any]:
    """Have connections be closed, of which aiokafka was not told; the transports they had."""
    host, _, port = address.rpartition(":")
    _, closed = await asyncio.open_connection(host, int(port))
    closed.close()
    await closed.wait_closed()
    left = [link._writer.transport for link in links]
    for link in links:
        link._writer._transport = closed.transport
    return left


async def write(link: Any) -> None:
    """Write to a connection."""
    link._writer.write(b"nobody will read this")
