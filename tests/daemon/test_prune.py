"""`prune`: what the policy wants no longer goes, nothing else does, and no kill leaves anything wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror import failpoints
from npmmirror.archive import DiskFaultError, TarballStore
from npmmirror.clock import SystemClock
from npmmirror.config import Config
from npmmirror.daemon import pruning, standalone
from npmmirror.daemon.explaining import explain
from npmmirror.daemon.mirror import Manner
from npmmirror.daemon.open_mirror import open_mirror
from npmmirror.daemon.reindex import reindex
from npmmirror.daemon.selecting import read_policy
from npmmirror.daemon.verification.run import Asked
from npmmirror.errors import StorageError, UsageError
from npmmirror.index import Resumption
from npmmirror.pipeline.retiring import NOTE
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.derived import derived, differences
from tests.daemon.test_following import assert_files_match, held
from tests.daemon.test_policy import dropped

pytestmark = [pytest.mark.anyio, pytest.mark.long]

KILLS = [
    "retire.noted",
    "captures.written",
    "captures.synced",
    "index.before_commit",
    "index.committed",
    "retire.dropped",
    "retire.removed",
]


def another(here: RunningMirror, **policy: Any) -> Config:
    """The configuration with another policy."""
    section = here.config.policy.model_validate({**here.config.policy.model_dump(), **policy})
    return here.config.model_copy(update={"policy": section})


async def pruned(here: RunningMirror, config: Config) -> dict[str, Any]:
    """The report of a prune where no daemon runs."""
    digest = read_policy(config.policy).digest
    report = await standalone.prune(config, here.source, digest, tell=lambda _: None)
    assert report is not None
    return report


async def planned(config: Config) -> dict[str, Any]:
    """The report of a dry run."""
    return await pruning.plan(config, lambda _: None)


async def filled(here: RunningMirror) -> None:
    """Five packages: two live ones, and one of each kind that is gone upstream."""
    registry = here.upstream.registry
    for name in ("left-pad", "react", "unpublished", "removed", "taken"):
        for minor in range(4):
            registry.publish(name, f"1.{minor}.0")
    registry.publish("react", "2.0.0-rc.1", tag="next")
    async with here.running():
        await here.at_head()
        registry.unpublish_version("left-pad", "1.0.0")
        registry.unpublish("unpublished")
        registry.remove("removed")
        registry.security_hold("taken")
        await here.until(
            lambda status: (
                status["totals"]["packages"]
                == {"live": 2, "unpublished": 1, "removed": 1, "security_hold": 1}
                and not status["work_list"]
            )
        )


SECTIONS: dict[str, Any] = {
    "tarballs": "all",
    "confirm_removal_answers": 1,
    "confirm_removal_hours": 0,
}


async def test_what_is_gone_upstream_stays_whatever_the_policy_says(mirror: Open) -> None:
    """All packages denied: of the live ones goes what upstream still has, and nothing else."""
    async with mirror(policy=SECTIONS) as here:
        await filled(here)
        before = here.end_state().files
        report = await pruned(here, another(here, deny=["*"]))
        assert report["rules"] == {"policy.deny": {"files": 8, "bytes": report["bytes"]}}
        assert held(here, "left-pad") == {"1.0.0"}
        assert held(here, "react") == set()
        for name in ("unpublished", "removed", "taken"):
            assert {f"1.{minor}.0" for minor in range(4)} <= held(here, name)
        gone = before.keys() - here.end_state().files.keys()
        assert len(gone) == 8
        assert all("/left-pad/" in path or "/react/" in path for path in gone)


async def test_what_may_be_gone_upstream_stays_until_that_is_settled(mirror: Open) -> None:
    """One removal is recorded, one is held by the breaker; both packages keep their files."""
    limits = {"removal_breaker_packages": 1, "removal_breaker_percent": 0}
    async with mirror(policy={"confirm_removal_hours": 0, **limits, "tarballs": "all"}) as here:
        registry = here.upstream.registry
        for name in ("a", "b", "c"):
            registry.publish(name, "1.0.0")
        async with here.running():
            await here.at_head()
            registry.remove("a")
            registry.remove("b")
            await here.until(lambda status: status["removals"]["held"] == 1)
        report = await pruned(here, another(here, deny=["*"]))
        assert report["files"] == 1
        assert [held(here, name) for name in ("a", "b", "c")] == [{"1.0.0"}, {"1.0.0"}, set()]


async def test_what_is_being_confirmed_as_gone_stays(mirror: Open) -> None:
    """One answer of not there was given, and more are to come."""
    async with mirror(policy={"tarballs": "all"}) as here:
        registry = here.upstream.registry
        registry.publish("a", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.remove("a")
            await here.until(lambda status: status["work_list"].get("not_found") == 1)
        assert (await planned(another(here, deny=["*"])))["files"] == 0
        assert (await pruned(here, another(here, deny=["*"])))["files"] == 0
        assert held(here, "a") == {"1.0.0"}


async def test_the_revisions_of_packuments_stay(mirror: Open) -> None:
    """What was pruned can still be looked up."""
    async with mirror(policy=SECTIONS) as here:
        await filled(here)
        before = here.rows("SELECT count(*) FROM revisions")
        await pruned(here, another(here, deny=["*"]))
        assert here.rows("SELECT count(*) FROM revisions") == before
        assert here.rows("SELECT count(*) FROM versions WHERE state = 'dropped' AND size > 0") == [
            (8,)
        ]


@pytest.mark.parametrize(
    ("policy", "rule", "left"),
    [
        ({"keep_versions": 2}, "policy.keep_versions", {"1.3.0", "2.0.0-rc.1"}),
        ({"prereleases": False}, "policy.prereleases", {f"1.{minor}.0" for minor in range(4)}),
        ({"published_since": "2100-01-01"}, "policy.published_since", set()),
        ({"max_tarball_bytes": 1}, "policy.max_tarball_bytes", set()),
        ({"allow": ["left-pad"]}, "policy.allow", set()),
        (
            {"rule": [{"match": "react", "keep_versions": 1}]},
            'policy.rule 1 ("react")',
            {"1.3.0", "2.0.0-rc.1"},
        ),
    ],
)
async def test_each_rule_has_its_files_go(
    mirror: Open, policy: dict[str, Any], rule: str, left: set[str]
) -> None:
    """A dry run tells just what then goes, and changes nothing."""
    async with mirror(policy=SECTIONS) as here:
        await filled(here)
        config, before = another(here, **policy), here.end_state()
        plan = await planned(config)
        assert here.end_state() == before
        report = await pruned(here, config)
        assert report == plan | {"dry_run": False}
        assert set(report["rules"]) == {rule}
        assert held(here, "react") == left
        assert (await planned(config))["files"] == 0


async def test_what_tarballs_says_has_nothing_deleted(mirror: Open) -> None:
    """It says what is fetched."""
    async with mirror(policy=SECTIONS) as here:
        await filled(here)
        assert (await planned(another(here, tarballs="none")))["files"] == 0


async def test_a_daemon_prunes_for_whoever_asks(mirror: Open) -> None:
    """By the policy that it runs with; another one is refused."""
    async with mirror(policy=SECTIONS | {"deny": ["react"]}) as here:
        here.config = another(here, deny=[])
        await filled(here)
        here.config = another(here, deny=["react"])
        digest = read_policy(here.config.policy).digest
        async with here.running(), here.control() as client:
            refused = [report async for report in client.prune({"digest": "another"})]
            assert "restart it first" in refused[-1]["error"]
            reports = [report async for report in client.prune({"digest": digest})]
        assert reports[-1]["end"]
        assert reports[-1]["rules"]["policy.deny"]["files"] == 5
        assert held(here, "react") == set()
        assert_files_match(here)


async def test_a_prune_is_not_done_by_another_policy_than_was_asked_for(mirror: Open) -> None:
    """Nothing goes."""
    async with mirror(policy=SECTIONS) as here:
        await filled(here)
        with pytest.RaisesGroup(UsageError, flatten_subgroups=True):
            await standalone.prune(here.config, here.source, "another", tell=lambda _: None)


@pytest.mark.parametrize("failpoint", KILLS)
async def test_a_kill_in_the_midst_leaves_nothing_wrong(
    mirror: Open, failpoint: str, tmp_path: Path
) -> None:
    """The next prune finishes: the same end, no orphan, nothing missing, and an archive that agrees."""
    async with mirror(policy=SECTIONS) as here:
        await filled(here)
        config = another(here, deny=["react"], keep_versions=2)
        await killed_at(failpoint, config, tmp_path)
        await pruned(here, config)
        assert held(here, "react") == set()
        assert held(here, "left-pad") == {"1.0.0", "1.2.0", "1.3.0"}
        assert_files_match(here)
        assert len(dropped(here)) == len(set(dropped(here))) == 6
        report = await standalone.verify(config, here.source, Asked(), tell=lambda _: None)
        assert report is not None
        assert report["well"], report["findings"]


async def test_a_start_finishes_what_a_kill_left(mirror: Open, tmp_path: Path) -> None:
    """The files that are held no longer go without anybody asking."""
    async with mirror(policy=SECTIONS) as here:
        await filled(here)
        config = another(here, deny=["react"])
        await killed_at("retire.dropped", config, tmp_path)
        files = here.config.storage.packages_path
        assert len(list(files.rglob("react-*.tgz"))) == 5
        here.config = config
        async with here.running():
            with anyio.fail_after(30):
                while list(files.rglob("react-*.tgz")):  # noqa: ASYNC110 - as somebody who looks
                    await anyio.sleep(0.02)
        assert_files_match(here)


async def test_a_file_of_a_package_in_work_is_not_deleted_by_an_earlier_note(mirror: Open) -> None:
    """Whoever works on it may have just published the file, or adopt it."""
    async with mirror(policy=SECTIONS) as here:
        await filled(here)
        manner = Manner(patient=False)
        clock = SystemClock()
        async with open_mirror(here.config, here.source, clock=clock, manner=manner) as opened:
            path = "ab/late/late-1.0.0.tgz"
            file = here.config.storage.packages_path / path
            file.parent.mkdir(parents=True)
            file.write_bytes(b"just published")
            place = json.dumps([("late", "1.0.0", path)])
            await opened.opened.index.note_resumption(
                Resumption(NOTE, "2026-11-22T10:00:00.000000Z", place)
            )
            async with opened.holding.holding(["late"]):
                assert not await opened.retirer.retire([], {"left-pad"})
                assert file.exists()
                assert await opened.retirer.retire([], {"late"})
            assert not file.exists()


async def test_a_disk_that_refuses_is_told_and_the_next_prune_goes_on(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held no longer is not forgotten."""
    async with mirror(policy=SECTIONS) as here:
        await filled(here)
        config = another(here, deny=["react"])

        def refuse(*_: object) -> int:
            raise DiskFaultError("read-only")

        with monkeypatch.context() as patch:
            patch.setattr(TarballStore, "remove", refuse)
            told = pytest.RaisesExc(StorageError, match="cannot be deleted now")
            with pytest.RaisesGroup(told, flatten_subgroups=True):
                await pruned(here, config)
        assert held(here, "react") == set()
        await pruned(here, config)
        assert_files_match(here)


async def test_reindex_knows_what_was_pruned(mirror: Open) -> None:
    """The capture log tells it; the rebuilt index is the same, and nothing is fetched again."""
    async with mirror(policy=SECTIONS) as here:
        await filled(here)
        here.config = another(here, keep_versions=2)
        await pruned(here, here.config)
        before = derived(here.config.storage.index_path)
        await reindex(here.config, lambda _: None)
        assert differences(before, derived(here.config.storage.index_path)) == []
        asked = here.upstream.count("tarball")
        async with here.running():
            await here.at_head()
        assert here.upstream.count("tarball") == asked


async def test_explain_tells_what_prune_does(mirror: Open) -> None:
    """For each version whether it is held, and which rule decides."""
    async with mirror(policy=SECTIONS) as here:
        await filled(here)
        config = another(here, keep_versions=2)
        report = await explain(config, "left-pad", None)
        assert (report["wanted"], report["rule"]) == (True, "policy.allow")
        assert report["settings"]["keep_versions"] == {"value": 2, "rule": "policy.keep_versions"}
        told = {one["version"]: one for one in report["versions"]}
        assert list(told) == ["1.3.0", "1.2.0", "1.1.0", "1.0.0"]
        assert told["1.1.0"]["why"] == "not among the newest 2"
        assert (told["1.0.0"]["gone"], told["1.0.0"]["wanted"]) == (True, True)
        assert all(one["held"] for one in told.values())
        going = {one["version"] for one in (await planned(config))["listed"]}
        assert {v for v, one in told.items() if not one["wanted"]} <= going


async def test_explain_needs_no_mirror(tmp_path: Path) -> None:
    """A version is judged by its name, a package by its own."""
    config = Config.model_validate(
        {
            "storage": {"data_dir": str(tmp_path / "none")},
            "policy": {"deny": ["bad"], "prereleases": False},
        }
    )
    report = await explain(config, "good", "1.0.0-rc.1")
    assert (report["wanted"], report["state"]) == (True, None)
    [version] = report["versions"]
    assert (version["known"], version["rule"]) == (False, "policy.prereleases")
    assert not (await explain(config, "bad", None))["wanted"]


async def killed_at(failpoint: str, config: Config, directory: Path) -> None:
    """Have `npmmirror prune` kill itself there."""
    environment = {
        **os.environ,
        failpoints.VARIABLE: failpoint,
        "NPMMIRROR_STORAGE__DATA_DIR": str(config.storage.data_dir),
        "NPMMIRROR_STORAGE__MIN_FREE_BYTES": "0",
        "NPMMIRROR_POLICY__TARBALLS": config.policy.tarballs,
        "NPMMIRROR_POLICY__DENY": ",".join(config.policy.deny),
        "NPMMIRROR_POLICY__KEEP_VERSIONS": str(config.policy.keep_versions),
        "NPMMIRROR_UPSTREAM__FEED": "http://replicate.invalid",
    }
    ended = await anyio.run_process(
        [sys.executable, "-m", "npmmirror", "prune"],
        cwd=directory,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stdout.decode()


def test_the_report_is_json() -> None:
    """What a dry run of nothing tells."""
    assert json.dumps(pruning.Tally().report(dry_run=True))
