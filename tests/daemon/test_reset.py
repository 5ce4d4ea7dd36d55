"""Starting over with parts of a mirror."""

import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from npmmirror import failpoints
from npmmirror.config import Config
from npmmirror.daemon.reindex import reindex
from npmmirror.daemon.reset import PARTS, Part, Plan, plan_of, reset
from npmmirror.errors import LockedError, StorageError
from npmmirror.testing import faults
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.derived import derived, differences

pytestmark = [pytest.mark.anyio, pytest.mark.long]


async def agreed(_plan: Plan) -> bool:
    return True


async def away(here: RunningMirror, *parts: Part) -> Plan:
    """Reset these parts."""
    return await reset(here.config, parts, agreed)


async def with_since(here: RunningMirror, since: int | str) -> None:
    """Have another `follow.since` in the configuration from now on."""
    follow = here.config.follow.model_copy(update={"since": since})
    here.config = here.config.model_copy(update={"follow": follow})


async def followed(here: RunningMirror) -> None:
    """Let the mirror follow to the head."""
    async with here.running():
        await here.at_head()


def names(here: RunningMirror) -> set[str]:
    """The packages that are captured."""
    return {name for (name,) in here.rows("SELECT name FROM packages WHERE state <> ''")}


def cursor(here: RunningMirror) -> object:
    [(found,)] = here.rows("SELECT cursor FROM progress")
    return found


async def leave_unfinished(here: RunningMirror, name: str) -> None:
    """Have a change in the buffer of which nothing is captured yet, and a later one that is done."""
    here.upstream.fault("packument", faults.Stall(), name=name, times=1)
    here.upstream.registry.publish(name, "1.0.0")
    async with here.running() as stop:
        await here.upstream.asked("packument")
        here.upstream.registry.publish("quick", "1.0.0")
        await here.until(lambda status: (status["last_change"] or {}).get("package") == "quick")
        stop.set()
    here.upstream.release()
    assert names(here) == {"quick"}


async def test_the_index_alone_is_made_anew_of_the_archive(mirror: Open) -> None:
    """Nothing starts before that; then it is what it was, the cursor included."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        await followed(here)
        before, at = derived(here.config.storage.index_path), cursor(here)
        assert (await away(here, "index")).done
        with pytest.raises(StorageError, match="npmmirror reindex"):
            await here.sync("left-pad")
        await reindex(here.config, lambda _: None)
        assert differences(before, derived(here.config.storage.index_path)) == []
        assert cursor(here) == at


async def test_the_buffer_alone_costs_nothing(mirror: Open) -> None:
    """What waited in it is read from the feed again."""
    async with mirror(fetch={"drain_seconds": 0.0}) as here:
        await leave_unfinished(here, "slow")
        assert (await away(here, "buffer")).done
        assert not list(here.config.storage.data_dir.glob("buffer.db*"))
        await followed(here)
        assert "slow" in names(here)


async def test_the_cursor_alone_has_since_read_anew(mirror: Open) -> None:
    """With "now", what was published meanwhile is passed over; what is captured stays."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        await followed(here)
        here.upstream.registry.publish("meanwhile", "1.0.0")
        await with_since(here, "now")
        assert (await away(here, "cursor")).done
        assert cursor(here) is None
        async with here.running():
            await here.at_head()
            here.upstream.registry.publish("later", "1.0.0")
            await here.at_head()
        assert names(here) == {"left-pad", "later"}


async def test_a_forgotten_cursor_is_not_brought_back(mirror: Open) -> None:
    """Neither by marks of commands that follow nothing, nor by a rebuilt index."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        await followed(here)
        await away(here, "cursor")
        await here.sync("left-pad")
        await away(here, "index")
        await reindex(here.config, lambda _: None)
        assert here.rows("SELECT cursor FROM progress") == []
        here.upstream.registry.publish("meanwhile", "1.0.0")
        await with_since(here, "now")
        await followed(here)
        assert names(here) == {"left-pad"}


async def test_without_the_cursor_what_was_announced_is_still_worked_off(mirror: Open) -> None:
    """The buffer is not the cursor's."""
    async with mirror(fetch={"drain_seconds": 0.0}) as here:
        await leave_unfinished(here, "slow")
        await with_since(here, "now")
        await away(here, "cursor")
        await followed(here)
        assert "slow" in names(here)


async def test_without_index_and_buffer_no_announced_change_is_lost(mirror: Open) -> None:
    """The log's last mark goes back to where everything was finished."""
    async with mirror(fetch={"drain_seconds": 0.0}) as here:
        await leave_unfinished(here, "slow")
        await away(here, "index", "buffer")
        await reindex(here.config, lambda _: None)
        await followed(here)
        assert "slow" in names(here)


async def test_the_archive_alone_leaves_the_place_in_the_feed(mirror: Open) -> None:
    """An empty mirror goes on from there; files of others stay."""
    async with mirror() as here:
        registry, storage = here.upstream.registry, here.config.storage
        registry.publish("left-pad", "1.0.0")
        await followed(here)
        at = cursor(here)
        (storage.packages_path / "notes.txt").write_text("mine", encoding="utf-8")
        plan = await away(here, "archive")
        assert plan.strangers == (str(storage.packages_path / "notes.txt"),)
        assert [path.name for path in storage.packages_path.rglob("*")] == ["notes.txt"]
        assert not (storage.data_dir / "captures").exists()
        assert (cursor(here), names(here)) == (at, set())
        async with here.running():
            registry.publish("later", "1.0.0")
            await here.at_head()
        assert names(here) == {"later"}


async def test_all_of_it_is_as_if_never_started(mirror: Open) -> None:
    """The same upstream gives the same mirror."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        await followed(here)
        before = here.end_state()
        plan = await away(here, "index", "buffer", "archive", "cursor")
        assert plan.done
        left = {path.name for path in here.config.storage.data_dir.iterdir()}
        assert left <= {"lock", "staging"}
        await followed(here)
        assert here.end_state() == before


async def test_the_plan_counts_what_goes(mirror: Open) -> None:
    """File by file and byte by byte; nothing of it goes by being looked at."""
    async with mirror() as here:
        storage = here.config.storage
        here.upstream.registry.publish("left-pad", "1.0.0")
        await followed(here)
        plan = await plan_of(here.config, ("archive",))
        tops = (storage.data_dir / "captures", storage.packages_path)
        files = [path for top in tops for path in top.rglob("*") if path.is_file()]
        [going] = plan.going
        assert (going.count, going.size) == (
            len(files),
            sum(file.stat().st_size for file in files),
        )
        assert going.count >= 2
        assert all(file.exists() for file in files)


async def test_tarballs_that_are_away_are_not_left_behind(mirror: Open, tmp_path: Path) -> None:
    """Without their disk the archive is not deleted: they would stay on it."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        await followed(here)
        here.config.storage.packages_path.rename(tmp_path / "unmounted")
        with pytest.raises(StorageError, match="Is the disk mounted"):
            await away(here, "archive")
        assert list((here.config.storage.data_dir / "captures").glob("*.log"))


async def test_beside_a_daemon_it_only_looks(mirror: Open) -> None:
    """The lock is the daemon's."""
    async with mirror() as here, here.running():
        await here.at_head()
        assert not (await plan_of(here.config, ("index",))).done
        with pytest.raises(LockedError, match="in use by process"):
            await away(here, "index")
        assert here.config.storage.index_path.exists()


async def test_whoever_does_not_agree_keeps_everything(mirror: Open) -> None:
    """Nothing is noted either."""

    async def refused(_plan: Plan) -> bool:
        return False

    async with mirror() as here:
        await followed(here)
        assert not (await reset(here.config, ("index",), refused)).done
        await followed(here)


KILLS: list[tuple[tuple[Part, ...], str]] = [
    *((PARTS, name) for name in sorted(failpoints.FAILPOINTS) if name.startswith("reset.")),
    *((("archive",), name) for name in ("reset.index_gone", "reset.file_deleted")),
    *((("index", "cursor"), name) for name in ("reset.logged", "reset.index_gone")),
    (("cursor",), "reset.logged"),
]


@pytest.mark.parametrize(("parts", "failpoint"), KILLS)
async def test_a_kill_anywhere_is_made_good_by_the_same_command(
    mirror: Open, parts: tuple[Part, ...], failpoint: str, tmp_path: Path
) -> None:
    """Until then nobody works on what is left; the sentence names the command."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        await followed(here)
        await killed_at(failpoint, parts, here.config.storage.data_dir, tmp_path)
        words = " ".join(f"--{part}" for part in parts)
        with pytest.raises(StorageError, match=f"not finished: run `npmmirror reset {words}`"):
            await here.sync("left-pad")
        with pytest.raises(StorageError, match="not finished"):
            await reindex(here.config, lambda _: None)
        plan = await away(here)
        assert plan.unfinished == plan.parts == parts
        if "index" in parts and "archive" not in parts:
            await reindex(here.config, lambda _: None)
        await followed(here)
        expected = set() if parts == ("archive",) else {"left-pad"}
        assert names(here) == expected


async def killed_at(
    failpoint: str, parts: tuple[Part, ...], data_dir: Path, directory: Path
) -> None:
    """Have the command kill itself there."""
    words = [*(f"--{part}" for part in parts), "--yes", "--confirm", str(data_dir)]
    environment = {
        **os.environ,
        failpoints.VARIABLE: failpoint,
        "NPMMIRROR_STORAGE__DATA_DIR": str(data_dir),
    }
    done = await anyio.run_process(
        [sys.executable, "-m", "npmmirror", "reset", *words],
        env=environment,
        cwd=directory,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


async def test_a_directory_without_a_mirror_is_refused(tmp_path: Path) -> None:
    """Nothing is made by it."""
    config = Config.model_validate({"storage": {"data_dir": str(tmp_path / "none")}})
    with pytest.raises(StorageError, match="nothing to reset"):
        await reset(config, ("index",), agreed)
    assert not (tmp_path / "none").exists()
