"""`sync` without and with a daemon: what was asked for is there, or the report says what is not."""

from contextlib import closing
from typing import Any

import anyio
import pytest

from npmmirror.archive import CaptureReader
from npmmirror.capture import Kind, Record
from npmmirror.control.client import ControlClient
from npmmirror.errors import UsageError
from npmmirror.pipeline.sync import SyncReport
from npmmirror.testing import faults
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio


async def one(mirror: RunningMirror, *specs: str, **options: bool) -> SyncReport:
    """The report of a sync of a single package."""
    [report] = await mirror.sync(*specs, **options)
    return report


async def ends(daemon: ControlClient, *specs: str, **options: bool) -> dict[str, dict[str, Any]]:
    """The last reports of a sync that the daemon does."""
    told = [report async for report in daemon.sync(list(specs), options)]
    return {report["package"]: report for report in told if report.get("end")}


def publish(mirror: RunningMirror, name: str, *versions: str) -> None:
    """Publish versions, the last of them `latest`."""
    for version in versions:
        mirror.upstream.registry.publish(name, version)


async def test_a_name_gets_what_npm_would_install(mirror: Open) -> None:
    """`latest`, and no other version."""
    async with mirror() as here:
        publish(here, "left-pad", "1.0.0", "1.1.0")
        report = await one(here, "left-pad")
        assert report.complete
        assert set(report.held) == {"1.1.0"}


@pytest.mark.parametrize(
    ("spec", "versions"),
    [
        ("left-pad@1.0.0", {"1.0.0", "2.0.0"}),
        ("left-pad@next", {"1.1.0", "2.0.0"}),
        ("left-pad@^1", {"1.1.0", "2.0.0"}),
    ],
)
async def test_versions_tags_and_ranges(mirror: Open, spec: str, versions: set[str]) -> None:
    """What is named, beside what the policy wants at first sight."""
    async with mirror() as here:
        publish(here, "left-pad", "1.0.0", "1.1.0", "2.0.0")
        here.upstream.registry.tag("left-pad", "next", "1.1.0")
        report = await one(here, spec)
        assert report.complete
        assert set(report.held) == versions


async def test_two_specs_of_a_package_are_one_job(mirror: Open) -> None:
    """The document is asked for once, both versions are held."""
    async with mirror(policy={"tarballs": "none"}) as here:
        publish(here, "left-pad", "1.0.0", "1.1.0", "2.0.0")
        report = await one(here, "left-pad@1.0.0", "left-pad@1.1.0")
        assert set(report.held) == {"1.0.0", "1.1.0"}
        assert here.upstream.count("packument") == 1


async def test_all_versions_of_a_package_of_prereleases_alone(mirror: Open) -> None:
    """It was told that there is no version `*`, for npm would install none by the bare name."""
    async with mirror() as here:
        for number in (1, 2):
            here.upstream.registry.publish("react", f"1.0.0-rc.{number}", tag="next")
        report = await one(here, "react", all_versions=True)
        assert report.complete
        assert set(report.held) == {"1.0.0-rc.1", "1.0.0-rc.2"}


async def test_all_versions_come_in_several_jobs(mirror: Open) -> None:
    """More than `fetch.tarballs_per_job`: the report waits for the last one."""
    async with mirror(fetch={"tarballs_per_job": 3}) as here:
        publish(here, "left-pad", *(f"1.{minor}.0" for minor in range(20)))
        report = await one(here, "left-pad", all_versions=True)
        assert report.complete
        assert len(report.held) == 20
        assert here.upstream.count("packument") == 1


async def test_an_unknown_package_is_not_complete(mirror: Open) -> None:
    """And leaves nothing on the work list: nobody announced it."""
    async with mirror() as here:
        report = await one(here, "nowhere")
        assert not report.complete
        assert report.to_json()["outcome"] == "not_found"
        assert not here.work_list("nowhere")


async def test_a_sync_that_fails_leaves_what_was_announced_on_the_list(mirror: Open) -> None:
    """A change that failed is finished by its row alone: a person's failure must not take it off."""
    async with mirror(fetch={"max_attempts": 1}) as here:
        publish(here, "left-pad", "1.0.0")
        here.upstream.fault("packument", faults.Status(500), name="left-pad", times=None)
        async with here.running():
            await here.until(lambda status: status["dead_letters"] == {"http_500": 1})
        before = here.work_list("left-pad")
        assert not (await one(here, "left-pad")).complete
        assert here.work_list("left-pad") == before


async def test_a_sync_that_finds_what_was_announced_takes_it_off_the_list(mirror: Open) -> None:
    """A dead letter, too: nothing is left to do."""
    async with mirror(fetch={"max_attempts": 1}) as here:
        publish(here, "left-pad", "1.0.0")
        armed = here.upstream.fault("packument", faults.Status(500), name="left-pad", times=None)
        async with here.running():
            await here.until(lambda status: status["dead_letters"] == {"http_500": 1})
        here.upstream.heal(armed)
        assert (await one(here, "left-pad")).complete
        assert not here.work_list("left-pad")


async def test_a_sync_that_finds_an_older_document_leaves_the_announced_one_on_the_list(
    mirror: Open,
) -> None:
    """What was asked for is held; the revision that the feed told of is still to come."""
    async with mirror(fetch={"max_attempts": 1}) as here:
        publish(here, "left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            here.upstream.fault("packument", faults.Status(500), name="left-pad", times=None)
            publish(here, "left-pad", "1.1.0")
            await here.until(lambda status: status["dead_letters"] == {"http_500": 1})
        here.upstream.heal()
        here.upstream.registry.serve_stale("left-pad", 9)
        before = here.work_list("left-pad")
        assert (await one(here, "left-pad@1.0.0")).complete
        assert here.work_list("left-pad") == before


async def test_an_unmet_version_is_told(mirror: Open) -> None:
    """The document is captured all the same."""
    async with mirror() as here:
        publish(here, "left-pad", "1.0.0")
        report = await one(here, "left-pad@^7")
        assert not report.complete
        assert report.to_json()["outcome"] == "no_such_version (^7)"
        assert len(here.end_state().packages["left-pad"].revisions) == 1


async def test_an_unpublished_package_is_told(mirror: Open) -> None:
    """It has a document, and no versions."""
    async with mirror() as here:
        publish(here, "left-pad", "1.0.0")
        here.upstream.registry.unpublish("left-pad")
        report = await one(here, "left-pad")
        assert report.to_json()["outcome"] == "gone (unpublished)"


async def test_one_that_fails_does_not_keep_the_others(mirror: Open) -> None:
    """Reports come in the order asked for, each with its own end."""
    async with mirror() as here:
        for name in ("a", "b", "c"):
            publish(here, name, "1.0.0")
        here.upstream.fault("tarball", faults.Altered(), name="b", times=None)
        reports = await here.sync("a", "nowhere", "b", "c")
        told = [(report.package, report.complete) for report in reports]
        assert told == [("a", True), ("nowhere", False), ("b", False), ("c", True)]
        assert reports[2].missing["1.0.0"].startswith("digest_mismatch (expected sha512-")


async def test_a_second_sync_asks_with_the_etag_and_fetches_nothing(mirror: Open) -> None:
    """304: no new revision, and what is held is not fetched again."""
    async with mirror() as here:
        publish(here, "left-pad", "1.0.0")
        await here.sync("left-pad")
        before = here.end_state()
        report = await one(here, "left-pad")
        assert report.complete
        assert report.to_json()["outcome"] == "unchanged"
        assert here.upstream.requests[-1].headers.get("If-None-Match")
        assert here.upstream.count("tarball") == 1
        assert here.end_state() == before


async def test_a_304_still_fetches_what_is_newly_asked_for(mirror: Open) -> None:
    """Versions are chosen from the document that is held."""
    async with mirror() as here:
        publish(here, "left-pad", "1.0.0", "1.1.0")
        await here.sync("left-pad")
        report = await one(here, "left-pad@1.0.0")
        assert set(report.held) == {"1.0.0"}


async def test_force_asks_without_the_etag(mirror: Open) -> None:
    """The same bytes make no new revision."""
    async with mirror() as here:
        publish(here, "left-pad", "1.0.0")
        await here.sync("left-pad")
        before = here.end_state()
        report = await one(here, "left-pad", force=True)
        assert "If-None-Match" not in here.upstream.requests[-1].headers
        assert report.complete
        assert here.end_state() == before


async def test_a_name_that_is_none_is_refused(mirror: Open) -> None:
    """Before anything is opened."""
    async with mirror() as here:
        with pytest.raises(UsageError):
            await here.sync("git+https://code.example/x.git")
        assert not here.config.storage.data_dir.exists()


async def test_an_unreachable_upstream_ends_a_sync(mirror: Open) -> None:
    """It is not waited for: the report says why."""
    async with mirror() as here:
        publish(here, "left-pad", "1.0.0")
        await here.upstream.__aexit__(None, None, None)
        report = await one(here, "left-pad")
        assert str(report.to_json()["outcome"]).startswith("refused (")


async def test_a_host_that_goes_down_meanwhile_leaves_the_rest_on_the_list(mirror: Open) -> None:
    """What was fetched is held; a later sync completes it."""
    async with mirror(fetch={"tarballs_per_job": 2}) as here:
        publish(here, "left-pad", *(f"1.{minor}.0" for minor in range(8)))
        armed = here.upstream.fault("tarball", faults.Status(503, retry_after="3600"), times=None)
        report = await one(here, "left-pad", all_versions=True)
        assert not report.complete
        here.upstream.heal(armed)
        report = await one(here, "left-pad", all_versions=True)
        assert report.complete
        assert here.rows("SELECT count(*) FROM versions WHERE state = 'held'") == [(8,)]


async def test_a_sync_before_the_first_run_is_history_to_it(mirror: Open) -> None:
    """What was synced is not fetched again when following begins."""
    async with mirror() as here:
        publish(here, "left-pad", "1.0.0")
        await here.sync("left-pad")
        async with here.running():
            await here.at_head()
        assert here.upstream.count("tarball") == 1
        assert len(here.end_state().packages["left-pad"].events) == 1


async def test_a_sync_between_two_runs_keeps_the_cursor_in_the_log(mirror: Open) -> None:
    """A rebuilt index goes on from the last mark's cursor, which must not be empty."""
    async with mirror() as here:
        publish(here, "left-pad", "1.0.0")
        async with here.running():
            status = await here.at_head()
        publish(here, "chalk", "1.0.0")
        await here.sync("chalk")
        with closing(CaptureReader(here.config.storage.data_dir / "captures")) as reader:
            records = [record for record in reader.scan() if isinstance(record, Record)]
        marks = [record.facts.get("cursor") for record in records if record.kind is Kind.MARK]
        assert marks[-1] == status["feed"]["cursor"]


async def test_the_daemon_syncs_for_those_who_ask(mirror: Open) -> None:
    """The same reports as without it."""
    async with mirror(follow={"since": "now"}) as here:
        publish(here, "left-pad", "1.0.0", "1.1.0")
        async with here.running(), here.control() as daemon:
            told = await ends(daemon, "left-pad@1.0.0", "nowhere")
        assert told["left-pad"]["complete"]
        assert set(told["left-pad"]["tarballs"]) == {"1.0.0", "1.1.0"}
        assert not told["nowhere"]["complete"]


async def test_the_end_of_another_job_is_no_answer(mirror: Open) -> None:
    """A live change of the package is in work: a sync waits for its own job behind it."""
    async with mirror() as here:
        publish(here, "left-pad", "1.0.0", "1.1.0")
        here.upstream.fault("packument", faults.Stall(), name="left-pad", times=1)
        async with here.running(), here.control() as daemon:
            await here.upstream.asked("packument", "left-pad")
            told: dict[str, dict[str, Any]] = {}

            async def ask() -> None:
                told.update(await ends(daemon, "left-pad@1.0.0"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await here.until(lambda status: status["fetch"]["waiting"] == 1)
                here.upstream.release()
            assert set(told["left-pad"]["tarballs"]) == {"1.0.0", "1.1.0"}


async def test_who_goes_away_leaves_the_work_to_the_daemon(mirror: Open) -> None:
    """Ctrl-C ends the command, and not what it asked for."""
    async with mirror(follow={"since": "now"}) as here:
        publish(here, "left-pad", "1.0.0")
        here.upstream.fault("packument", faults.Stall(), times=1)
        async with here.running():
            async with anyio.create_task_group() as tasks, here.control() as daemon:
                tasks.start_soon(ends, daemon, "left-pad")
                await here.upstream.asked("packument")
                tasks.cancel_scope.cancel()
            here.upstream.release()
            await here.until(lambda status: status["totals"]["tarballs"] == 1)


async def test_a_daemon_that_stops_leaves_a_sync_without_an_end(mirror: Open) -> None:
    """No package is called complete that was not come to."""
    async with mirror(follow={"since": "now"}, fetch={"drain_seconds": 0.0}) as here:
        publish(here, "left-pad", "1.0.0")
        here.upstream.fault("packument", faults.Stall(), times=1)
        told: list[dict[str, dict[str, Any]]] = []
        async with here.running() as stop, here.control() as daemon:

            async def ask() -> None:
                told.append(await ends(daemon, "left-pad"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await here.upstream.asked("packument")
                stop.set()
        assert told == [{}]


async def test_many_packages_at_once(mirror: Open) -> None:
    """More than are under way at a time; each has its report."""
    names = [f"p{number}" for number in range(250)]
    async with mirror() as here:
        for name in names:
            publish(here, name, "1.0.0")
        reports = await here.sync(*names)
        assert [report.package for report in reports if report.complete] == names
