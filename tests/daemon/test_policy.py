"""The policy at work: what it does not want costs no request, and what is too many goes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from npmmirror import failpoints
from npmmirror.archive import CaptureReader
from npmmirror.capture import Kind, Record
from npmmirror.config import ConfigurationError
from npmmirror.daemon import widening
from npmmirror.daemon.selecting import read_policy
from npmmirror.pipeline.sync import SyncReport
from npmmirror.testing import faults
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.test_following import assert_files_match, held

pytestmark = pytest.mark.anyio

APPLIED = "SELECT value FROM meta WHERE key = 'policy_applied'"


def skips(mirror: RunningMirror) -> set[tuple[str, str, str, str]]:
    """What is recorded as not wanted: package, version, reason, detail."""
    return set(
        mirror.rows(
            "SELECT p.name, version, reason, detail FROM skips "
            "JOIN packages AS p ON p.id = package_id"
        )
    )


def dropped(mirror: RunningMirror) -> list[tuple[str, str, str]]:
    """What the capture log says is held no longer: package, version, why."""
    with CaptureReader(mirror.config.storage.data_dir / "captures") as captures:
        return [
            (record.name or "", record.facts["version"], record.facts["reason"])
            for record in captures.scan()
            if isinstance(record, Record) and record.kind is Kind.DROPPED
        ]


async def one(mirror: RunningMirror, *specs: str, **options: bool) -> SyncReport:
    """The report of a sync of a single package."""
    [report] = await mirror.sync(*specs, **options)
    return report


async def test_a_package_that_is_not_wanted_costs_no_request(mirror: Open) -> None:
    """Its changes are finished, and the index says which rule did not want it."""
    async with mirror(policy={"allow": ["@babel"], "deny": ["@babel/old-*"]}) as here:
        registry = here.upstream.registry
        for name in ("@babel/core", "@babel/old-core", "react"):
            registry.publish(name, "1.0.0")
        async with here.running():
            status = await here.at_head()
        assert status["totals"]["packages"] == {"live": 1}
        assert status["skips"] == {"policy": 2}
        assert here.upstream.count("packument", "react") == 0
        assert here.upstream.count("packument", "@babel/old-core") == 0
        assert skips(here) == {
            ("react", "", "policy", "policy.allow: none of its patterns matches the name"),
            ("@babel/old-core", "", "policy", 'policy.deny: "@babel/old-*"'),
        }


async def test_a_list_of_names_is_read_again_at_each_start(mirror: Open, tmp_path: Path) -> None:
    """What is added to it is wanted from then on."""
    names = tmp_path / "names.txt"
    names.write_text("# the few\nreact\n\n", "utf-8")
    async with mirror(policy={"allow": [f"file:{names}"]}) as here:
        registry = here.upstream.registry
        registry.publish("react", "1.0.0")
        registry.publish("vue", "1.0.0")
        async with here.running():
            await here.at_head()
        assert (held(here, "react"), held(here, "vue")) == ({"1.0.0"}, set())
        names.write_text("react\nvue\n", "utf-8")
        async with here.running():
            registry.publish("vue", "1.1.0")
            status = await here.at_head()
        assert status["totals"]["packages"] == {"live": 2}
        assert status["skips"] == {}


async def test_a_list_that_cannot_be_read_is_refused_at_start(mirror: Open) -> None:
    """With the key that asks for it."""
    async with mirror(policy={"deny": ["file:/not/there"]}) as here:
        with pytest.raises(
            ConfigurationError, match=r"policy\.deny: cannot read the list /not/there"
        ):
            await one(here, "react")


async def test_versions_are_chosen_by_kind_and_age(mirror: Open) -> None:
    """No prereleases, none from before a date; no skip is recorded, for the policy tells it."""
    policy = {"tarballs": "all", "prereleases": False, "published_since": "2024-02-01"}
    async with mirror(policy=policy) as here:
        registry = here.upstream.registry
        registry.set_time("2024-01-01T00:00:00.000Z")
        registry.publish("left-pad", "1.0.0")
        registry.set_time("2024-03-01T00:00:00.000Z")
        for version in ("2.0.0-rc.1", "2.0.0", "2.1.0"):
            registry.publish("left-pad", version)
        async with here.running():
            await here.at_head()
        assert held(here, "left-pad") == {"2.0.0", "2.1.0"}
        assert skips(here) == set()


async def test_rules_give_some_packages_other_tarballs(mirror: Open) -> None:
    """All of a few, of the rest the documents alone."""
    policy = {"tarballs": "none", "rule": [{"match": ["@babel"], "tarballs": "all"}]}
    async with mirror(policy=policy) as here:
        registry = here.upstream.registry
        for name in ("@babel/core", "react"):
            for version in ("1.0.0", "1.1.0"):
                registry.publish(name, version)
        async with here.running():
            await here.at_head()
        assert held(here, "@babel/core") == {"1.0.0", "1.1.0"}
        assert held(here, "react") == set()


async def test_only_the_newest_are_kept_as_new_ones_arrive(mirror: Open) -> None:
    """The log says which went and why, the files are gone, and no empty directory stays."""
    async with mirror(policy={"tarballs": "all", "keep_versions": 2}) as here, here.running():
        registry = here.upstream.registry
        for minor in range(4):
            registry.publish("left-pad", f"1.{minor}.0")
            await here.at_head()
        await here.until(lambda status: not status["work_list"])
        assert held(here, "left-pad") == {"1.2.0", "1.3.0"}
        why = "policy: policy.keep_versions: not among the newest 2"
        assert dropped(here) == [("left-pad", "1.0.0", why), ("left-pad", "1.1.0", why)]
        assert_files_match(here)


async def test_the_tag_latest_stays_beside_the_newest(mirror: Open) -> None:
    """What npm installs is there, however old it is."""
    async with mirror(policy={"tarballs": "all", "keep_versions": 2}) as here, here.running():
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        await here.at_head()
        for minor in range(1, 4):
            registry.publish("left-pad", f"2.{minor}.0-rc.1", tag="next")
            await here.at_head()
        await here.until(lambda status: not status["work_list"])
        assert held(here, "left-pad") == {"1.0.0", "2.2.0-rc.1", "2.3.0-rc.1"}


async def test_what_upstream_has_no_longer_is_not_counted_and_never_goes(mirror: Open) -> None:
    """A version that was unpublished is all the more worth keeping."""
    async with mirror(policy={"tarballs": "all", "keep_versions": 2}) as here, here.running():
        registry = here.upstream.registry
        for version in ("1.0.0", "1.1.0"):
            registry.publish("left-pad", version)
            await here.at_head()
        registry.unpublish_version("left-pad", "1.0.0")
        await here.at_head()
        for version in ("1.2.0", "1.3.0"):
            registry.publish("left-pad", version)
            await here.at_head()
        await here.until(lambda status: not status["work_list"])
        assert held(here, "left-pad") == {"1.0.0", "1.2.0", "1.3.0"}


async def test_a_sync_without_a_daemon_keeps_the_newest_too(mirror: Open) -> None:
    """It ends when what is too many is gone."""
    async with mirror(policy={"tarballs": "all", "keep_versions": 2}) as here:
        for minor in range(4):
            here.upstream.registry.publish("left-pad", f"1.{minor}.0")
            assert (await one(here, "left-pad")).complete
        assert held(here, "left-pad") == {"1.2.0", "1.3.0"}
        assert_files_match(here)


@pytest.mark.parametrize(
    "failpoint",
    [
        "publish.names_synced",
        "captures.synced",
        "record.durable",
        "index.before_commit",
        "record.committed",
        "retire.noted",
        "retire.dropped",
        "retire.removed",
    ],
)
async def test_a_kill_while_new_ones_arrive_keeps_the_newest(
    mirror: Open, failpoint: str, tmp_path: Path
) -> None:
    """The next start ends where it would have ended: no file too many, none missing, no orphan."""
    async with mirror(policy={"tarballs": "all", "keep_versions": 2}) as here:
        registry = here.upstream.registry
        for minor in range(2):
            registry.publish("left-pad", f"1.{minor}.0")
        await one(here, "left-pad")
        registry.publish("left-pad", "1.2.0")
        await killed_at(failpoint, here, tmp_path)
        async with here.running():
            await here.at_head()
            await here.until(lambda status: not status["fetch"]["in_work"])
        assert held(here, "left-pad") == {"1.1.0", "1.2.0"}
        with anyio.fail_after(30):
            while len(here.end_state().files) > 2:  # noqa: ASYNC110 - as somebody who looks
                await anyio.sleep(0.02)
        assert_files_match(here)


async def killed_at(failpoint: str, here: RunningMirror, directory: Path) -> None:
    """Have `npmmirror sync left-pad` kill itself there."""
    environment = {
        **os.environ,
        failpoints.VARIABLE: failpoint,
        "NPMMIRROR_STORAGE__DATA_DIR": str(here.config.storage.data_dir),
        "NPMMIRROR_STORAGE__MIN_FREE_BYTES": "0",
        "NPMMIRROR_UPSTREAM__REGISTRY": here.upstream.url,
        "NPMMIRROR_POLICY__TARBALLS": "all",
        "NPMMIRROR_POLICY__KEEP_VERSIONS": "2",
    }
    ended = await anyio.run_process(
        [sys.executable, "-m", "npmmirror", "sync", "left-pad"],
        cwd=directory,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stdout.decode()


async def test_more_versions_than_are_kept_are_never_fetched(mirror: Open) -> None:
    """At the first sight of an old package as later."""
    async with mirror(policy={"tarballs": "all", "keep_versions": 2}) as here:
        for minor in range(6):
            here.upstream.registry.publish("left-pad", f"1.{minor}.0")
        async with here.running():
            await here.at_head()
        assert held(here, "left-pad") == {"1.4.0", "1.5.0"}
        assert here.upstream.count("tarball") == 2


async def test_a_person_is_told_which_rule_does_not_want_a_package(mirror: Open) -> None:
    """Upstream is asked nothing of it; `--force` fetches it all the same."""
    async with mirror(policy={"deny": ["left-*"]}) as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        report = await one(here, "left-pad")
        assert not report.complete
        assert report.to_json()["outcome"] == 'policy (policy.deny: "left-*")'
        assert here.upstream.count() == here.upstream.count("keys") == 1
        forced = await one(here, "left-pad", force=True)
        assert forced.complete
        assert set(forced.held) == {"1.0.0"}


async def test_a_person_is_told_which_rule_does_not_want_a_version(mirror: Open) -> None:
    """A prerelease by its name; recorded, for somebody asked."""
    async with mirror(policy={"prereleases": False}) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        registry.publish("left-pad", "2.0.0-rc.1", tag="next")
        report = await one(here, "left-pad@next")
        assert report.missing == {"2.0.0-rc.1": "policy (policy.prereleases: it is a prerelease)"}
        assert skips(here) == {
            ("left-pad", "2.0.0-rc.1", "policy", "policy.prereleases: it is a prerelease")
        }
        assert set((await one(here, "left-pad@next", force=True)).held) == {"2.0.0-rc.1"}
        assert skips(here) == set()


async def test_what_was_forced_stays_until_the_next_version_comes(mirror: Open) -> None:
    """An old version beside the newest ones, which are as many as are kept."""
    async with mirror(policy={"tarballs": "all", "keep_versions": 2}) as here:
        registry = here.upstream.registry
        for minor in range(4):
            registry.publish("left-pad", f"1.{minor}.0")
        await one(here, "left-pad")
        assert "1.0.0" in (await one(here, "left-pad@1.0.0")).missing
        await one(here, "left-pad@1.0.0", force=True)
        assert held(here, "left-pad") == {"1.0.0", "1.2.0", "1.3.0"}
        registry.publish("left-pad", "1.4.0")
        await one(here, "left-pad")
        assert held(here, "left-pad") == {"1.3.0", "1.4.0"}


async def test_one_rule_for_number_and_prereleases_drops_no_prerelease_as_new_ones_arrive(
    mirror: Open,
) -> None:
    """Only the number is held to then, though the same rule says both."""
    rule = {"match": ["left-pad"], "keep_versions": 2, "prereleases": False}
    async with mirror(policy={"tarballs": "all", "rule": [rule]}) as here:
        registry = here.upstream.registry
        for minor in range(2):
            registry.publish("left-pad", f"1.{minor}.0")
        registry.publish("left-pad", "2.0.0-rc.1", tag="next")
        await one(here, "left-pad")
        await one(here, "left-pad@2.0.0-rc.1", force=True)
        registry.publish("left-pad", "1.2.0")
        await one(here, "left-pad")
        assert held(here, "left-pad") == {"1.1.0", "1.2.0", "2.0.0-rc.1"}


async def test_all_that_was_forced_comes_however_many_jobs_it_takes(mirror: Open) -> None:
    """What one job leaves over is not dropped by the policy that was overruled."""
    async with mirror(fetch={"tarballs_per_job": 2}, policy={"deny": ["*"]}) as here:
        for minor in range(7):
            here.upstream.registry.publish("left-pad", f"1.{minor}.0")
        report = await one(here, "left-pad", all_versions=True, force=True)
        assert report.complete
        assert len(report.held) == 7


async def test_what_was_forced_and_failed_comes_with_a_later_try(mirror: Open) -> None:
    """Its row has the failure's reason from then on, and is not dropped by the overruled policy."""
    rule = {"match": ["react"], "prereleases": False}
    async with mirror(policy={"deny": ["left-*"], "rule": [rule]}) as here:
        for name in ("left-pad", "react"):
            here.upstream.registry.publish(name, "1.0.0-rc.1")
        here.upstream.fault("tarball", faults.Status(403), times=4)
        for name in ("left-pad", "react"):
            assert (await one(here, f"{name}@1.0.0-rc.1", force=True)).missing
        async with here.running():  # fails once more, each of them
            await here.until(lambda status: not status["work_list"])
        assert here.upstream.count("tarball") == 6
        assert held(here, "left-pad") == held(here, "react") == {"1.0.0-rc.1"}


async def test_what_was_forced_and_waits_is_tried_when_somebody_asks_without_force(
    mirror: Open,
) -> None:
    """The refusal had taken its row off the list, and nobody ever tried it again."""
    async with mirror(policy={"prereleases": False}) as here:
        for number in (1, 2):
            here.upstream.registry.publish("react", f"1.0.0-rc.{number}", tag="next")
        here.upstream.fault("tarball", faults.Status(403), times=2)
        forced, other = "1.0.0-rc.1", "1.0.0-rc.2"
        assert forced in (await one(here, f"react@{forced}", force=True)).missing
        report = await one(here, "react", all_versions=True)
        assert report.missing[forced].startswith("http_403 (")
        assert report.missing[other].startswith("policy (")
        assert here.rows("SELECT item, attempts FROM work_list") == [(forced, 2)]
        report = await one(here, f"react@{forced}")
        assert report.complete
        assert held(here, "react") == {forced}


async def test_what_waited_is_left_when_the_policy_wants_it_no_longer(mirror: Open) -> None:
    """Rows of the work list of a package that is denied by now, and of prereleases."""
    async with mirror(policy={"tarballs": "all"}) as here:
        registry = here.upstream.registry
        for name in ("left-pad", "react"):
            registry.publish(name, "1.0.0")
            registry.publish(name, "1.1.0-rc.1")
        here.upstream.fault("tarball", faults.Status(403), times=None)
        async with here.running():
            await here.until(lambda status: sum(status["work_list"].values()) == 4)
        here.upstream.heal()
        narrower = here.config.policy.model_copy(update={"deny": ("react",), "prereleases": False})
        here.config = here.config.model_copy(update={"policy": narrower})
        async with here.running():
            await here.until(lambda status: not status["work_list"])
        assert held(here, "left-pad") == {"1.0.0"}
        assert held(here, "react") == set()


async def test_a_tarball_that_was_too_large_is_not_asked_for_with_each_change(
    mirror: Open,
) -> None:
    """Its size is known to be too much, until the policy allows more."""
    async with mirror(policy={"tarballs": "all", "max_tarball_bytes": 100}) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            asked = here.upstream.count("tarball")
            registry.deprecate("left-pad", "1.0.0", "no")
            await here.at_head()
        assert here.upstream.count("tarball") == asked


def another(here: RunningMirror, **policy: object) -> None:
    """Give the mirror another policy from its next start on."""
    section = here.config.policy.model_validate({**here.config.policy.model_dump(), **policy})
    here.config = here.config.model_copy(update={"policy": section})


async def applied(here: RunningMirror) -> None:
    """Wait until the policy is applied, and what it wants is there."""
    digest = read_policy(here.config.policy).digest
    with anyio.fail_after(30):
        while digest not in str(here.rows(APPLIED)):  # noqa: ASYNC110 - as another program would
            await anyio.sleep(0.02)
    await here.until(lambda status: not status["work_list"] and not status["fetch"]["in_work"])


async def test_a_wider_policy_fetches_what_it_wants_now(mirror: Open) -> None:
    """Packages that were skipped and tarballs that were left out, without any new change."""
    policy = {"tarballs": "none", "allow": ["left-pad"]}
    async with mirror(policy=policy) as here:
        registry = here.upstream.registry
        for name in ("left-pad", "react", "vue"):
            registry.publish(name, "1.0.0")
            registry.publish(name, "1.1.0")
        async with here.running():
            await here.at_head()
        another(here, tarballs="all", allow=["left-pad", "react"])
        async with here.running():
            await applied(here)
        assert held(here, "left-pad") == held(here, "react") == {"1.0.0", "1.1.0"}
        assert {name for name, *_ in skips(here)} == {"vue"}
        assert_files_match(here)


async def test_a_policy_that_stays_asks_for_nothing(mirror: Open) -> None:
    """The second start does not go through the index."""
    async with mirror(policy={"tarballs": "none"}) as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        for _ in range(2):
            async with here.running():
                await applied(here)
        assert held(here, "left-pad") == set()


async def test_what_was_pruned_comes_back_where_the_policy_wants_it_again(mirror: Open) -> None:
    """What the policy had dropped it may have fetched again."""
    async with mirror(policy={"tarballs": "all", "keep_versions": 1}) as here:
        for minor in range(3):
            here.upstream.registry.publish("left-pad", f"1.{minor}.0")
            async with here.running():
                await here.at_head()
        assert held(here, "left-pad") == {"1.2.0"}
        another(here, keep_versions=2)
        async with here.running():
            await applied(here)
        assert held(here, "left-pad") == {"1.1.0", "1.2.0"}


async def test_what_was_too_large_is_asked_for_where_more_is_allowed(mirror: Open) -> None:
    """And the skip goes with it."""
    async with mirror(policy={"tarballs": "all", "max_tarball_bytes": 100}) as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
        assert {reason for _, _, reason, _ in skips(here)} == {"too_large"}
        another(here, max_tarball_bytes=1_000_000)
        async with here.running():
            await applied(here)
        assert held(here, "left-pad") == {"1.0.0"}
        assert skips(here) == set()


async def test_a_walk_that_was_cut_off_goes_on(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the last package that it looked at; status tells of it meanwhile."""
    monkeypatch.setattr(widening, "PAGE", 2)
    async with mirror(policy={"tarballs": "none"}) as here:
        registry = here.upstream.registry
        for name in "abcdef":
            registry.publish(name, "1.0.0")
        async with here.running():
            await here.at_head()
        another(here, tarballs="all")
        with monkeypatch.context() as patch:
            patch.setattr(widening, "REST_SECONDS", 3600.0)
            async with here.running():
                status = await here.until(lambda status: status["policy_change"] is not None)
        assert status["policy_change"] | {"since": ""} == {
            "since": "",
            "packages": 2,
            "queued_packages": 0,
            "queued_tarballs": 2,
        }
        async with here.running():
            await applied(here)
            assert (await here.status())["policy_change"] is None
        assert all(held(here, name) == {"1.0.0"} for name in "abcdef")


async def test_new_wants_what_was_published_since_following_began(mirror: Open) -> None:
    """As if it had always been the policy: `latest`, and what came later."""
    async with mirror(policy={"tarballs": "none"}) as here:
        registry = here.upstream.registry
        registry.set_time("2020-01-01T00:00:00.000Z")
        for minor in range(3):
            registry.publish("left-pad", f"1.{minor}.0")
        async with here.running():
            await here.at_head()
            registry.set_time("2100-01-01T00:00:00.000Z")
            registry.publish("left-pad", "2.0.0")
            registry.publish("left-pad", "2.1.0")
            await here.at_head()
        another(here, tarballs="new")
        async with here.running():
            await applied(here)
        assert held(here, "left-pad") == {"2.0.0", "2.1.0"}
