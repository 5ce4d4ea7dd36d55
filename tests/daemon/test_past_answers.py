"""An answer of any day of the past, once given, never changes: whatever happens, deaths included.

`pytest tests/daemon/test_past_answers.py --histories 500` tries that many histories.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.clock import timestamp
from npmmirror.index import IndexReader
from npmmirror.index.past import bound, package_at
from npmmirror.past import AtOrdinal, AtTime, Bound, When
from npmmirror.sqlite import Transaction
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.test_rebuilt_histories import (
    NAMES,
    PLACES,
    SECTIONS,
    STEPS,
    STORAGE,
    Look,
    Move,
    Rebuild,
    Step,
    begin,
)

pytestmark = pytest.mark.long

MICROSECOND = timedelta(microseconds=1)

Key = tuple[When, str]
Told = tuple[Bound, int | None, int | None]
"""The moment; the document's ordinal; the removal's. None for what is not there."""


@dataclass
class Witness:
    """Asks about every moment it can think of, and remembers what it was told."""

    here: RunningMirror
    told: dict[Key, Told] = field(default_factory=dict)

    async def look(self) -> None:
        """Ask, and hold the answers against those given before; what was erased since is let go."""
        path = self.here.config.storage.index_path
        if not path.exists():
            return
        async with await IndexReader.open(path, connections=1) as reader:
            answers, erased = await reader.ask(self._ask)
        for key, answer in self.told.items():
            assert key in erased or answers.get(key) == answer, key
        self.told = answers

    async def _ask(self, now: Transaction) -> tuple[dict[Key, Told], set[Key]]:
        answers: dict[Key, Told] = {}
        erased: set[Key] = set()
        for when in await self._moments(now):
            moment = await bound(now, when)
            if not isinstance(moment, Bound):
                continue
            for name in NAMES:
                found = await package_at(now, name, moment.ordinal)
                if found is not None and found.erased:
                    erased.add((when, name))
                else:
                    ordinal = found.revision.ordinal if found is not None else None
                    answers[when, name] = moment, ordinal, found.removed if found else None
        return answers, erased

    async def _moments(self, now: Transaction) -> set[When]:
        rows = await now.rows("SELECT ordinal, committed_at FROM marks")
        moments: set[When] = {AtTime(timestamp(datetime.now(UTC)))}
        moments |= {when for when, _ in self.told}
        for ordinal, at in rows:
            time = datetime.fromisoformat(at)
            moments |= {AtOrdinal(ordinal), AtOrdinal(ordinal - 1), AtOrdinal(ordinal + 1)}
            moments |= {AtTime(timestamp(time + each * MICROSECOND)) for each in (-1, 0, 1)}
        return moments


@pytest.mark.anyio
@pytest.mark.parametrize("place", range(len(PLACES)), ids=[place for _, place in PLACES])
async def test_a_death_changes_no_answer(mirror: Open, place: int) -> None:
    """A mark may be in the log and not in the index yet: its time, and later ones, are not past."""
    async with mirror(**SECTIONS) as here:
        begin(here.upstream.registry)
        witness = Witness(here)
        for step in (Look(), Move(NAMES[0], "publish", 1), Look(place), Look()):
            await step.happen(here)
            await witness.look()


@pytest.mark.timeout(3600)  # finding the shortest history takes minutes
def test_what_was_told_of_a_moment_stays_so(
    mirror: Open, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Whatever is captured later, wherever the mirror dies, and whenever its index is made anew."""

    @settings(max_examples=pytestconfig.getoption("histories"), deadline=None)
    @given(st.lists(STEPS, max_size=14), STORAGE)
    def holds(steps: list[Step], storage: dict[str, Any]) -> None:
        sections = {
            **SECTIONS,
            "policy": {"confirm_removal_hours": 0, "confirm_removal_answers": 1},
            "storage": {**storage, "data_dir": tempfile.mkdtemp(dir=tmp_path)},
        }
        anyio.run(partial(live, mirror, steps, sections), backend_options={"use_uvloop": True})

    holds()


async def live(mirror: Open, steps: list[Step], sections: dict[str, dict[str, Any]]) -> None:
    """A history from its beginning to its end, with somebody who asks after each step."""
    async with mirror(**sections) as here:
        begin(here.upstream.registry)
        witness = Witness(here)
        for step in (Look(), *steps, Look(), Rebuild(lost=False), Rebuild(lost=True)):
            await step.happen(here)
            await witness.look()
        assert witness.told
    shutil.rmtree(here.config.storage.data_dir)
