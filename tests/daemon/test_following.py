"""The daemon against the scripted upstream: what was published is mirrored."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from npmmirror.testing import ScriptedRegistry, ScriptedUpstream, faults
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio


def kinds(mirror: RunningMirror, package: str) -> list[str]:
    """The kinds of a package's events, in their order."""
    return [row[1] for row in mirror.end_state().packages[package].events]


def held(mirror: RunningMirror, package: str) -> set[str]:
    """The versions of a package whose tarballs the index holds."""
    rows = mirror.end_state().packages[package].versions
    return {row[0] for row in rows if row[13] == "held"}


def assert_files_match(mirror: RunningMirror) -> None:
    """Every file on disk has the bytes that upstream has, and nothing else lies there."""
    registry = mirror.upstream.registry
    state = mirror.end_state()
    known = {
        row[15]: (package, row[0])
        for package, rows in state.packages.items()
        for row in rows.versions
        if row[15] is not None
    }
    assert set(state.files) == set(known)
    for path, (package, version) in known.items():
        expected = hashlib.sha512(registry.tarball(package, version)).hexdigest()
        assert state.files[path] == expected
    assert not list((mirror.config.storage.staging_path).iterdir())


async def test_what_is_published_is_mirrored(mirror: Open) -> None:
    """From an empty directory to the head, then on with each publish."""
    async with mirror() as here, here.running():
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        registry.publish("@scope/n", "1.0.0")
        await here.at_head()
        registry.publish("left-pad", "1.1.0")
        status = await here.at_head()
        assert status["totals"]["packages"] == {"live": 2}
        assert status["totals"]["tarballs"] == 3
        assert status["feed"]["follow_lag"] == 0
        assert status["mirror"]["lag"] == 0
        assert held(here, "left-pad") == {"1.0.0", "1.1.0"}
        assert_files_match(here)


async def test_versions_published_between_two_looks_are_all_fetched(mirror: Open) -> None:
    """The feed tells only the last change of a package; policy `new` loses no version."""
    async with mirror() as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
        for minor in range(1, 6):
            registry.publish("left-pad", f"1.{minor}.0")
        async with here.running():
            await here.at_head()
        assert held(here, "left-pad") == {f"1.{minor}.0" for minor in range(6)}


async def test_old_versions_are_history_and_not_fetched(mirror: Open) -> None:
    """At first sight: `latest` alone, one `package_observed`, no event for what is old."""
    async with mirror() as here:
        registry = here.upstream.registry
        for minor in range(5):
            registry.publish("left-pad", f"1.{minor}.0")
        async with here.running():
            await here.at_head()
        assert held(here, "left-pad") == {"1.4.0"}
        assert kinds(here, "left-pad") == ["package_observed"]


@pytest.mark.parametrize(
    ("policy", "versions"),
    [("none", set()), ("latest", {"1.2.0"}), ("all", {"1.0.0", "1.1.0", "1.2.0"})],
)
async def test_the_policy_says_which_tarballs(
    mirror: Open, policy: str, versions: set[str]
) -> None:
    """None, the latest, or all of them."""
    async with mirror(policy={"tarballs": policy}) as here:
        for minor in range(3):
            here.upstream.registry.publish("left-pad", f"1.{minor}.0")
        async with here.running():
            await here.at_head()
        assert held(here, "left-pad") == versions


async def test_a_job_takes_a_few_tarballs_and_the_work_list_the_rest(mirror: Open) -> None:
    """`fetch.tarballs_per_job` bounds a job; all come in the end."""
    async with mirror(policy={"tarballs": "all"}, fetch={"tarballs_per_job": 3}) as here:
        for minor in range(20):
            here.upstream.registry.publish("left-pad", f"1.{minor}.0")
        async with here.running():
            await here.at_head()
        assert len(held(here, "left-pad")) == 20
        assert here.upstream.count("packument", "left-pad") == 1


async def test_a_restart_asks_for_nothing_again(mirror: Open) -> None:
    """What is finished is not fetched twice."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
        before = here.upstream.count("packument"), here.upstream.count("tarball")
        async with here.running():
            await here.at_head()
        assert (here.upstream.count("packument"), here.upstream.count("tarball")) == before


async def test_every_kind_of_change_becomes_its_event(mirror: Open) -> None:
    """The life of a package, one change at a time."""
    async with mirror(policy={"confirm_removal_hours": 0}) as here:
        registry = here.upstream.registry
        registry.publish("other", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.set_time("2100-01-01T00:00:00.000Z")
            changes: tuple[Callable[[], str], ...] = (
                lambda: registry.publish("left-pad", "1.0.0"),
                lambda: registry.publish("left-pad", "1.1.0"),
                lambda: registry.tag("left-pad", "next", "1.0.0"),
                lambda: registry.untag("left-pad", "next"),
                lambda: registry.deprecate("left-pad", "1.0.0", "old"),
                lambda: registry.deprecate("left-pad", "1.0.0", ""),
                lambda: registry.add_maintainer("left-pad", "ann"),
                lambda: registry.remove_maintainer("left-pad", "ann"),
                lambda: registry.unpublish_version("left-pad", "1.0.0"),
                lambda: registry.unpublish("left-pad"),
            )
            for change in changes:
                change()
                await here.at_head()
        assert kinds(here, "left-pad") == [
            "package_created",
            "version_published",
            "version_published",
            "dist_tag_set",
            "dist_tag_set",
            "dist_tag_removed",
            "deprecated",
            "undeprecated",
            "maintainer_added",
            "maintainer_removed",
            "version_unpublished",
            "package_unpublished",
        ]
        # Nothing that was captured is deleted because upstream lost it.
        assert held(here, "left-pad") == {"1.0.0", "1.1.0"}


async def test_a_removed_package_is_gone_only_after_repeated_answers(mirror: Open) -> None:
    """Three answers of "not there"; everything held stays."""
    async with mirror(policy={"confirm_removal_hours": 0}) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            asked = here.upstream.count("packument", "left-pad")
            registry.remove("left-pad")
            status = await here.until(lambda s: s["totals"]["packages"] == {"removed": 1})
            assert here.upstream.count("packument", "left-pad") - asked == 3
            assert status["totals"]["tarballs"] == 1
            assert kinds(here, "left-pad")[-1] == "package_removed"


async def test_one_404_is_no_removal(mirror: Open) -> None:
    """A registry under maintenance answers 404 for what is there."""
    async with mirror(policy={"confirm_removal_hours": 0}) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            here.upstream.fault("packument", faults.Status(404), times=2)
            registry.publish("left-pad", "1.1.0")
            await here.at_head()
        assert "package_removed" not in kinds(here, "left-pad")
        assert held(here, "left-pad") == {"1.0.0", "1.1.0"}


async def test_a_stale_document_is_kept_and_looked_at_again(mirror: Open) -> None:
    """Older than announced: no event, no base; the right one follows."""
    async with mirror() as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        registry.publish("left-pad", "1.1.0")
        async with here.running():
            await here.at_head()
            registry.serve_stale("left-pad", 2)
            registry.publish("left-pad", "1.2.0")
            await here.at_head()
        state = here.end_state().packages["left-pad"]
        assert [row[3] for row in state.revisions if row[1] is not None][-1] == 0
        assert held(here, "left-pad") == {"1.1.0", "1.2.0"}
        assert sum(row[1] == "version_unpublished" for row in state.events) == 0


async def test_a_late_row_is_mirrored_when_it_appears(mirror: Open) -> None:
    """A row that shows up later at the feed's end is a change like any other."""
    async with mirror() as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.publish("chalk", "1.0.0")
            registry.design_document()
            status = await here.at_head()
        assert status["totals"]["packages"] == {"live": 2}


async def test_opaque_seqs_are_followed(mirror: Open) -> None:
    """CouchDB's seqs are texts: a cursor, and no sum is made of them."""
    upstream = ScriptedUpstream(ScriptedRegistry(opaque_seqs=True))
    async with mirror(upstream) as here:
        for number in range(30):
            here.upstream.registry.publish(f"p{number}", "1.0.0")
        async with here.running():
            status = await here.at_head()
            here.upstream.registry.publish("p3", "1.1.0")
            await here.at_head()
        assert isinstance(status["feed"]["cursor"], str)
        assert held(here, "p3") == {"1.0.0", "1.1.0"}


async def test_a_registry_without_revs_is_followed(mirror: Open) -> None:
    """A plain copy answers documents without `_rev`."""
    upstream = ScriptedUpstream(ScriptedRegistry(without_revs=True))
    async with mirror(upstream) as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            here.upstream.registry.publish("left-pad", "1.1.0")
            await here.at_head()
        assert held(here, "left-pad") == {"1.0.0", "1.1.0"}


async def test_small_pages_are_followed_to_the_head(mirror: Open) -> None:
    """As long as pages are full the next is asked for at once."""
    async with mirror(follow={"page_rows": 7, "poll_seconds": 3600.0}) as here:
        for number in range(50):
            here.upstream.registry.publish(f"p{number}", "1.0.0")
        async with here.running():
            status = await here.at_head()
        assert status["totals"]["packages"] == {"live": 50}
        assert here.upstream.count("feed") >= 8


async def test_following_from_now_begins_at_the_head(mirror: Open) -> None:
    """`follow.since = "now"`: what was published before is not asked for."""
    async with mirror(follow={"since": "now"}) as here:
        here.upstream.registry.publish("old", "1.0.0")
        async with here.running():
            await here.at_head()
            here.upstream.registry.publish("young", "1.0.0")
            status = await here.at_head()
        assert status["totals"]["packages"] == {"live": 1}
        assert set(here.end_state().packages) == {"young"}


async def test_changes_of_one_package_become_few_requests(mirror: Open) -> None:
    """Rows of a package that wait together are answered by one look."""
    async with mirror(follow={"poll_seconds": 0.02}) as here:
        registry = here.upstream.registry
        async with here.running():
            here.upstream.fault("packument", faults.Stall(), name="left-pad", times=1)
            registry.publish("left-pad", "1.0.0")
            await here.upstream.asked("packument", "left-pad")
            for minor in range(1, 10):
                registry.publish("left-pad", f"1.{minor}.0")
                await here.upstream.asked("feed", times=here.upstream.count("feed") + 2)
            here.upstream.release()
            await here.at_head()
        assert here.upstream.count("packument", "left-pad") <= 3
        assert len(held(here, "left-pad")) >= 9


async def test_the_last_change_is_told_in_full(mirror: Open) -> None:
    """What the first NPM-Mirror kept of each change."""
    async with mirror() as here, here.running():
        here.upstream.registry.publish("left-pad", "1.0.0")
        change: dict[str, Any] = (await here.at_head())["last_change"]
        assert change["package"] == "left-pad"
        assert change["latest_version"] == "1.0.0"
        assert change["versions"] == 1
        assert change["dist_tags"] == {"latest": "1.0.0"}
        assert change["deleted"] is False
        assert change["path"].endswith("left-pad-1.0.0.tgz")
