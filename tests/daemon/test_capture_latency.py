"""From a publication to a durable tarball: every time of it, from a real run."""

from datetime import UTC, datetime

import pytest

from npmmirror.clock import moment, timestamp
from npmmirror.daemon.reindex import reindex
from npmmirror.packument import instant
from npmmirror.testing import ScriptedUpstream
from npmmirror.testing.registry import ScriptedRegistry
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.derived import derived, differences

pytestmark = pytest.mark.anyio

TIMES = (
    "SELECT published_at, announced_at, observed_at, captured_at, held_at FROM capture_latencies"
)


def living() -> ScriptedUpstream:
    """An upstream whose changes happen when they are made."""
    return ScriptedUpstream(ScriptedRegistry(clock=lambda: datetime.now(UTC)))


async def followed(here: RunningMirror) -> None:
    """A package of before, and a version of it that is news."""
    here.upstream.registry.publish("left-pad", "1.0.0", at="2020-01-01T00:00:00.000Z")
    async with here.running():
        await here.at_head()
        here.upstream.registry.publish("left-pad", "1.1.0")
        await here.at_head()
        status = await here.status()
    window = status["latency"]["day"]
    assert {leg: found["count"] for leg, found in window.items()} == dict.fromkeys(window, 1)
    assert 0 <= window["until_captured"]["p50"] <= window["until_held"]["p99"] < 60
    assert status["latency"]["week"] == window


async def test_every_time_of_a_version_is_kept(mirror: Open) -> None:
    """Published, announced, observed, durable, in this order; history is no latency."""
    async with mirror(living()) as here:
        await followed(here)
        [times] = here.rows(TIMES)
    published = instant(times[0])
    assert published is not None
    order = [timestamp(published), *times[1:]]
    assert order == sorted(order)
    assert moment(order[-1]) <= datetime.now(UTC)


async def test_an_index_made_anew_has_the_same_times(mirror: Open) -> None:
    """The log tells when a change was first seen."""
    async with mirror(living()) as here:
        await followed(here)
        before, times = derived(here.config.storage.index_path), here.rows(TIMES)
        await reindex(here.config, tell=lambda _: None)
        assert differences(before, derived(here.config.storage.index_path)) == []
        assert here.rows(TIMES) == times


async def test_a_change_that_waits_for_a_lagging_document_keeps_its_announcement(
    mirror: Open,
) -> None:
    """The row of the work list that asks again tells when it was first seen."""
    async with mirror(living()) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.serve_stale("left-pad", 10_000)
            registry.publish("left-pad", "1.1.0")
            await here.until(lambda status: "stale" in status["work_list"])
            [waiting] = here.rows("SELECT announced_at FROM work_list")
            registry.serve_stale("left-pad", 0)
            await here.at_head()
        [found] = here.rows("SELECT announced_at FROM capture_latencies WHERE version = '1.1.0'")
    assert waiting == found
    assert found[0] is not None


async def test_what_a_person_syncs_has_no_announcement(mirror: Open) -> None:
    """Its way from the publication counts all the same, where following began before."""
    async with mirror(living()) as here:
        async with here.running():
            await here.at_head()
        here.upstream.registry.publish("left-pad", "1.0.0")
        await here.sync("left-pad")
        [(_, announced, *_, held)] = here.rows(TIMES)
    assert announced is None
    assert held is not None
