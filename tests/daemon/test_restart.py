"""What is found at a start: a buffer that was lost, an index that is older, ahead or not ours."""

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from npmmirror.daemon.run import run as run_daemon
from npmmirror.errors import LockedError, StorageError
from npmmirror.index import IndexWriter
from npmmirror.testing import ScriptedUpstream, faults
from npmmirror.testing.asked import Asked
from tests.daemon.conftest import Open, RunningMirror
from tests.kill import endstate

pytestmark = pytest.mark.anyio

PACKAGES = 12


def publish(mirror: RunningMirror, version: str) -> None:
    """A version of each package."""
    for number in range(PACKAGES):
        mirror.upstream.registry.publish(f"p{number}", version)


def files(mirror: RunningMirror, name: str) -> list[Path]:
    """A database's file, and those that SQLite puts beside it."""
    return sorted(mirror.config.storage.data_dir.glob(f"{name}*"))


def copy(mirror: RunningMirror, name: str, into: Path) -> None:
    """Keep a database as it is now."""
    into.mkdir(exist_ok=True)
    for path in files(mirror, name):
        shutil.copy(path, into)


def put_back(mirror: RunningMirror, name: str, kept: Path) -> None:
    """Replace a database by the one that was kept."""
    for path in files(mirror, name):
        path.unlink()
    for path in kept.glob(f"{name}*"):
        shutil.copy(path, mirror.config.storage.data_dir)


def assert_truthful(mirror: RunningMirror) -> None:
    """The mirror holds what the registry has, and nothing twice."""
    state = mirror.end_state()
    assert endstate.untruths(state, mirror.upstream.registry.state()) == []
    assert endstate.leftovers(mirror.config.storage.data_dir, state) == []


async def half_done(mirror: RunningMirror) -> None:
    """Versions 1.0.0 done; changes of 1.1.0 in the buffer, some finished, some cut off."""
    publish(mirror, "1.0.0")
    async with mirror.running():
        await mirror.at_head()
    publish(mirror, "1.1.0")
    for number in (3, 7):
        mirror.upstream.fault("packument", faults.Stall(), name=f"p{number}", times=1)
    async with mirror.running():
        await mirror.until(lambda status: status["totals"]["revisions"] == 2 * PACKAGES - 2)
        await mirror.until(lambda status: status["feed"]["cursor"] == status["feed"]["head"])
    mirror.upstream.release()


@pytest.mark.parametrize("how", ["deleted", "emptied", "damaged"])
async def test_a_lost_buffer_with_changes_pending(mirror: Open, how: str) -> None:
    """The feed is read again from the last page that was finished; the end is the same."""
    async with mirror(fetch={"drain_seconds": 0.0}) as here:
        await half_done(here)
        path = here.config.storage.data_dir / "buffer.db"
        for file in files(here, "buffer.db"):
            file.unlink()
        if how == "damaged":
            path.write_bytes(b"no database at all" * 1000)
        elif how == "emptied":
            path.touch()
        async with here.running():
            await here.at_head()
        assert_truthful(here)


async def test_an_older_buffer_put_back(mirror: Open, tmp_path: Path) -> None:
    """Its end is missing: the cursor goes back to the newest page that is there."""
    async with mirror(fetch={"drain_seconds": 0.0}, follow={"page_rows": 5}) as here:
        publish(here, "1.0.0")
        async with here.running():
            await here.at_head()
        copy(here, "buffer.db", tmp_path / "kept")
        publish(here, "1.1.0")
        for number in (3, 7):
            here.upstream.fault("packument", faults.Stall(), name=f"p{number}", times=1)
        async with here.running():
            await here.upstream.asked("packument", "p7", times=2)
        here.upstream.release()
        put_back(here, "buffer.db", tmp_path / "kept")
        async with here.running():
            await here.at_head()
        assert_truthful(here)


async def test_rows_seen_twice_are_dropped_only_where_that_very_rev_is_finished(
    mirror: Open,
) -> None:
    """After the buffer was lost, finished changes cost no request, the others do."""
    async with mirror(fetch={"drain_seconds": 0.0}) as here:
        await half_done(here)
        for file in files(here, "buffer.db"):
            file.unlink()
        asked = {n: here.upstream.count("packument", f"p{n}") for n in range(PACKAGES)}
        async with here.running():
            await here.at_head()
        again = {n for n in asked if here.upstream.count("packument", f"p{n}") > asked[n]}
        assert again == {3, 7}


async def test_an_older_index_is_rolled_forward(mirror: Open, tmp_path: Path) -> None:
    """index.db from before some groups: the log's records behind its mark are indexed."""
    async with mirror() as here:
        publish(here, "1.0.0")
        async with here.running():
            await here.at_head()
        copy(here, "index.db", tmp_path / "kept")
        publish(here, "1.1.0")
        here.upstream.registry.unpublish("p5")
        async with here.running():
            await here.at_head()
        expected = here.end_state()
        put_back(here, "index.db", tmp_path / "kept")
        asked = here.upstream.count("tarball")
        async with here.running():
            await here.at_head()
        assert_truthful(here)
        assert here.upstream.count("tarball") == asked
        assert endstate.differences(here.end_state(), expected) == []


async def test_a_death_between_log_and_index_is_rolled_forward(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group is durable in the log; the next start indexes it, the one after asks nothing."""
    async with mirror() as here:
        publish(here, "1.0.0")

        async def die(*_: Any) -> None:
            raise SystemError("the power went")

        async with here.running():
            await here.at_head()
        publish(here, "1.1.0")
        with monkeypatch.context() as patched:
            patched.setattr(IndexWriter, "commit", die)
            with pytest.raises(ExceptionGroup) as caught:
                await run_daemon(here.config, here.source)
            assert caught.group_contains(SystemError)
        (here.config.storage.staging_path / "npmmirror-left.tgz").write_bytes(b"left by a kill")
        async with here.running():
            await here.at_head()
        assert_truthful(here)


async def test_an_index_ahead_of_the_log_is_refused(mirror: Open, tmp_path: Path) -> None:
    """An older captures/ put back: the sentence says what to do."""
    async with mirror() as here:
        captures = here.config.storage.data_dir / "captures"
        publish(here, "1.0.0")
        async with here.running():
            await here.at_head()
        shutil.copytree(captures, tmp_path / "kept")
        publish(here, "1.1.0")
        async with here.running():
            await here.at_head()
        shutil.rmtree(captures)
        shutil.copytree(tmp_path / "kept", captures)
        with pytest.raises(ExceptionGroup) as caught:
            await run_daemon(here.config, here.source)
        assert caught.group_contains(StorageError, match=r"ahead of the capture log.*reindex")


async def test_a_second_instance_is_refused(mirror: Open) -> None:
    """The lock is held for life."""
    async with mirror() as here, here.running():
        with pytest.raises(ExceptionGroup) as caught:
            await run_daemon(here.config, here.source)
        assert caught.group_contains(LockedError, match=r"in use by process \d+")
        with pytest.raises(LockedError):
            await here.sync("left-pad")


async def test_another_feed_is_told_in_the_log(mirror: Open) -> None:
    """`upstream.feed` was changed: following begins anew there, history stays."""
    async with mirror() as here:
        publish(here, "1.0.0")
        async with here.running():
            await here.at_head()
        async with ScriptedUpstream(here.upstream.registry) as other:
            here.upstream = other
            publish(here, "1.1.0")
            async with here.running():
                await here.at_head()
            assert here.rows("SELECT count(*) FROM followings") == [(2,)]
            assert_truthful(here)


async def test_a_restart_in_the_midst_of_many_pages(mirror: Open) -> None:
    """Stopped again and again with pages, jobs and work rows half done: the end is the same."""
    async with mirror(
        fetch={"drain_seconds": 0.0, "tarballs_per_job": 1, "concurrency": 3},
        follow={"page_rows": 4},
        policy={"tarballs": "all"},
    ) as here:
        for minor in range(4):
            publish(here, f"1.{minor}.0")
        for revisions in (1, 3, 6, 10):
            async with here.running():
                await here.until(partial(_has, revisions))
        async with here.running():
            await here.at_head()
        assert_truthful(here)
        held = here.rows("SELECT count(*) FROM versions WHERE state = 'held'")
        assert held == [(4 * PACKAGES,)]


def _has(revisions: int, status: dict[str, Any]) -> bool:
    return int(status["totals"]["revisions"]) >= revisions


async def test_an_unfinished_change_is_not_past_the_checkpoint(mirror: Open) -> None:
    """Others behind it are finished; the checkpoint waits, and trimming with it."""
    async with mirror(fetch={"drain_seconds": 0.0}) as here:
        publish(here, "1.0.0")
        here.upstream.fault("packument", faults.Stall(), name="p2", times=1)
        async with here.running():
            status = await here.until(lambda status: status["totals"]["revisions"] == PACKAGES - 1)
            assert status["buffer"]["depth"] == PACKAGES - 2
        with closing(sqlite3.connect(here.config.storage.data_dir / "index.db")) as index:
            [(checkpoint,)] = index.execute("SELECT checkpoint FROM progress").fetchall()
        assert int(checkpoint) == 2


def _received(rows: int, status: dict[str, Any]) -> bool:
    return bool(status["buffer"]["depth"] >= rows - 1)


async def test_a_change_that_is_read_again_does_not_take_a_later_one_off_the_work_list(
    mirror: Open,
) -> None:
    """Found by the soak: the later one was lost, for in the buffer it passed as finished."""
    async with mirror(fetch={"concurrency": 4, "drain_seconds": 0.0}) as here:
        upstream, registry = here.upstream, here.upstream.registry
        stalled = [
            upstream.fault("packument", faults.Stall(), name=name, times=None)
            for name in ("first", "b", "c")
        ]
        async with here.running():
            for number, name in enumerate(("first", "a", "b", "c"), 1):
                registry.publish(name, "1.0.0")  # the checkpoint stays before the first
                await here.until(partial(_received, number))
            await here.until(lambda status: status["totals"]["tarballs"] == 1)
            failing = upstream.fault("packument", faults.Status(404), name="a", times=None)
            registry.publish("a", "1.1.0")
            await here.until(lambda status: bool(status["work_list"]))
        for armed in (*stalled, failing):
            upstream.heal(armed)

        async def wait(asked: Asked) -> None:
            """The second change of a is offered when the first one, told again, is done with."""
            if asked.name == "b":
                await here.until(lambda status: status["fetch"]["finished"] >= 2)

        upstream.hooks.append(wait)
        fetch = here.config.fetch.model_copy(update={"concurrency": 1})
        here.config = here.config.model_copy(update={"fetch": fetch})
        async with here.running():
            await here.at_head()
        assert_truthful(here)
