"""Rows that the feed shows late, behind the cursor: the trailing window is read again for them."""

from itertools import pairwise
from typing import Any

import anyio
import pytest

from npmmirror.daemon import feed_follower
from npmmirror.pipeline import overlap
from npmmirror.testing import ScriptedRegistry, ScriptedUpstream, faults
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio

SOON: dict[str, Any] = {"overlap_every_minutes": 0.002}
"""The window is read eight times a second."""


def finished(mirror: RunningMirror, package: str) -> list[str]:
    """The revs of a package that were captured, in their order."""
    return [
        rev
        for (rev,) in mirror.rows(
            "SELECT revisions.rev FROM revisions JOIN packages AS p ON p.id = package_id "  # noqa: S608 - names of ours
            f"WHERE p.name = '{package}' ORDER BY revisions.ordinal"
        )
    ]


def asked_since(mirror: RunningMirror) -> list[int]:
    """The cursors of all pages that were asked for."""
    asked = (one.query for one in mirror.upstream.requests if one.scope == "feed")
    return [int(query["since"]) for query in asked if query and "since" in query]


async def window_read(mirror: RunningMirror, times: int = 1) -> dict[str, Any]:
    """Wait until the window was read again to its end; the status then."""
    status: dict[str, Any] = {}
    for _ in range(times):
        known = {None, (await mirror.status())["feed"]["window_read_at"]}
        status = await mirror.until(
            lambda now, known=known: now["feed"]["window_read_at"] not in known  # type: ignore[misc]  # bound to this turn
        )
    return status


@pytest.mark.parametrize("opaque", [False, True], ids=["numbers", "opaque"])
async def test_a_row_that_comes_late_is_mirrored(mirror: Open, opaque: bool) -> None:
    """Found once, counted once; the cursor stays where it is."""
    upstream = ScriptedUpstream(ScriptedRegistry(opaque_seqs=opaque))
    async with mirror(upstream, follow=SOON) as here:
        registry = upstream.registry
        registry.publish("early", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.publish("late", "1.0.0", announce="late")
            registry.publish("after", "1.0.0")
            cursor = (await here.at_head())["feed"]["cursor"]
            assert finished(here, "late") == []
            registry.reveal("late")
            await here.until(lambda now: now["feed"]["late_rows"] == 1)
            status = await window_read(here, 2)
            assert status["feed"]["late_rows"] == 1
            assert status["feed"]["cursor"] == cursor
            await here.at_head()
        assert len(finished(here, "late")) == 1
        assert here.rows("SELECT cursor FROM progress") == [(cursor,)]


async def test_a_row_that_comes_late_while_the_mirror_is_down_is_found_at_the_next_start(
    mirror: Open,
) -> None:
    """The window begins where it began before."""
    upstream = ScriptedUpstream(ScriptedRegistry(opaque_seqs=True))
    async with mirror(upstream, follow=SOON) as here:
        registry = upstream.registry
        registry.publish("early", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.publish("late", "1.0.0", announce="late")
            registry.publish("after", "1.0.0")
            await here.at_head()
        registry.reveal("late")
        for number in range(20):
            registry.publish(f"more-{number}", "1.0.0")
        async with here.running():
            await here.until(lambda now: now["feed"]["late_rows"] == 1)
            await here.at_head()
        assert len(finished(here, "late")) == 1


async def test_what_is_known_is_not_appended_again(mirror: Open) -> None:
    """Neither what is finished, nor what waits in the buffer, nor design documents."""
    async with mirror(follow=SOON) as here:
        registry = here.upstream.registry
        for number in range(20):
            registry.publish(f"known-{number}", "1.0.0")
        registry.design_document()
        async with here.running():
            await here.at_head()
            here.upstream.fault("packument", faults.Stall(), times=None)
            registry.publish("slow", "1.0.0")
            await here.upstream.asked("packument", "slow")
            status = await window_read(here, 3)
            assert status["feed"]["late_rows"] == 0
            assert status["buffer"]["depth"] == 1
            here.upstream.heal()
            here.upstream.release()
            await here.at_head()
        assert here.rows("SELECT count(*) FROM revisions") == [(21,)]


async def test_what_waits_in_the_buffer_from_before_the_start_is_not_appended_again(
    mirror: Open,
) -> None:
    """The window is not read before that is finished: nobody could tell."""
    async with mirror(follow=SOON, fetch={"drain_seconds": 0.1}) as here:
        registry = here.upstream.registry
        registry.publish("known", "1.0.0")
        here.upstream.fault("packument", faults.Stall(), times=None)
        async with here.running():
            await here.upstream.asked("packument", "known")
        here.upstream.release()
        async with here.running():
            await here.upstream.asked("packument", "known", times=2)
            asked = here.upstream.count("feed")
            await here.upstream.asked("feed", times=asked + 20)
            assert (await here.status())["feed"]["window_read_at"] is None
            here.upstream.heal()
            here.upstream.release()
            status = await window_read(here)
            assert status["feed"]["late_rows"] == 0


async def test_what_waits_unread_in_a_long_buffer_is_not_appended_again(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More waits there than is remembered, and nobody has read it: the window is not read."""
    monkeypatch.setattr(overlap, "REMEMBERED", 10)
    monkeypatch.setattr(feed_follower, "REMEMBERED", 10)
    async with mirror(follow=SOON, fetch={"concurrency": 2}) as here:
        registry = here.upstream.registry
        async with here.running():
            registry.publish("known", "1.0.0")
            await here.at_head()
            here.upstream.fault("packument", faults.Stall(), times=None)
            for number in range(40):
                registry.publish(f"p{number}", "1.0.0")
            await here.until(lambda now: now["buffer"]["depth"] >= 40)
            asked = here.upstream.count("feed")
            await here.upstream.asked("feed", times=asked + 20)
            status = await here.status()
            assert (status["feed"]["late_rows"], status["buffer"]["depth"]) == (0, 40)
            here.upstream.heal()
            here.upstream.release()
            await here.at_head()
            assert (await window_read(here, 2))["feed"]["late_rows"] == 0


async def test_what_came_before_following_began_is_not_late(mirror: Open) -> None:
    """The window by seqs ends where following began."""
    async with mirror(follow={**SOON, "since": "now"}) as here:
        registry = here.upstream.registry
        for number in range(20):
            registry.publish(f"old-{number}", "1.0.0")
        async with here.running():
            await here.until(lambda now: now["feed"]["cursor"] is not None)
            registry.publish("new", "1.0.0")
            await here.at_head()
            status = await window_read(here, 2)
            assert status["feed"]["late_rows"] == 0
            assert status["totals"]["packages"] == {"live": 1}


async def test_a_window_of_seqs_alone_reaches_back_so_far(mirror: Open) -> None:
    """A row farther behind is not found; one within is."""
    async with mirror(follow={**SOON, "overlap_minutes": 0, "overlap_seqs": 40}) as here:
        registry = here.upstream.registry
        registry.publish("too-late", "1.0.0", announce="late")
        for number in range(50):
            registry.publish(f"between-{number}", "1.0.0")
        registry.publish("late", "1.0.0", announce="late")
        registry.publish("after", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.reveal("too-late")
            registry.reveal("late")
            await here.until(lambda now: now["feed"]["late_rows"] == 1)
            await window_read(here, 2)
        assert finished(here, "late")
        assert not finished(here, "too-late")


async def test_without_a_window_nothing_is_read_again(mirror: Open) -> None:
    """Zero turns both off."""
    follow = {**SOON, "overlap_minutes": 0, "overlap_seqs": 0}
    async with mirror(follow=follow) as here:
        registry = here.upstream.registry
        registry.publish("left-pad", "1.0.0")
        async with here.running():
            await here.at_head()
            before = here.upstream.count("feed")
            await here.upstream.asked("feed", times=before + 10)
            assert (await here.status())["feed"]["late_rows"] is None
        assert set(asked_since(here)[before:]) == {registry.feed.head}


async def test_the_window_is_read_at_the_head_alone_and_page_by_page(mirror: Open) -> None:
    """While full pages come nothing else is asked for; then a look at the head stands between."""
    async with mirror(follow={**SOON, "page_rows": 5, "overlap_every_minutes": 0.0001}) as here:
        registry = here.upstream.registry
        for number in range(53):
            registry.publish(f"p-{number}", "1.0.0")
        async with here.running():
            await window_read(here, 2)
        asked = asked_since(here)
        again = asked.index(0, 1)
        assert again == len(set(asked[:again])) == 11
        behind = [since != registry.feed.head for since in asked[again:]]
        assert any(behind)
        assert not any(one and other for one, other in pairwise(behind))


async def test_a_lost_buffer_does_not_cost_a_late_row(mirror: Open) -> None:
    """The window does not get shorter before what it found is finished."""
    follow = {**SOON, "overlap_minutes": 0.0001, "overlap_seqs": 0}
    async with mirror(follow=follow, fetch={"drain_seconds": 0.1}) as here:
        registry = here.upstream.registry
        registry.publish("early", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.publish("late", "1.0.0", announce="late")
            registry.publish("after", "1.0.0")
            await here.at_head()
            here.upstream.fault("packument", faults.Stall(), times=None)
            registry.reveal("late")
            await here.upstream.asked("packument", "late")
        here.upstream.heal()
        here.upstream.release()
        for file in here.config.storage.data_dir.glob("buffer.db*"):
            await anyio.Path(file).unlink()
        async with here.running():
            await here.until(lambda now: now["feed"]["late_rows"] == 1)
            await here.at_head()
        assert len(finished(here, "late")) == 1
