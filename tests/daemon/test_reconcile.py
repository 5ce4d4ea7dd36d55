"""Reconciliation finds what the feed lost, and nothing else."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from npmmirror.daemon import cold_commands, cold_start
from npmmirror.pipeline import listing, reconcile as pipeline_reconcile
from npmmirror.pipeline.reconcile import Asked, ListingRefusedError
from npmmirror.testing import faults
from npmmirror.testing.asked import Asked as Request
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.test_following import held

pytestmark = pytest.mark.anyio

NONE = {"missing": 0, "older": 0, "returned": 0, "unlisted": 0}


@pytest.fixture(autouse=True)
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages and parts that a small registry meets the ends of."""
    monkeypatch.setattr(listing, "PAGE_ROWS", 7)
    monkeypatch.setattr(pipeline_reconcile, "PAGE_ROWS", 7)
    monkeypatch.setattr(pipeline_reconcile, "PUT_ROWS", 3)
    monkeypatch.setattr(pipeline_reconcile, "PART", 5)
    monkeypatch.setattr("npmmirror.index.reconciling.PART", 5)
    monkeypatch.setattr(cold_start, "PACE_SECONDS", 0.0)
    monkeypatch.setattr(cold_start, "LOOK_SECONDS", 0.05)


@asynccontextmanager
async def whole(mirror: Open, count: int = 20, **sections: Any) -> AsyncIterator[RunningMirror]:
    """A mirror that follows from the beginning and has all packages there are."""
    sections.setdefault("policy", {}).setdefault("confirm_removal_hours", 0.0)
    async with mirror(**sections) as here:
        for number in range(count):
            here.upstream.registry.publish(f"p{number:03}", "1.0.0")
        async with here.running():
            await here.at_head()
        yield here


async def alone(here: RunningMirror, **how: bool) -> dict[str, Any]:
    """What `npmmirror reconcile` does where no daemon runs."""
    report = await cold_commands.reconcile(
        here.config, here.source, Asked(**how), tell=lambda _: None
    )
    assert report is not None
    return report


def found(report: dict[str, Any]) -> dict[str, int]:
    """How many differences of each kind."""
    return {kind: report[kind] for kind in NONE}


def findings(report: dict[str, Any]) -> set[tuple[str, str]]:
    """What the report's file has."""
    told = json.loads(Path(report["report"]).read_text("utf-8"))
    return {(one["what"], one["package"]) for one in told["findings"]}


def execute(here: RunningMirror, sql: str) -> None:
    """Change the index as nobody else may, while nothing runs."""
    with closing(sqlite3.connect(here.config.storage.index_path)) as index, index:
        index.execute(sql)


async def test_nothing_is_found_where_nothing_was_lost(mirror: Open) -> None:
    """Removed, unpublished and design documents are no difference."""
    async with whole(mirror) as here:
        registry = here.upstream.registry
        registry.design_document()
        registry.unpublish("p001")
        registry.security_hold("p002")
        registry.remove("p003")
        async with here.running():
            await here.at_head()
        report = await alone(here)
    assert found(report) == NONE
    assert (report["queued"], report["disbelieved"]) == (0, None)
    assert findings(report) == set()


async def test_a_package_that_the_feed_never_told_of_is_found(mirror: Open) -> None:
    """Its row is hidden; it is queued, and the next daemon has it."""
    async with whole(mirror) as here:
        here.upstream.registry.publish("lost", "1.0.0")
        here.upstream.registry.hide("lost")
        report = await alone(here)
        assert findings(report) == {("missing", "lost")}
        async with here.running():
            await here.until(lambda status: not status["work_list"])
        assert here.rows("SELECT state FROM packages WHERE name = 'lost'") == [("live",)]


async def test_a_change_that_was_lost_is_found(mirror: Open) -> None:
    """By the number of its revision; afterwards the list and the index agree."""
    async with whole(mirror) as here:
        here.upstream.registry.publish("p004", "2.0.0")
        here.upstream.registry.hide("p004")
        report = await alone(here)
        assert findings(report) == {("older", "p004")}
        async with here.running():
            await here.until(lambda status: not status["work_list"])
        assert here.rows("SELECT latest FROM packages WHERE name = 'p004'") == [("2.0.0",)]
        assert found(await alone(here)) == NONE


async def test_a_deletion_that_was_lost_is_a_suspicion(mirror: Open) -> None:
    """The registry's answers remove it, not the list."""
    async with whole(mirror) as here:
        here.upstream.registry.remove("p005")
        here.upstream.registry.hide("p005")
        report = await alone(here)
        assert findings(report) == {("unlisted", "p005")}
        assert here.rows("SELECT state FROM packages WHERE name = 'p005'") == [("live",)]
        async with here.running():
            await here.until(lambda status: status["totals"]["packages"].get("removed") == 1)


async def test_a_package_that_only_the_list_lacks_stays(mirror: Open) -> None:
    """The registry still answers for it: nothing is wrong with it."""
    async with whole(mirror) as here:
        here.upstream.registry.revs = _without(here.upstream.registry.revs, "p006")  # type: ignore[method-assign]  # what is listed
        here.upstream.registry.count = lambda: 19  # type: ignore[method-assign]  # as above
        report = await alone(here)
        assert findings(report) == {("unlisted", "p006")}
        async with here.running():
            await here.until(lambda status: not status["work_list"])
        assert here.rows("SELECT state FROM packages WHERE name = 'p006'") == [("live",)]


def _without(revs: Any, name: str) -> Any:
    return lambda: {one: rev for one, rev in revs().items() if one != name}


async def test_a_package_that_came_back_unseen_is_found(mirror: Open) -> None:
    """It counts as removed, and is listed."""
    async with whole(mirror) as here:
        execute(here, "UPDATE packages SET state = 'removed' WHERE name = 'p007'")
        report = await alone(here)
    assert findings(report) == {("returned", "p007")}


async def test_what_changes_meanwhile_is_no_finding(mirror: Open) -> None:
    """Published, changed and removed while the list is read: the feed brings all of it."""
    async with whole(mirror) as here:
        registry = here.upstream.registry

        async def meddle(request: Request) -> None:
            if request.scope == "all_docs" and here.upstream.count("all_docs") == 2:
                here.upstream.hooks.remove(meddle)
                registry.publish("a-first", "1.0.0")
                registry.publish("z-last", "1.0.0")
                registry.publish("p001", "1.1.0")
                registry.publish("p019", "1.1.0")
                registry.remove("p000")
                registry.remove("p018")

        here.upstream.hooks.append(meddle)
        report = await alone(here)
        assert found(report) == NONE
        assert report["changed"] >= 6


async def test_what_waits_in_the_feed_is_no_finding(mirror: Open) -> None:
    """A mirror that lags reconciles what it has read, not what it has yet to read."""
    async with whole(mirror) as here:
        here.upstream.registry.publish("p001", "1.1.0")
        here.upstream.registry.publish("new", "1.0.0")
        here.upstream.registry.remove("p002")
        assert found(await alone(here)) == NONE


async def test_what_is_on_the_work_list_is_no_finding(mirror: Open) -> None:
    """It is known that it is not there yet."""
    async with whole(mirror, fetch={"retry_seconds": 1000.0, "retry_max_seconds": 2000.0}) as here:
        here.upstream.fault("packument", faults.Status(403), name="p001", times=None)
        here.upstream.registry.publish("p001", "1.1.0")
        async with here.running():
            await here.until(lambda status: status["work_list"])
        report = await alone(here)
    assert found(report) == NONE


async def test_what_was_given_up_is_tried_again(mirror: Open) -> None:
    """A missing package and an older one, whose changes are finished and ended as dead letters."""
    async with whole(mirror, fetch={"max_attempts": 1}) as here:
        registry, upstream = here.upstream.registry, here.upstream
        for name in ("p001", "new"):
            upstream.fault("packument", faults.Status(403), name=name, times=1)
        async with here.running():
            registry.publish("p001", "1.1.0")
            registry.publish("new", "1.0.0")
            await here.until(lambda status: status["dead_letters"] == {"http_403": 2})
        report = await alone(here)
        assert found(report) == NONE | {"missing": 1, "older": 1}
        assert (report["queued"], report["woken"], report["waiting"]) == (0, 2, 0)
        assert here.work_list("p001")[""].attempts == 0
        async with here.running():
            await here.at_head()
        assert held(here, "p001") == {"1.0.0", "1.1.0"}
        assert held(here, "new") == {"1.0.0"}


async def test_what_the_process_died_of_is_not_woken(mirror: Open) -> None:
    """That would have it die again, every week."""
    async with whole(mirror) as here:
        execute(
            here,
            "INSERT INTO work_list (package_id, item, reason, attempts, deleted, since, detail) "
            "SELECT id, '', 'sudden_deaths', 1, 0, '', '' FROM packages WHERE name = 'p001'",
        )
        execute(here, "UPDATE packages SET state = 'removed' WHERE name = 'p001'")
        report = await alone(here)
        assert (found(report), report["waiting"], report["woken"]) == (NONE, 1, 0)
        assert here.rows("SELECT not_before FROM work_list") == [(None,)]


async def test_an_empty_list_is_refused(mirror: Open) -> None:
    """Not the whole world is gone because the feed says nothing."""
    async with whole(mirror) as here:
        here.upstream.fault("all_docs", Listing([]), times=None)
        with pytest.raises(ListingRefusedError, match="no package at all"):
            await alone(here)
        assert here.rows("SELECT * FROM work_list") == []
        assert not list((here.config.storage.data_dir / "reports").iterdir())


async def test_a_list_cut_short_is_refused(mirror: Open) -> None:
    """By the number of packages that the feed itself tells."""
    async with whole(mirror) as here:
        here.upstream.registry.revs = _first(here.upstream.registry.revs, 12)  # type: ignore[method-assign]  # what is listed
        with pytest.raises(ListingRefusedError, match="lists 12 packages and says that it has 20"):
            await alone(here)
        assert here.rows("SELECT * FROM work_list") == []


def _first(revs: Any, count: int) -> Any:
    return lambda: dict(sorted(revs().items())[:count])


async def test_many_that_are_not_listed_are_left_alone(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feed made anew with few packages: told, and not believed."""
    monkeypatch.setattr(pipeline_reconcile, "UNLISTED", 3)
    async with whole(mirror) as here:
        here.upstream.registry.revs = _first(here.upstream.registry.revs, 12)  # type: ignore[method-assign]  # what is listed
        here.upstream.registry.count = lambda: 12  # type: ignore[method-assign]  # as above
        report = await alone(here)
    assert report["unlisted"] == 8
    assert report["queued"] == 0
    assert "8 of 20" in report["disbelieved"]


async def test_a_dry_run_queues_nothing(mirror: Open) -> None:
    """It reports, and the next one finds the same."""
    async with whole(mirror) as here:
        here.upstream.registry.publish("lost", "1.0.0")
        here.upstream.registry.hide("lost")
        report = await alone(here, dry_run=True)
        assert findings(report) == {("missing", "lost")}
        assert here.rows("SELECT * FROM work_list") == []
        assert findings(await alone(here)) == {("missing", "lost")}


async def test_a_mirror_that_followed_from_now_is_not_made_whole(mirror: Open) -> None:
    """What it never set out to have is counted; `--all` takes it for missing."""
    async with mirror(follow={"since": "now"}) as here:
        for number in range(20):
            here.upstream.registry.publish(f"p{number:03}", "1.0.0")
        async with here.running():
            here.upstream.registry.publish("p000", "1.1.0")
            await here.at_head()
        report = await alone(here)
        assert found(report) == NONE
        assert report["not_expected"] == 19
        assert (await alone(here, everything=True))["missing"] == 19


async def test_what_a_backfill_brought_is_expected(mirror: Open) -> None:
    """Of its patterns, and without tarballs where it brought none."""
    from npmmirror.backfill import Wish  # noqa: PLC0415 - for this test alone

    async with mirror(follow={"since": "now"}) as here:
        for name in ("a1", "a2", "b1"):
            here.upstream.registry.publish(name, "1.0.0")
        wish = Wish(only=("a*",), metadata_only=True)
        await cold_commands.backfill(here.config, here.source, wish, tell=lambda _: None)
        for name in ("a3", "b2"):
            here.upstream.registry.publish(name, "1.0.0")
            here.upstream.registry.hide(name)
        report = await alone(here)
        assert findings(report) == {("missing", "a3")}
        async with here.running():
            await here.until(lambda status: not status["work_list"])
        assert here.rows("SELECT name FROM packages WHERE state = 'live' ORDER BY name") == [
            ("a1",),
            ("a2",),
            ("a3",),
        ]
        assert here.rows("SELECT count(*) FROM versions WHERE state = 'held'") == [(0,)]


async def test_a_daemon_reconciles_when_it_is_asked(mirror: Open) -> None:
    """Over the control socket: the report comes, and what was found is fetched."""
    async with whole(mirror) as here:
        here.upstream.registry.publish("lost", "1.0.0")
        here.upstream.registry.hide("lost")
        async with here.running(), here.control() as daemon:
            asked = {"dry_run": False, "everything": False}
            reports = [report async for report in daemon.reconcile(asked)]
            await here.until(lambda status: status["totals"]["packages"]["live"] == 21)
    assert reports[-1]["end"]
    assert reports[-1]["missing"] == 1
    assert {report["phase"] for report in reports[:-1]} >= {"list", "compare"}


async def test_a_daemon_reconciles_what_was_asked_for_in_the_index(mirror: Open) -> None:
    """As `reindex` and a fallen head ask for it; once."""
    async with whole(mirror) as here:
        here.upstream.registry.publish("lost", "1.0.0")
        here.upstream.registry.hide("lost")
        execute(here, "INSERT INTO resumptions VALUES ('reconcile', '2026-01-01T00:00:00Z', '')")
        async with here.running():
            await here.until(lambda status: status["totals"]["packages"]["live"] == 21)
            await here.until(lambda _: not here.rows("SELECT * FROM resumptions"))
        assert len(list((here.config.storage.data_dir / "reports").iterdir())) == 1


async def test_a_daemon_reconciles_when_days_have_passed(mirror: Open) -> None:
    """Counted from the last one, or from the beginning."""
    async with whole(mirror, follow={"since": 0, "reconcile_days": 3.0}) as here:
        here.upstream.registry.publish("lost", "1.0.0")
        here.upstream.registry.hide("lost")
        execute(here, "UPDATE meta SET value = '2026-01-01T00:00:00.000Z' WHERE key = 'created_at'")
        async with here.running():
            await here.until(lambda status: status["totals"]["packages"]["live"] == 21)
        asked = here.upstream.count("all_docs")
        async with here.running():
            here.upstream.registry.publish("p000", "3.0.0")
            await here.at_head()
        assert here.upstream.count("all_docs") == asked


async def test_a_daemon_gives_up_a_feed_without_a_list(mirror: Open) -> None:
    """After a few tries, until an hour later: whoever asks then is not kept waiting."""
    async with whole(mirror) as here:
        execute(here, "INSERT INTO resumptions VALUES ('reconcile', '2026-01-01T00:00:00Z', '')")
        here.upstream.fault("all_docs", faults.Status(404), times=None)
        async with here.running(), here.control() as daemon:
            await here.upstream.asked("all_docs", times=cold_start.TRIES)
            await here.until(lambda status: status["reconciliation"] is None)
            asked = {"dry_run": False, "everything": False}
            [report] = [one async for one in daemon.reconcile(asked) if "error" in one]
            assert "does not answer" in report["error"]
            assert here.rows("SELECT command FROM resumptions") == [("reconcile",)]


@dataclass(frozen=True)
class Listing(faults.Fault):
    """A list of these names, of none of which more is told."""

    names: list[str]

    def play(self, answer: faults.Answer) -> faults.Delivery:
        """See `Fault.play`."""
        rows = [{"id": name, "key": name, "value": {"rev": "1-a"}} for name in self.names]
        body = {"total_rows": len(rows), "offset": 0, "rows": rows}
        return faults.Delivery(answer.with_body(json.dumps(body).encode()))
