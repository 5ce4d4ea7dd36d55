"""What a kill left between the capture log and the index is made good at the next start."""

from pathlib import Path

import pytest

from npmmirror.archive import records
from npmmirror.clock import SystemClock
from npmmirror.config import Config
from npmmirror.daemon.opening import open_archive_and_index
from npmmirror.errors import StorageError
from npmmirror.index import Group, IndexWriter
from npmmirror.outcome import Digests, HeldTarball
from npmmirror.testing import ScriptedRegistry
from npmmirror.worker_threads import WorkerThreads
from tests.archive.history import AT, History

pytestmark = pytest.mark.anyio


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "data").mkdir()
    return Config.model_validate(
        {"storage": {"data_dir": str(tmp_path / "data")}, "policy": {"tarballs": "all"}}
    )


async def start(config: Config) -> dict[str, list[tuple[object, ...]]]:
    """Open and close, as a start does; what the index holds then."""
    with WorkerThreads(1, "test") as threads:
        async with open_archive_and_index(config, threads, SystemClock()) as opened:
            known = await opened.index.known("a")
            due = await opened.reader.due("9999", packages=9, rows_each=9)
    present = list(known.versions.items()) if known else []
    return {
        "versions": [(version, one.state) for version, one in present],
        "work": sorted((row.package, row.item) for rows in due.values() for row in rows),
    }


def capture(config: Config, *held: str) -> None:
    """Have the log hold a document of two versions, and tarballs of some, without a mark."""
    registry = ScriptedRegistry()
    registry.publish("a", "1.0.0")
    registry.publish("a", "1.1.0")
    history = History.at(config.storage.data_dir / "captures")
    history.capture("a", registry.document("a"))
    for version in held:
        digests = Digests("00" * 64)
        tarball = HeldTarball(version, f"a-{version}.tgz", 5, digests, "", None)
        history.log.append(records.tarball(AT, "a", tarball))
    history.log.write()
    history.log.sync()
    history.close()


def lose_index(config: Config) -> None:
    for file in config.storage.data_dir.glob("index.db*"):
        file.unlink()


async def test_kills_at_the_very_first_start_do_not_add_up(config: Config) -> None:
    """A mark without an index, and another one: still nothing was captured."""
    for _ in range(4):
        await start(config)
        lose_index(config)


async def test_a_lost_index_beside_captures_is_refused(config: Config) -> None:
    """Where something was captured, the sentence names the way out."""
    await start(config)
    capture(config)
    await start(config)
    lose_index(config)
    with pytest.raises(StorageError, match="reindex"):
        await start(config)


async def test_records_without_a_mark_are_indexed(config: Config) -> None:
    """A durable document counts, and what it wanted and does not hold is work to do."""
    await start(config)
    capture(config, "1.0.0")
    assert await start(config) == {
        "versions": [("1.0.0", "held"), ("1.1.0", "")],
        "work": [("a", "1.1.0")],
    }


async def test_a_kill_while_rolling_forward_is_made_good(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is committed without its mark: the next start finds all of it, or none."""
    await start(config)
    capture(config, "1.0.0")
    commit, groups = IndexWriter.commit, list[Group]()

    async def first_only(index: IndexWriter, group: Group) -> None:
        groups.append(group)
        if len(groups) > 1:
            raise KeyboardInterrupt
        await commit(index, group)

    with monkeypatch.context() as patched:
        patched.setattr(IndexWriter, "commit", first_only)
        await start(config)
    assert [group.mark is None for group in groups] == [False]
    assert (await start(config))["work"] == [("a", "1.1.0")]


async def test_a_group_in_the_log_is_kept_apart_from_the_next(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two groups behind the index the first is committed with its own mark, work included."""
    await start(config)
    capture(config)
    log = History.at(config.storage.data_dir / "captures")
    log.mark()
    log.close()
    commit = IndexWriter.commit

    async def once(index: IndexWriter, group: Group) -> None:
        monkeypatch.undo()
        await commit(index, group)
        raise OSError("killed")

    monkeypatch.setattr(IndexWriter, "commit", once)
    with pytest.raises(OSError, match="killed"):
        await start(config)
    assert (await start(config))["work"] == [("a", "1.0.0"), ("a", "1.1.0")]
