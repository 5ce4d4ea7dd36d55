"""The breaker: what it holds, how it is decided about, and what it outlasts."""

from pathlib import Path
from typing import NoReturn

import anyio
import pytest
from structlog.testing import capture_logs

from npmmirror.capture import Kind
from npmmirror.daemon.reindex import reindex
from npmmirror.daemon.removals import decide_alone
from npmmirror.index import IndexUnavailableError
from npmmirror.index.removals import Removals
from npmmirror.pipeline.removal import Verdict
from npmmirror.testing import ScriptedUpstream, faults
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.derived import derived, differences
from tests.daemon.test_removals import (
    AT_ONCE,
    FIVE,
    SECONDS,
    decided,
    events,
    evidence,
    listed,
    logged,
    publish,
    remove,
    removed,
)

pytestmark = [pytest.mark.anyio, pytest.mark.long]


async def test_hundreds_that_vanish_at_once_trip_the_breaker(mirror: Open) -> None:
    """Up to the limit they are recorded; all others are held, with one alarm."""
    limits = {"removal_breaker_packages": 50, "removal_breaker_percent": 0}
    policy = {**AT_ONCE, **limits, "tarballs": "none"}
    async with mirror(policy=policy) as here:
        registry = here.upstream.registry
        names = publish(registry, 300)
        async with here.running():
            await here.at_head()
            with capture_logs() as lines:
                remove(registry, names)
                status = await here.until(lambda s: s["removals"]["held"] == 250)
            alarms = [line for line in lines if line["event"] == "removal_breaker_tripped"]
            assert [line["log_level"] for line in alarms] == ["error"]
            assert alarms[0]["removals"] > 50
            assert status["removals"]["tripped"]
            assert status["totals"]["packages"] == {"live": 250, "removed": 50}
        assert removed(here) == 50
        held = (await listed(here))["held"]
        assert len(held) == 250
        assert held[0]["evidence"]["answers"] == 3
        assert held[0]["reason"] == "not_found"


async def test_a_share_of_the_live_packages_trips_it_too(mirror: Open) -> None:
    """Five percent of a small mirror; but not where that is a handful."""
    policy = {**AT_ONCE, "removal_breaker_packages": 0, "tarballs": "none"}
    async with mirror(policy=policy) as here:
        registry = here.upstream.registry
        names = publish(registry, 60)
        async with here.running():
            await here.at_head()
            remove(registry, names[:20])
            await here.until(lambda s: s["totals"]["packages"] == {"live": 40, "removed": 20})
            remove(registry, names[20:22])
            status = await here.until(lambda s: s["removals"]["held"] == 2)
            assert status["totals"]["packages"]["removed"] == 20


async def tripped(here: RunningMirror, count: int = 8) -> list[str]:
    """Have the breaker hold what is beyond five."""
    registry = here.upstream.registry
    names = publish(registry, count)
    await here.at_head()
    remove(registry, names)
    await here.until(lambda s: s["removals"]["held"] == count - 5)
    return [item["package"] for item in (await listed(here, "held"))["held"]]


async def test_what_is_confirmed_is_recorded(mirror: Open) -> None:
    """By the daemon: one, then the rest; each a decision and a record, and the breaker closes."""
    async with mirror(policy=FIVE) as here:
        async with here.running():
            held = await tripped(here)
            first = await decided(here, "confirm", [held[0], "nobody"])
            assert first == {
                "decision": "confirm",
                "packages": 1,
                "unknown": ["nobody"],
                "left": 2,
            }
            assert (await decided(here, "confirm"))["packages"] == 2
            status = await here.at_head()
            assert status["removals"] == {"tripped": False, "held": 0, "since": None}
            assert status["totals"]["packages"] == {"removed": 8}
            # What was decided counts no more: the next one is no storm.
            here.upstream.registry.publish("late", "1.0.0")
            await here.at_head()
            here.upstream.registry.remove("late")
            await here.until(lambda s: s["totals"]["packages"] == {"removed": 9})
        assert evidence(here, held[0])["confirmed_by"] == "operator"
        decisions = logged(here, Kind.DECISION)
        assert [record.facts["what"] for record in decisions] == ["confirm_removal"] * 3
        assert removed(here) == 9


async def test_what_is_discarded_is_looked_at_anew(mirror: Open) -> None:
    """No event; a row of the work list for later, which finds the package again."""
    policy = {**FIVE, "confirm_removal_hours": SECONDS}
    async with mirror(policy=policy) as here:
        async with here.running():
            held = await tripped(here)
            for name in held:
                here.upstream.registry.publish(name, "2.0.0", announce="never")
            await decided(here, "discard")
            status = await here.until(
                lambda s: (
                    s["totals"]["packages"] == {"live": 3, "removed": 5} and s["mirror"]["at_head"]
                )
            )
            assert not status["removals"]["tripped"]
        assert [record.facts["what"] for record in logged(here, Kind.DECISION)] == [
            "discard_removal"
        ] * 3
        assert all("version_published" in events(here, name) for name in held)
        assert removed(here) == 5


async def test_what_comes_back_is_let_go_of(mirror: Open) -> None:
    """A held package whose change is announced, or that answers again, waits for nobody."""
    policy = {**FIVE, "confirm_removal_hours": SECONDS}
    async with mirror(policy=policy) as here:
        async with here.running():
            held = await tripped(here)
            here.upstream.registry.publish(held[0], "2.0.0")
            await here.until(lambda s: s["removals"]["held"] == 2)
            for name in held[1:]:
                here.upstream.registry.publish(name, "2.0.0", announce="never")
            await here.until(lambda s: s["removals"]["held"] == 0 and s["mirror"]["at_head"])
        assert all("package_restored" not in events(here, name) for name in held)
        assert removed(here) == 5


async def test_a_change_of_the_feed_lets_go_though_there_is_no_document_yet(mirror: Open) -> None:
    """What was held before it is no proof any more, and not for the operator to confirm."""
    policy = {**FIVE, "confirm_removal_hours": SECONDS}
    async with mirror(policy=policy) as here, here.running():
        held = await tripped(here)
        here.upstream.fault("packument", faults.Status(404), name=held[0], times=None)
        here.upstream.registry.publish(held[0], "2.0.0")
        await here.until(lambda s: s["removals"]["held"] == 2)
        assert here.work_list(held[0])[""].reason == "not_found"


@pytest.mark.parametrize("verdict", ["confirm", "discard"])
async def test_what_the_policy_wants_no_longer_is_decided_about_too(
    mirror: Open, verdict: Verdict
) -> None:
    """Else the breaker would never close."""
    async with mirror(policy=FIVE) as here, here.running():
        held = await tripped(here)
    policy = {**FIVE, "deny": held}
    async with mirror(here.upstream, policy=policy) as here, here.running():
        assert (await decided(here, verdict))["packages"] == 3
        assert (await here.status())["removals"]["held"] == 0


async def test_a_decision_that_cannot_be_made_now_ends_no_daemon(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked is told; what is held is still held."""
    async with mirror(policy=FIVE) as here, here.running():
        await tripped(here)
        with monkeypatch.context() as broken:

            async def held(*_: object) -> NoReturn:
                raise IndexUnavailableError("the disk does not answer")

            broken.setattr(Removals, "held", held)
            async with here.control() as client:
                reports = [report async for report in client.decide_removals("confirm", None)]
        assert reports == [{"error": "the disk does not answer"}]
        assert (await decided(here, "confirm"))["packages"] == 3


async def test_the_breaker_outlasts_a_restart(mirror: Open) -> None:
    """What is held stays so, what vanishes then is held as well, and a decision needs no daemon."""
    async with mirror(policy=FIVE) as here:
        async with here.running():
            await tripped(here)
            here.upstream.registry.publish("late", "1.0.0")
            await here.until(lambda s: s["totals"]["packages"].get("live") == 4)
        async with here.running():
            assert (await here.status())["removals"]["held"] == 3
            here.upstream.registry.remove("late")
            await here.until(lambda s: s["removals"]["held"] == 4)
        report = await decide_alone(here.config, "confirm", None, tell=lambda _: None)
        assert report == {"decision": "confirm", "packages": 4, "unknown": [], "left": 0}
        assert removed(here) == 9


async def test_the_window_outlasts_a_restart(mirror: Open) -> None:
    """Removals of the last hour count also where another process recorded them."""
    async with mirror(policy=FIVE) as here:
        registry = here.upstream.registry
        names = publish(registry, 6)
        async with here.running():
            await here.at_head()
            remove(registry, names[:5])
            await here.until(lambda s: s["totals"]["packages"].get("removed") == 5)
        registry.remove(names[5])
        async with here.running():
            await here.until(lambda s: s["removals"]["held"] == 1)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_rebuilt_index_has_the_same_removals(mirror: Open, lost: bool) -> None:
    """No event twice; what is held is taken over from the index before, where there is one."""
    async with mirror(policy=FIVE) as here:
        async with here.running():
            held = await tripped(here)
            await decided(here, "confirm", held[:1])
            await decided(here, "discard", held[1:2])
        index: Path = here.config.storage.index_path
        before = derived(index)
        if lost:
            for path in index.parent.glob(f"{index.name}*"):
                path.unlink()
        rebuilt = await reindex(here.config, lambda _: None)
        assert rebuilt.whole
        assert differences(before, derived(index)) == []
        still = [] if lost else held[2:]
        assert [item["package"] for item in (await listed(here))["held"]] == still
        async with here.running():
            assert (await here.status())["removals"]["held"] == len(still)
        assert removed(here) == 6


async def test_decisions_wait_for_a_look_under_way(mirror: Open) -> None:
    """A held package that is being looked at: its document counts, not the decision behind it."""
    async with mirror(policy=FIVE) as here:
        registry = here.upstream.registry
        async with here.running():
            held = await tripped(here)
            asked = here.upstream.count("packument", held[0])
            here.upstream.fault("packument", faults.Stall(), name=held[0], times=1)
            registry.publish(held[0], "2.0.0")
            await here.upstream.asked("packument", held[0], times=asked + 1)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(decided, here, "confirm", [held[0]])
                await here.until(lambda s: s["fetch"]["waiting"] == 1)
                here.upstream.release()
            await here.until(lambda s: s["removals"]["held"] == 2)
        assert "package_removed" not in events(here, held[0])
        assert removed(here) == 5


async def test_removals_of_packages_never_captured_are_none(mirror: Open) -> None:
    """Nothing to remove, nothing to hold."""
    upstream = ScriptedUpstream()
    async with mirror(upstream, policy=FIVE) as here:
        registry = here.upstream.registry
        names = publish(registry, 10)
        remove(registry, names)
        async with here.running():
            status = await here.at_head()
        assert status["removals"]["held"] == 0
        assert status["skips"] == {"gone_before_capture": 10}


async def test_a_decision_says_what_it_waits_for(mirror: Open) -> None:
    """While upstream is away nobody fetches, and a decision has its turn with the rest."""
    async with mirror(policy=FIVE) as here, here.running():
        held = await tripped(here)
        here.upstream.fault("packument", faults.Status(503), times=None)
        here.upstream.registry.publish("left-pad", "1.0.0")
        await here.until(lambda s: s["fetch"]["paused"] is not None)
        waits: list[str] = []
        async with here.control() as client:
            async for report in client.decide_removals("confirm", held):
                if report.get("waits"):
                    waits.append(report["waits"])
                    here.upstream.heal()
        assert waits[0].startswith("http_503")
        assert report["packages"] == len(held)
