"""Whoever goes through the whole index leaves the event loop its turns, whatever he meets there."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from npmmirror.clock import SystemClock
from npmmirror.daemon import pruning, widening
from npmmirror.daemon.mirror import Manner
from npmmirror.daemon.open_mirror import open_mirror
from npmmirror.index import IndexReader, shelf
from npmmirror.index.shelf import Page
from npmmirror.pipeline.wanting import wanted_of_each
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.test_policy import another, applied

pytestmark = pytest.mark.anyio

MANY = 20_000
"""Versions of one package; npm has one with 37,328."""
FEWEST = 5
"""A look at so many takes a tenth of a second: the loop, not held up, turns more often by far."""


class Turns:
    """Counts the turns of the event loop; `watched` notes how many there were during a call."""

    def __init__(self) -> None:
        self.count = 0
        self.during: list[int] = []

    async def run(self) -> None:
        """Count, for ever."""
        while True:
            self.count += 1
            await anyio.lowlevel.checkpoint()

    def watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, with a note of the turns during it."""

        def made(*args: Any) -> Any:
            before = self.count
            result = call(*args)
            self.during.append(self.count - before)
            return result

        return made


@asynccontextmanager
async def counting() -> AsyncIterator[Turns]:
    """The turns of the loop inside the block."""
    turns = Turns()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns.run)
        try:
            yield turns
        finally:
            tasks.cancel_scope.cancel()


def grow(here: RunningMirror, name: str, versions: int) -> None:
    """Let a package have many more versions, none of which is held."""
    with closing(sqlite3.connect(here.config.storage.index_path)) as index, index:
        index.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO versions (package_id, version, digest, present, published_at) "
            "SELECT p.id, '1.' || i || '.1', x'', 1, '2024-01-01T00:00:00.000Z' "
            "FROM n, packages AS p WHERE p.name = ?",
            (versions, name),
        )


def hold(here: RunningMirror) -> None:
    """Let all of them be held, as far as the index is concerned."""
    with closing(sqlite3.connect(here.config.storage.index_path)) as index, index:
        index.execute("UPDATE versions SET state = 'held', path = 'x/' || version, size = 1")


async def test_a_walk_over_a_vast_package_leaves_the_loop_its_turns(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it costs to judge its versions is no wait for anybody else."""
    async with mirror(policy={"tarballs": "none"}) as here:
        here.upstream.registry.publish("vast", "1.0.0")
        async with here.running():
            await here.at_head()
        grow(here, "vast", MANY)
        another(here, tarballs="none", prereleases=False)
        async with counting() as turns:
            monkeypatch.setattr(widening, "wanted_of_each", turns.watched(wanted_of_each))
            async with here.running():
                await applied(here)
    assert max(turns.during) >= FEWEST


async def test_a_prune_of_a_vast_package_leaves_the_loop_its_turns(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of its two looks."""
    async with mirror(policy={"tarballs": "none"}) as here:
        here.upstream.registry.publish("vast", "1.0.0")
        async with here.running():
            await here.at_head()
        grow(here, "vast", MANY)
        hold(here)
        another(here, keep_versions=MANY)
        alone = open_mirror(here.config, here.source, clock=SystemClock(), manner=Manner())
        async with counting() as turns, alone as it:
            monkeypatch.setattr(pruning, "_going", turns.watched(pruning._going))
            report = await pruning.prune(it, it.opened.policy.digest, lambda _: None)
    assert report["files"] == 1
    assert len(turns.during) >= 2
    assert min(turns.during) >= FEWEST


async def test_a_page_is_bounded_by_its_versions_as_well(mirror: Open) -> None:
    """A vast package is a page of its own; every package is on one page."""
    async with mirror(policy={"tarballs": "none"}) as here:
        names = [f"p{number}" for number in range(6)]
        for name in names:
            here.upstream.registry.publish(name, "1.0.0")
        async with here.running():
            await here.at_head()
        grow(here, "p2", 50)
        seen: list[list[str]] = []
        async with await IndexReader.open(here.config.storage.index_path, connections=1) as reader:
            after = ""
            while rows := await reader.ask(
                partial(shelf.page, asked=Page(after, packages=3, versions=10, held_only=False))
            ):
                seen.append([shelf.read(row).package for row in rows])
                after = seen[-1][-1]
    assert seen == [["p0", "p1"], ["p2"], ["p3", "p4", "p5"]]
