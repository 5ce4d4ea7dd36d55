"""What the tests of `reindex` share."""

import sqlite3
from contextlib import closing
from random import Random
from typing import Any

from npmmirror.archive import CaptureReader, Damage
from npmmirror.capture import Record
from npmmirror.config import Config
from npmmirror.daemon.rebuilt import Rebuilt
from npmmirror.daemon.reindex import reindex
from npmmirror.testing.history import History
from tests.daemon.conftest import RunningMirror
from tests.daemon.derived import Tables, derived
from tests.kill import endstate

LONG = {"readme": Random(0).randbytes(3_000).hex()}
"""What makes deltas worth their while."""


def silent(_: dict[str, Any]) -> None:
    """Tell nobody."""


async def rebuilt(config: Config) -> Rebuilt:
    return await reindex(config, silent)


def tables(config: Config) -> Tables:
    return derived(config.storage.index_path)


def ask(config: Config, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(config.storage.index_path)) as index:
        return index.execute(sql).fetchall()


def lose(config: Config) -> None:
    """As if the disk of the index had died."""
    for file in config.storage.data_dir.glob("index.db*"):
        file.unlink()


def records(config: Config) -> list[Record]:
    with CaptureReader(config.storage.data_dir / "captures") as reader:
        found = list(reader.scan())
    assert not [one for one in found if isinstance(one, Damage)]
    return [one for one in found if isinstance(one, Record)]


async def live(here: RunningMirror, history: History, steps: int) -> None:
    """Let a mirror follow a history step by step."""
    async with here.running():
        await here.at_head()
        here.upstream.registry.set_time("2100-01-01T00:00:00Z")
        for _ in range(steps):
            history.step()
            await here.at_head()


async def small(here: RunningMirror) -> None:
    """A mirror of six packages with a few revisions each, in several segments."""
    history = History(here.upstream.registry, seed=7, packages=6, share=0.7)
    await live(here, history, 5)


SMALL: dict[str, dict[str, Any]] = {
    "storage": {"segment_bytes": 8_000},
    "policy": {"confirm_removal_hours": 0, "tarballs": "all"},
}


async def packages_but(here: RunningMirror, name: str) -> dict[str, endstate.PackageState]:
    packages = here.end_state().packages
    return {each: one for each, one in packages.items() if each != name}


async def at_head_once(here: RunningMirror) -> None:
    async with here.running():
        await here.at_head()
