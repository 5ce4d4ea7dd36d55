"""Invariant 10 as a property: whatever happened, the log gives the same derived tables again.

`pytest tests/daemon/test_rebuilt_histories.py --histories 500` tries that many histories.
"""

import shutil
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import anyio
import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.control.client import DaemonGoneError
from npmmirror.daemon.erase import Plan, erase
from npmmirror.daemon.reindex import reindex
from npmmirror.errors import StorageError
from npmmirror.testing import faults
from npmmirror.testing.faults import Fault
from npmmirror.testing.history import MOVES, publish
from npmmirror.testing.oddities import Oddity, oddities
from npmmirror.testing.registry import ScriptedRegistry
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.derived import derived, differences

pytestmark = pytest.mark.long

NAMES = ("a", "@b/c", "d")
SECTIONS: dict[str, dict[str, Any]] = {
    "follow": {"poll_seconds": 0.01, "page_rows": 4},
    "fetch": {"retry_seconds": 0.01, "retry_max_seconds": 0.02, "max_attempts": 4},
}
PLACES = (
    ("npmmirror.archive.publishing.reach", "publish.renamed"),
    ("npmmirror.archive.log.reach", "captures.written"),
    ("npmmirror.archive.log.reach", "captures.synced"),
    ("npmmirror.pipeline.record.reach", "record.durable"),
    ("npmmirror.index.writer.reach", "index.before_commit"),
    ("npmmirror.pipeline.record.reach", "record.committed"),
    ("npmmirror.pipeline.follow.reach", "follow.page_appended"),
)
"""Where a mirror dies: the name that a module calls its failpoints by, and the place."""
FAULTS: tuple[tuple[Any, Fault], ...] = (
    ("tarball", faults.Altered()),
    ("tarball", faults.Status(404)),
    ("packument", faults.Status(404)),
    ("packument", faults.Truncated()),
)


class Died(BaseException):
    """What a failpoint raises in the place of a kill: nothing after it happens."""


@dataclass(frozen=True)
class Move:
    """A package changes."""

    name: str
    move: str
    dice: int

    async def happen(self, here: RunningMirror) -> None:
        """A package that is not there, or not alive, has a version published."""
        registry = here.upstream.registry
        alive = self.name in registry and registry.revision(self.name).state == "live"
        change = MOVES[self.move][0] if alive else publish
        with suppress(ValueError):  # a version of that name was there before
            change(registry, self.name, Random(self.dice))


@dataclass(frozen=True)
class Lag:
    """So many answers are the document of before."""

    name: str
    reads: int

    async def happen(self, here: RunningMirror) -> None:
        """Of a package that is there."""
        if self.name in here.upstream.registry:
            here.upstream.registry.serve_stale(self.name, self.reads)


@dataclass(frozen=True)
class Strange:
    """A document as only npm has them, and the one that comes after it."""

    id: str
    later: bool

    async def happen(self, here: RunningMirror) -> None:
        """It may be there already: then it is put again."""
        oddity = corpus()[self.id]
        (oddity.put_then if self.later else oddity.put)(here.upstream.registry)


@dataclass(frozen=True)
class Fail:
    """The next few requests fail."""

    fault: int
    times: int

    async def happen(self, here: RunningMirror) -> None:
        """Of any package."""
        scope, fault = FAULTS[self.fault]
        here.upstream.fault(scope, fault, times=self.times)


@dataclass(frozen=True)
class Look:
    """The mirror comes to the head, and is stopped; or dies at a place on the way."""

    place: int | None = None

    async def happen(self, here: RunningMirror) -> None:
        """Where the place is not passed, nothing happens."""
        with ExitStack() as stack:
            if self.place is not None:
                stack.enter_context(deadly(*PLACES[self.place]))
            try:
                async with here.running():
                    await here.at_head()
            except* Died:
                pass
            except* (DaemonGoneError, anyio.BrokenResourceError):
                # One that dies lets go of its socket first, and is asked meanwhile; its tasks end
                # one after the other.
                if self.place is None:
                    raise


@dataclass(frozen=True)
class Sync:
    """A person asks for a package while no daemon runs."""

    name: str
    everything: bool

    async def happen(self, here: RunningMirror) -> None:
        """It need not be there."""
        await here.sync(self.name, all_versions=self.everything)


@dataclass(frozen=True)
class Erase:
    """An operator erases a package."""

    name: str

    async def happen(self, here: RunningMirror) -> None:
        """A package that the mirror never met is refused."""
        with suppress(StorageError):
            await erase(here.config, self.name, "court order 7", agreed)


@dataclass(frozen=True)
class Rebuild:
    """An operator rebuilds the index, which may be lost; then it all goes on."""

    lost: bool

    async def happen(self, here: RunningMirror) -> None:
        """The tables are the same: this is the property."""
        path = here.config.storage.index_path
        if not any((here.config.storage.data_dir / "captures").glob("*.log")):
            return
        await rolled_forward(here)
        before = derived(path)
        if self.lost:
            for file in path.parent.glob("index.db*"):
                file.unlink()
        result = await reindex(here.config, lambda _: None)
        assert result.whole
        assert differences(before, derived(path)) == []


Step = Move | Lag | Strange | Fail | Look | Sync | Erase | Rebuild


async def rolled_forward(here: RunningMirror) -> None:
    """Index what a death left behind the last mark: no start has done it yet."""
    await here.sync()


def deadly(target: str, place: str) -> Any:
    """Have a module's failpoint raise at a place, once."""
    passed = False

    def reach(name: str) -> None:
        nonlocal passed
        if name == place and not passed:
            passed = True
            raise Died(place)

    return patch(target, reach)


@cache
def corpus() -> dict[str, Oddity]:
    """All oddities by their ids."""
    return {oddity.id: oddity for oddity in oddities()}


async def agreed(_: Plan) -> bool:
    """To everything."""
    return True


NAME = st.sampled_from(NAMES)
CHANGES = (
    st.builds(Move, NAME, st.sampled_from(sorted(MOVES)), st.integers(0, 3)),
    st.builds(Lag, NAME, st.integers(1, 3)),
    st.builds(Fail, st.integers(0, len(FAULTS) - 1), st.integers(1, 4)),
    st.builds(Strange, st.deferred(lambda: st.sampled_from(sorted(corpus()))), st.booleans()),
)
LOOK = st.builds(Look, st.none() | st.integers(0, len(PLACES) - 1))
SELDOM = st.one_of(
    st.builds(Sync, NAME, st.booleans()), st.builds(Erase, NAME), st.builds(Rebuild, st.booleans())
)
STEPS: st.SearchStrategy[Step] = st.one_of(*CHANGES, CHANGES[0], CHANGES[0], LOOK, LOOK, SELDOM)
STORAGE = st.fixed_dictionaries(
    {
        "commit_count": st.sampled_from([200, 1, 3]),
        "segment_bytes": st.sampled_from([1 << 20, 2_000]),
    }
)


@pytest.mark.timeout(3600)  # finding the shortest history takes minutes
def test_whatever_happened_the_log_gives_the_same_tables(
    mirror: Open, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Table by table, event ids included: with the index before at hand, and without."""

    @settings(max_examples=pytestconfig.getoption("histories"), deadline=None)
    @given(st.lists(STEPS, max_size=14), st.sampled_from(["new", "all", "latest"]), STORAGE)
    def holds(steps: list[Step], tarballs: str, storage: dict[str, Any]) -> None:
        sections = {
            **SECTIONS,
            "policy": {"confirm_removal_hours": 0, "tarballs": tarballs},
            "storage": {**storage, "data_dir": tempfile.mkdtemp(dir=tmp_path)},
        }
        anyio.run(partial(live, mirror, steps, sections), backend_options={"use_uvloop": True})

    holds()


async def live(mirror: Open, steps: list[Step], sections: dict[str, dict[str, Any]]) -> None:
    """A history from its beginning to its end, where the index is rebuilt twice."""
    async with mirror(**sections) as here:
        begin(here.upstream.registry)
        for step in (Look(), *steps, Look(), Rebuild(lost=False), Rebuild(lost=True)):
            await step.happen(here)
    shutil.rmtree(here.config.storage.data_dir)


def begin(registry: ScriptedRegistry) -> None:
    """A package of before; what comes next is news."""
    publish(registry, NAMES[0], Random(0))
    registry.set_time("2100-01-01T00:00:00Z")
