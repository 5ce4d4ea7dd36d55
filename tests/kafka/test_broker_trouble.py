"""Whatever happens to a broker, the mirror ends as one that has none: nothing lost or doubled."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import msgspec
import pytest

from npmmirror.cli.shapes import SHAPES
from tests.kafka.broker import Broker
from tests.kafka.clients import create_topic, delete_records, delete_topic
from tests.kill import endstate
from tests.kill.daemon_process import MirrorDaemon
from tests.kill.pair import Pair
from tests.kill.places import kill_at
from tests.kill.trial import settled, sound

pytestmark = [pytest.mark.kafka, pytest.mark.kill, pytest.mark.timeout(400), pytest.mark.long]

SECONDS = 120


def until(condition: Callable[[], bool], daemon: MirrorDaemon) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        daemon.killed()  # it must not have ended by itself: its status is then that of the index
        assert time.monotonic() < deadline, daemon.tail()
        time.sleep(0.02)


def told(daemon: MirrorDaemon, event: str) -> list[str]:
    """Lines of the log with this event."""
    lines = daemon.log.read_text(errors="replace").splitlines()
    return [line for line in lines if f'"event":"{event}"' in line]


def says(daemon: MirrorDaemon, event: str) -> None:
    """Wait until the log has such a line."""
    until(lambda: bool(told(daemon, event)), daemon)


def received(pair: Pair) -> None:
    """Wait until all that upstream told lies in the buffer of the mirror on Kafka."""
    head = pair.upstream.do("head")
    until(lambda: asked(pair.disturbed, "SELECT cursor FROM progress") == head, pair.disturbed)


def asked(daemon: MirrorDaemon, sql: str) -> Any:
    """One value of the mirror's index."""
    with closing(endstate.connect(daemon.data_dir)) as index:
        return index.execute(sql).fetchone()[0]


def alike(pair: Pair) -> None:
    """Both come to the head, and hold the same."""
    pair.disturbed.wait_for_head()
    pair.undisturbed.wait_for_head()
    found = settled(pair.upstream, pair.disturbed)
    assert endstate.differences(sound(pair.upstream, pair.undisturbed.data_dir), found) == []


def run(pair: Pair) -> MirrorDaemon:
    """The mirror on Kafka, started, and at the head after changes that it saw come."""
    pair.step()
    pair.disturbed.start()
    pair.disturbed.wait_for_head()
    return pair.disturbed


def pend(pair: Pair) -> None:
    """Kill the mirror on Kafka with changes in the topic, behind some that are finished."""
    assert kill_at(pair, "record.committed")
    assert pair.disturbed.unfinished()


def test_a_broker_killed_in_the_midst_of_a_page(pair: Pair, frail: Broker) -> None:
    """It had taken the page or not, and could not say so."""
    daemon = run(pair)
    for _ in range(2):
        frail.suspend()
        before = pair.upstream.do("count", scope="feed")
        pair.upstream.do("step")
        while pair.upstream.do("count", scope="feed") < before + 2:
            time.sleep(0.02)
        frail.kill()
        until(lambda: daemon.status()["feed"]["error"] is not None, daemon)
        frail.start()
        until(lambda: daemon.status()["feed"]["error"] is None, daemon)
        # before the next step, which would be met together with this one by whoever is behind
        pair.disturbed.wait_for_head()
        pair.undisturbed.wait_for_head()
    alike(pair)


def test_a_broker_killed_in_the_midst_of_a_drain(pair: Pair, frail: Broker) -> None:
    """What is in the pool is finished without it; the rest goes on by itself when it is back."""
    daemon = run(pair)
    pair.upstream.do("fault", fault={"kind": "stall"}, scope="packument", times=None)
    pair.upstream.do("step", count=2)
    received(pair)
    frail.kill()
    says(daemon, "waiting_for_buffer")
    waiting = daemon.unfinished()
    pair.upstream.do("heal")
    pair.upstream.do("release")
    until(lambda: len(daemon.unfinished()) < len(waiting), daemon)
    frail.start()
    alike(pair)
    assert len(told(daemon, "waiting_for_buffer")) <= 3


def test_a_broker_away_at_the_start_is_waited_for(pair: Pair, frail: Broker) -> None:
    """The mirror says so, in the log and in its status."""
    frail.kill()
    pair.disturbed.start()
    says(pair.disturbed, "waiting_for_buffer")
    status = pair.disturbed.status()
    assert status["daemon"]["state"] == "running"
    assert f"no answer from Kafka: {frail.address}: " in status["buffer"]["error"]
    frail.start()
    alike(pair)
    assert len(told(pair.disturbed, "waiting_for_buffer")) == 1


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_broker_that_lost_power(pair: Pair, frail: Broker, *, running: bool) -> None:
    """Its files are those of some time ago: what it had acknowledged since is read again."""
    frail.stop()
    frail.save()
    frail.start()
    daemon = run(pair)
    pair.upstream.do("fault", fault={"kind": "stall"}, scope="packument", times=None)
    pair.step()
    pair.upstream.do("fault", fault={"kind": "stall"}, scope="packument", times=None)
    received(pair)
    if not running:
        daemon.kill()
    frail.kill()
    frail.put_back()
    frail.start()
    pair.upstream.do("heal")
    pair.upstream.do("release")
    if not running:
        daemon.start()
    says(daemon, "buffer_lost_changes")
    alike(pair)


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_topic_deleted_and_made_anew(
    pair: Pair, frail: Broker, topic: str, *, running: bool
) -> None:
    """Its id is another one, whatever lies in it."""
    daemon = pair.disturbed
    if running:
        run(pair)
    else:
        pend(pair)
    asyncio.run(delete_topic(frail.address, topic))
    if not running:
        asyncio.run(create_topic(frail.address, topic, 3))
        daemon.start()
    says(daemon, "buffer_lost_changes")
    daemon.wait_for_head()
    pair.step()
    alike(pair)


def test_people_see_what_waits_in_the_topic(pair: Pair) -> None:
    """Without a daemon: how far each partition is worked off, and the changes behind that."""
    pend(pair)
    words = ("buffer", "status", "--json")
    status = msgspec.convert(pair.disturbed.said(*words), SHAPES["buffer status"], strict=True)
    assert status.checkpoint_is_ours
    assert status.topic.unwanted == []
    peeked = pair.disturbed.said("buffer", "peek", "-n", "100", "--json")
    found = msgspec.convert(peeked, SHAPES["buffer peek"], strict=True)
    assert 0 < len(found) == status.depth == sum(one.depth for one in status.partitions)
    assert {one.change.id for one in found} <= pair.upstream.do("state").keys()
    pair.recover()


def test_records_deleted_under_the_checkpoint_are_not_missed(
    pair: Pair, frail: Broker, topic: str
) -> None:
    """They are finished; the mirror deletes them itself."""
    pend(pair)
    offsets = json.loads(asked(pair.disturbed, "SELECT checkpoint FROM progress"))
    asyncio.run(delete_records(frail.address, topic, offsets))
    pair.recover()
    assert not told(pair.disturbed, "buffer_lost_changes")


def test_records_deleted_above_the_checkpoint_are_read_again(
    pair: Pair, frail: Broker, topic: str
) -> None:
    """Somebody's retention ate changes that nobody had worked off."""
    pend(pair)
    asyncio.run(delete_records(frail.address, topic, [-1, -1, -1]))
    pair.recover()
    [line] = told(pair.disturbed, "buffer_lost_changes")
    assert "lost changes not yet done; the feed is read again from" in line


def test_another_number_of_partitions_is_used_and_told(
    pair: Pair, frail: Broker, topic: str
) -> None:
    """And so is a configuration that deletes what nobody has read."""
    asyncio.run(delete_topic(frail.address, topic))
    asyncio.run(create_topic(frail.address, topic, 5, {"retention.ms": "3600000"}))
    pair.step()
    pair.recover()
    [line] = told(pair.disturbed, "topic_has_other_partitions")
    assert '"partitions":5,"configured":3' in line
    [line] = told(pair.disturbed, "topic_is_configured_otherwise")
    assert '"key":"retention.ms","value":"3600000","wanted":"-1"' in line
    assert len(json.loads(asked(pair.disturbed, "SELECT checkpoint FROM progress"))) == 5
