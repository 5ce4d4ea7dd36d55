"""The feed's head goes back: told, followed from there, and everything asked to be looked at."""

from typing import Any

import pytest

from npmmirror.testing import faults
from tests.daemon.conftest import Open, RunningMirror

pytestmark = [pytest.mark.anyio, pytest.mark.long]

SOON: dict[str, Any] = {"head_fall_minutes": 0.005}
"""A head that lies below the cursor for 0.3 seconds is believed."""


def asked_for(mirror: RunningMirror) -> bool:
    """Whether a reconciliation was asked for."""
    return bool(mirror.rows("SELECT command FROM resumptions WHERE command = 'reconcile'"))


async def test_a_head_that_fell_is_followed_from_where_it_is(mirror: Open) -> None:
    """With an alarm, and with what the feed numbers anew from then on."""
    async with mirror(follow=SOON) as here:
        registry = here.upstream.registry
        for number in range(30):
            registry.publish(f"old-{number}", "1.0.0")
        async with here.running():
            cursor = (await here.at_head())["feed"]["cursor"]
            here.upstream.fault("all_docs", faults.Status(503), times=None)
            registry.reset_head(31)
            status = await here.until(lambda now: now["feed"]["head_went_back"] is not None)
            assert status["feed"]["head_went_back"]["before"] == cursor
            assert status["feed"]["head_went_back"]["after"] == 31
            registry.publish("new", "1.0.0")
            await here.at_head()
            assert (await here.status())["totals"]["packages"] == {"live": 31}
        assert "new" in here.end_state().packages
        async with here.running():
            assert (await here.at_head())["feed"]["head_went_back"] is not None
            here.upstream.heal()
            # Nothing is left to tell once a reconciliation came to its end.
            await here.until(lambda now: now["feed"]["head_went_back"] is None)
        assert not asked_for(here)


async def test_what_the_feed_lost_meanwhile_is_mirrored(mirror: Open) -> None:
    """By the reconciliation, which the daemon makes at once."""
    async with mirror(follow=SOON) as here:
        registry = here.upstream.registry
        for number in range(9):
            registry.publish(f"old-{number}", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.publish("lost", "1.0.0", announce="never")
            registry.publish("old-3", "1.1.0", announce="never")
            registry.reset_head(10)
            await here.until(lambda now: now["totals"]["versions"] == 11)
            await here.at_head()


async def test_a_reconciliation_is_asked_for(mirror: Open) -> None:
    """What the feed told between the old head and the new one is not to be had of it."""
    async with mirror(follow=SOON) as here:
        registry = here.upstream.registry
        for number in range(9):
            registry.publish(f"old-{number}", "1.0.0")
        async with here.running() as stop:
            await here.at_head()
            here.upstream.fault("all_docs", faults.Status(503), times=None)
            registry.reset_head(10)
            await here.until(lambda now: now["feed"]["head_went_back"] is not None)
            stop.set()
        assert asked_for(here)


async def test_a_replica_that_lags_triggers_nothing(
    mirror: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    """Some looks below the cursor, then one above: told, and nothing done."""
    async with mirror(follow=SOON) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            cursor = (await here.at_head())["feed"]["cursor"]
            lagging = f'{{"db_name":"registry","update_seq":{cursor - 1}}}'
            here.upstream.fault("root", faults.Status(200, body=lagging), times=3)
            roots = here.upstream.count("root")
            await here.upstream.asked("root", times=roots + 12)
            status = await here.at_head()
            assert status["feed"]["head_went_back"] is None
            assert status["feed"]["cursor"] == cursor
        assert not asked_for(here)
    assert capfd.readouterr().out.count("head_below_cursor") == 1


async def test_a_page_that_leads_back_moves_no_cursor(
    mirror: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    """A cache gave it: its rows are not appended, and it is told once."""
    async with mirror() as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        registry.publish("left-pad", "1.1.0")
        async with here.running():
            cursor = (await here.at_head())["feed"]["cursor"]
            old = f'{{"results":[],"last_seq":{cursor - 1}}}'
            asked = here.upstream.count("feed")
            here.upstream.fault("feed", faults.Status(200, body=old), times=5)
            await here.upstream.asked("feed", times=asked + 8)
            assert (await here.status())["feed"]["cursor"] == cursor
    assert capfd.readouterr().out.count("old_page") == 1


async def test_what_waits_in_the_buffer_is_still_worked_off(mirror: Open) -> None:
    """The feed may not tell it again."""
    async with mirror(follow=SOON, fetch={"drain_seconds": 0.1}) as here:
        registry = here.upstream.registry
        for number in range(9):
            registry.publish(f"old-{number}", "1.0.0")
        async with here.running():
            await here.at_head()
            here.upstream.fault("packument", faults.Stall(), times=None)
            registry.publish("waiting", "1.0.0")
            await here.upstream.asked("packument", "waiting")
            here.upstream.fault("all_docs", faults.Status(503), times=None)
            registry.reset_head(10)
            await here.until(lambda now: now["feed"]["head_went_back"] is not None)
            here.upstream.heal()
            here.upstream.release()
            await here.until(lambda now: "waiting" not in now["fetch"]["packages"])
            await here.at_head()
        assert "waiting" in here.end_state().packages
