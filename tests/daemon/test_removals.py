"""Deletions against the scripted upstream: what is believed, what is held, what stays."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from npmmirror.archive import CaptureReader
from npmmirror.capture import Kind, Record
from npmmirror.daemon.removal_list import RemovalList
from npmmirror.pipeline.removal import Verdict
from npmmirror.testing import ScriptedRegistry, faults
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio

AT_ONCE = {"confirm_removal_hours": 0}
FIVE = {**AT_ONCE, "removal_breaker_packages": 5}
SECONDS = 1 / 3600


def events(here: RunningMirror, package: str) -> list[str]:
    """The kinds of a package's events, in their order."""
    return [row[1] for row in here.end_state().packages[package].events]


def removed(here: RunningMirror) -> int:
    """How many removals are recorded."""
    [(count,)] = here.rows("SELECT count(*) FROM events WHERE kind = 'package_removed'")
    return int(count)


def evidence(here: RunningMirror, package: str) -> dict[str, Any]:
    """What the newest removal of a package says."""
    [(detail,)] = here.rows(
        "SELECT detail FROM events JOIN packages AS p ON p.id = package_id "  # noqa: S608 - ours
        f"WHERE kind = 'package_removed' AND p.name = '{package}' ORDER BY events.id DESC LIMIT 1"
    )
    told: dict[str, Any] = json.loads(detail)
    return told


def logged(here: RunningMirror, *kinds: Kind) -> list[Record]:
    """The records of some kinds in the capture log."""
    with CaptureReader(here.config.storage.data_dir / "captures") as reader:
        return [each for each in reader.scan() if isinstance(each, Record) and each.kind in kinds]


async def listed(here: RunningMirror, state: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """What `npmmirror removals list` has, by its parts."""
    found: dict[str, list[dict[str, Any]]] = {"held": [], "confirming": [], "gone": []}
    async for part, items in RemovalList(here.config, state).pages():
        found.setdefault(part, []).extend(items)
    return found


async def decided(
    here: RunningMirror, verdict: Verdict, names: list[str] | None = None
) -> dict[str, Any]:
    """What the daemon reports of a decision in the end."""
    async with here.control() as client:
        reports = [report async for report in client.decide_removals(verdict, names)]
    assert reports[-1].pop("end")
    return reports[-1]


def publish(registry: ScriptedRegistry, count: int) -> list[str]:
    """Some packages of one version each."""
    names = [f"p{number}" for number in range(count)]
    for name in names:
        registry.publish(name, "1.0.0")
    return names


def remove(registry: ScriptedRegistry, names: Sequence[str]) -> None:
    """Take packages away wholly."""
    for name in names:
        registry.remove(name)


async def test_404_and_451_are_told_apart_in_the_evidence(mirror: Open) -> None:
    """Both are the state `removed`; what was answered, how often, and the feed's word are kept."""
    async with mirror(policy=AT_ONCE) as here:
        registry = here.upstream.registry
        publish(registry, 2)
        async with here.running():
            await here.at_head()
            here.upstream.fault("packument", faults.Status(451), name="p1", times=None)
            registry.remove("p0")
            registry.deprecate("p1", "1.0.0", "gone")
            await here.until(lambda s: s["totals"]["packages"] == {"removed": 2})
        assert evidence(here, "p0") == {
            "versions": 1,
            "status": 404,
            "answers": 3,
            "feed": "deleted",
        }
        assert evidence(here, "p1") == {"versions": 1, "status": 451, "answers": 3}
        reasons = {item["package"]: item["reason"] for item in (await listed(here))["gone"]}
        assert reasons == {"p0": "not_found", "p1": "legal_reasons"}
        gone = [record.facts["evidence"] for record in logged(here, Kind.GONE)]
        assert all(each["first_at"] for each in gone)


async def test_the_ends_of_packages_are_told_apart(mirror: Open) -> None:
    """Removed, unpublished, held for security: each its state, reason, event and holdings."""
    async with mirror(policy=AT_ONCE) as here:
        registry = here.upstream.registry
        publish(registry, 4)
        async with here.running():
            await here.at_head()
            registry.remove("p0")
            registry.unpublish("p1")
            registry.security_hold("p2")
            await here.until(
                lambda s: s["totals"]["packages"].get("removed") == 1 and s["mirror"]["at_head"]
            )
        assert [events(here, name)[-1] for name in ("p0", "p1", "p2")] == [
            "package_removed",
            "package_unpublished",
            "security_hold",
        ]
        gone = {item["package"]: item for item in (await listed(here))["gone"]}
        assert {name: item["state"] for name, item in gone.items()} == {
            "p0": "removed",
            "p1": "unpublished",
            "p2": "security_hold",
        }
        assert all(item["tarballs"] >= 1 and item["tarball_bytes"] for item in gone.values())
        only = await listed(here, "unpublished")
        assert [item["package"] for item in only["gone"]] == ["p1"]


async def test_the_feeds_deleted_row_needs_the_hours_too(mirror: Open) -> None:
    """A package that is deleted and published again within minutes was never removed."""
    async with mirror(policy={"confirm_removal_hours": 2 * SECONDS}) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.remove("left-pad")
            await here.until(lambda s: s["work_list"].get("not_found"))
            [confirming] = (await listed(here))["confirming"]
            assert confirming["deleted_by_feed"]
            assert confirming["needed"] == 3
            registry.publish("left-pad", "2.0.0")
            await here.at_head()
        assert "package_removed" not in events(here, "left-pad")
        assert "package_restored" not in events(here, "left-pad")


async def test_a_package_that_comes_back_is_restored(mirror: Open) -> None:
    """Removed for sure, then there again: an event, and nothing that was held is gone."""
    async with mirror(policy=AT_ONCE) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.remove("left-pad")
            await here.until(lambda s: s["totals"]["packages"] == {"removed": 1})
            registry.publish("left-pad", "2.0.0")
            await here.at_head()
        told = events(here, "left-pad")
        assert told.index("package_removed") < told.index("package_restored")
        assert (await listed(here))["gone"] == []


async def test_a_lagging_404_does_not_end_the_change_that_restores_a_package(mirror: Open) -> None:
    """A cache that lags answers "not there" once more: the package is looked at again."""
    async with mirror(policy={**AT_ONCE, "confirm_removal_answers": 1}) as here:
        registry = here.upstream.registry
        registry.publish("a", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.remove("a")
            await here.at_head()
            registry.publish("a", "2.0.0")
            registry.serve_stale("a", 1)
            await here.until(lambda status: status["totals"]["packages"].get("live") == 1)
    assert "package_restored" in events(here, "a")


async def test_an_answer_in_between_starts_counting_over(mirror: Open) -> None:
    """404, 404, the document, 404, 404: no three in a row."""
    async with mirror(policy={"confirm_removal_hours": SECONDS, "tarballs": "none"}) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            for _ in range(2):
                here.upstream.fault("packument", faults.Status(404), times=2)
                registry.deprecate("left-pad", "1.0.0", "old")
                await here.at_head()
        assert events(here, "left-pad").count("package_removed") == 0


async def test_a_document_that_a_person_is_given_starts_counting_over(mirror: Open) -> None:
    """The feed says deleted, twice it was not there, and then `sync` has it."""
    async with mirror(policy={"confirm_removal_hours": 1.0}) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            missing = here.upstream.fault("packument", faults.Status(404), times=None)
            registry.unpublish("left-pad", deleted=True)
            await here.until(lambda s: s["work_list"].get("not_found") == 1)
            here.upstream.heal(missing)
            registry.publish("left-pad", "2.0.0", announce="never")
            async with here.control() as client:
                _ = [report async for report in client.sync(["left-pad"], {"force": True})]
            row = here.work_list("left-pad")[""]
            assert (row.reason, row.attempts) == ("deleted_but_answered", 1)


async def test_an_old_document_that_a_person_is_given_starts_counting_over(mirror: Open) -> None:
    """It is not believed, and yet the package is there."""
    async with mirror(policy={"confirm_removal_hours": 1.0}) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        registry.publish("left-pad", "2.0.0")
        async with here.running():
            await here.at_head()
            missing = here.upstream.fault("packument", faults.Status(404), times=None)
            registry.publish("left-pad", "3.0.0")
            await here.until(lambda s: s["work_list"].get("not_found") == 1)
            here.upstream.heal(missing)
            registry.serve_stale("left-pad", 9, busted=True)
            async with here.control() as client:
                _ = [report async for report in client.sync(["left-pad"], {"force": True})]
            row = here.work_list("left-pad")[""]
            assert (row.reason, row.attempts) == ("stale", 1)


async def test_answers_of_not_there_do_not_have_a_document_believed_sooner(mirror: Open) -> None:
    """The feed says deleted, and it is there after all: that is counted by itself."""
    policy = {"confirm_removal_answers": 5, "confirm_removal_hours": 2 * SECONDS}
    fetch = {"retry_seconds": 100.0, "retry_max_seconds": 100.0}
    async with mirror(policy=policy, fetch=fetch) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            here.upstream.fault("packument", faults.Status(404), times=3)
            registry.unpublish("left-pad", deleted=True)
            registry.publish("left-pad", "2.0.0", announce="never")
            await here.until(lambda s: s["work_list"].get("deleted_but_answered") == 1)
            assert here.work_list("left-pad")[""].attempts == 1


async def test_a_later_change_starts_counting_over(mirror: Open) -> None:
    """The feed says that it is there: the answers from before count no more."""
    async with mirror(policy={"confirm_removal_hours": 3 * SECONDS}) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            here.upstream.fault("packument", faults.Status(404), times=None)
            registry.remove("left-pad")
            await here.until(
                lambda _: [row["answers"] for row in confirming(here)] == [2],
            )
            registry.publish("left-pad", "2.0.0")
            await here.until(
                lambda _: [row["answers"] for row in confirming(here)] == [1],
            )


def confirming(here: RunningMirror) -> list[dict[str, Any]]:
    """The rows of documents that were not there."""
    rows = here.rows("SELECT attempts FROM work_list WHERE reason = 'not_found' AND item = ''")
    return [{"answers": attempts} for (attempts,) in rows]


async def test_the_404s_of_december_2024_remove_nothing(mirror: Open) -> None:
    """Hundreds of live packages answer 404 for a while, whatever the feed says: all stay live."""
    async with mirror(policy={"confirm_removal_hours": 1.0, "tarballs": "none"}) as here:
        registry = here.upstream.registry
        names = publish(registry, 300)
        async with here.running():
            await here.at_head()
            maintenance = here.upstream.fault("packument", faults.Status(404), times=None)
            for name in names:
                registry.deprecate(name, "1.0.0", "changed under maintenance")
            await here.until(lambda s: s["work_list"].get("not_found") == 300)
            here.upstream.heal(maintenance)
            async with here.control() as client:
                await client.retry([])
            status = await here.at_head()
        assert status["totals"]["packages"] == {"live": 300}
        assert removed(here) == 0
        [(deprecated,)] = here.rows("SELECT count(*) FROM events WHERE kind = 'deprecated'")
        assert deprecated == 300
