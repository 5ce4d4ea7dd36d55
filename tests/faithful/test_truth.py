"""The mirror's end is upstream's truth, whatever upstream, its feed and its caches did on the way.

Hypothesis draws what happens; a failure is shrunk to the shortest life that shows it. `pytest
tests/faithful/test_truth.py --lives 500` tries that many.
"""

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Literal

import anyio
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from npmmirror.daemon import cold_commands
from npmmirror.pipeline.reconcile import Asked
from npmmirror.testing import ScriptedRegistry, ScriptedUpstream, faults
from npmmirror.testing.history import MOVES, publish
from npmmirror.testing.registry import Announce
from tests.daemon.conftest import Open, RunningMirror
from tests.kill import endstate

NAMES = ("a", "@b/c", "d", "e")
SECTIONS: dict[str, dict[str, Any]] = {
    "follow": {
        "poll_seconds": 0.01,
        "page_rows": 4,
        "overlap_every_minutes": 0.001,
        "head_fall_minutes": 0.002,
        "reconcile_days": 0,
    },
    "fetch": {"retry_seconds": 0.01, "retry_max_seconds": 0.02, "max_attempts": 100},
    "policy": {
        "tarballs": "all",
        "confirm_removal_answers": 2,
        "confirm_removal_hours": 0,
        "removal_breaker_packages": 0,
        "removal_breaker_percent": 0,
    },
}
Captured = Mapping[str, tuple[set[bytes], set[str]]]
"""By package: the digests of its revisions, and the versions whose files are held."""


@dataclass(frozen=True)
class Change:
    """A package changes; its row comes at once, with `Reveal`, or never."""

    name: str
    move: str
    dice: int
    announce: Announce

    async def happen(self, life: "Life") -> None:
        """A package that is not there, or not alive, has a version published."""
        registry = life.registry
        alive = self.name in registry and registry.revision(self.name).state == "live"
        change = MOVES[self.move][0] if alive else publish
        life.announced = self.announce
        with suppress(ValueError):  # a version of that name was there before
            change(registry, self.name, Random(self.dice))
        life.announced = "now"


@dataclass(frozen=True)
class Reveal:
    """All rows that were withheld appear, behind the cursor or not."""

    async def happen(self, life: "Life") -> None:
        """In the order of names."""
        for name in NAMES:
            with suppress(KeyError):  # it has none
                life.registry.reveal(name)


@dataclass(frozen=True)
class Lag:
    """So many answers are the document of before."""

    name: str
    reads: int

    async def happen(self, life: "Life") -> None:
        """Of a package that is there."""
        if self.name in life.registry:
            life.registry.serve_stale(self.name, self.reads)


@dataclass(frozen=True)
class Storm:
    """Documents are not found, whatever there is; or the registry fails."""

    status: Literal[404, 500]
    times: int

    async def happen(self, life: "Life") -> None:
        """Of any package. What is not found so often is believed to be gone."""
        fault = faults.Status(self.status, body='{"error":"Not found"}')
        life.here.upstream.fault("packument", fault, times=self.times)


@dataclass(frozen=True)
class Reset:
    """The feed numbers its rows anew, and ends far below where it ended."""

    async def happen(self, life: "Life") -> None:
        """Rows that are hidden are lost by it."""
        rows = len(life.registry.changes()["results"])
        if life.registry.feed.head > rows:
            life.registry.reset_head(rows)


@dataclass(frozen=True)
class Restart:
    """The daemon stops wherever it is, and starts again."""

    async def happen(self, life: "Life") -> None:
        """See `Life.live`: it is running in any case."""
        life.restarts = True


@dataclass(frozen=True)
class Settle:
    """The mirror comes to the head."""

    async def happen(self, life: "Life") -> None:
        """So that the next change of a package is one of its own."""
        await life.settle()


Step = Change | Reveal | Lag | Storm | Reset | Restart | Settle


class Life:
    """A mirror of a registry, from its first package to the comparison at the end."""

    def __init__(self, here: RunningMirror) -> None:
        self.here = here
        self.registry = here.upstream.registry
        self.announced: Announce = "now"
        self.restarts = False
        self.captured: dict[str, tuple[set[bytes], set[str]]] = {}
        self._choose_announcements()

    def _choose_announcements(self) -> None:
        """Moves announce their changes at once; a life has them come late, or not at all."""
        at_once = self.registry._announce

        def chosen(name: str, rev: str, announce: Announce, *, deleted: bool) -> None:
            del announce
            at_once(name, rev, self.announced, deleted=deleted)

        self.registry._announce = chosen  # type: ignore[method-assign]  # the registry is the test's own

    async def live(self, steps: list[Step]) -> None:
        """All of it. The daemon runs through the steps, but for restarts."""
        left = [*steps]
        while left:
            async with self.here.running():
                self.restarts = False
                while left and not self.restarts:
                    await left.pop(0).happen(self)
            self.note()
        await self.come_to_rest()

    async def settle(self) -> None:
        """Wait for the end of the feed, which need not have a row."""
        feed = self.registry.feed
        head = feed.served(feed.head)
        await self.here.until(
            lambda now: now["feed"]["cursor"] == head and now["mirror"]["at_head"]
        )
        self.note()

    async def come_to_rest(self) -> None:
        """Nothing more happens. What the feed lost a reconciliation finds, once head and window are read."""
        self.here.upstream.heal()
        async with self.here.running():
            await self.settle()
        for _ in range(2):  # what is unlisted is looked at so often that it is believed
            await cold_commands.reconcile(
                self.here.config, self.here.source, Asked(), tell=lambda _: None
            )
            async with self.here.running():
                await self.settle()

    def note(self) -> None:
        """What was ever captured must be there for ever."""
        rows = self.here.rows(
            "SELECT p.name, r.sha256 FROM revisions AS r JOIN packages AS p ON p.id = r.package_id"
        )
        files = self.here.rows(
            "SELECT p.name, v.version FROM versions AS v JOIN packages AS p ON p.id = v.package_id "
            "WHERE v.state = 'held'"
        )
        now: dict[str, tuple[set[bytes], set[str]]] = {name: (set(), set()) for name in NAMES}
        for name, digest in rows:
            now[name][0].add(digest)
        for name, version in files:
            now[name][1].add(version)
        for name, (digests, versions) in self.captured.items():
            assert digests <= now[name][0], name
            assert versions <= now[name][1], name
        self.captured = now


def met(state: endstate.EndState, truth: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The truth, but for packages that were gone before a document of them could be captured."""
    seen = {name for name, package in state.packages.items() if package.package[0]}
    return {
        name: told for name, told in truth.items() if name in seen or told["state"] != "removed"
    }


NAME = st.sampled_from(NAMES)
ANNOUNCE = st.sampled_from(["now", "now", "now", "late", "never"])
CHANGE = st.builds(Change, NAME, st.sampled_from(sorted(MOVES)), st.integers(0, 3), ANNOUNCE)
OTHERS = st.one_of(
    st.builds(Reveal),
    st.builds(Lag, NAME, st.integers(1, 3)),
    st.builds(Storm, st.sampled_from([404, 500]), st.integers(1, 6)),
    st.builds(Reset),
    st.builds(Restart),
)
STEPS: st.SearchStrategy[Step] = st.one_of(CHANGE, CHANGE, CHANGE, OTHERS, st.builds(Settle))


@pytest.mark.timeout(3600)  # finding the shortest life takes minutes
def test_the_end_is_upstreams_truth(
    mirror: Open, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Every package is what upstream has, every file is right, and nothing ever captured is lost."""

    @settings(
        max_examples=pytestconfig.getoption("lives"),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.lists(STEPS, max_size=20), st.booleans())
    def holds(steps: list[Step], opaque: bool) -> None:
        sections = {**SECTIONS, "storage": {"data_dir": tempfile.mkdtemp(dir=tmp_path)}}
        anyio.run(
            partial(live, mirror, steps, sections, opaque), backend_options={"use_uvloop": True}
        )

    holds()


async def live(
    mirror: Open, steps: list[Step], sections: dict[str, dict[str, Any]], opaque: bool
) -> None:
    """A life, and what must be true at its end."""
    upstream = ScriptedUpstream(ScriptedRegistry(opaque_seqs=opaque))
    async with mirror(upstream, **sections) as here:
        publish(upstream.registry, NAMES[0], Random(0))
        await Life(here).live([step for step in steps if not (opaque and isinstance(step, Reset))])
        state = here.end_state()
        assert endstate.untruths(state, met(state, upstream.registry.state())) == []
        assert endstate.leftovers(here.config.storage.data_dir, state) == []
    shutil.rmtree(here.config.storage.data_dir)
