"""What a soak compares: nothing is amiss with a mirror that is left alone, and all that is, shows."""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from benchmarks.soaking.judgement import Judge
from benchmarks.soaking.life import Life
from benchmarks.soaking.truth import NEWS_BEGIN, Journal
from benchmarks.soaking.verified import problems
from tests.daemon.conftest import RunningMirror, opener

STEPS = 80
LOOKS = 8


@dataclass(frozen=True)
class Place:
    """A data directory at rest, the journal of its upstream, and that one's last word."""

    data_dir: Path
    journal: Path
    state: dict[str, Any]

    @property
    def packages(self) -> Path:
        return self.data_dir / "packages"

    def tarball(self) -> Path:
        return min(self.packages.rglob("*.tgz"))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A mirror that followed a life, looking now and then."""
    place = Place(tmp_path_factory.mktemp("lived") / "data", tmp_path_factory.mktemp("t") / "t", {})
    anyio.run(live, place, backend_options={"use_uvloop": True})
    return place


async def live(place: Place) -> None:
    async with opener(place.data_dir)(policy={"confirm_removal_hours": 0}) as here:
        registry = here.upstream.registry
        with closing(Journal(place.journal)) as journal:
            life = Life(registry, journal, seed=11, packages=9)
            async with here.running():
                await at_head(here)
                registry.set_time(NEWS_BEGIN)
                life.large(40, 200)
                for _ in range(LOOKS):
                    life.step(STEPS // LOOKS)
                    await at_head(here)
                life.settle()
                await at_head(here)
        place.state.update(registry.state())


async def at_head(here: RunningMirror) -> None:
    """The newest row may be hidden: the feed's head is what the mirror has to come to."""
    await here.until(
        lambda status: (
            status["mirror"]["at_head"]
            and status["feed"]["cursor"] == here.upstream.registry.feed.head
        )
    )


@pytest.fixture
def place(lived: Place, tmp_path: Path) -> Place:
    """A copy, to be spoilt."""
    data_dir = shutil.copytree(lived.data_dir, tmp_path / "data")
    return Place(data_dir, Path(shutil.copy(lived.journal, tmp_path / "truth.db")), lived.state)


@pytest.fixture
def judge(place: Place) -> Iterator[Judge]:
    """What judges it."""
    with closing(Journal(place.journal)) as journal:
        yield Judge(place.data_dir, place.packages, journal, place.state.__getitem__, served)


WITHDRAWN = b"a tarball that upstream withdrew"


def served(name: str, path: str) -> str:
    """What upstream has for any file that the mirror does not know."""
    assert name in path
    return hashlib.sha512(WITHDRAWN).hexdigest()


def test_a_whole_file_that_came_too_late_for_the_log_is_no_deviation(
    place: Place, judge: Judge
) -> None:
    """Its version was withdrawn while the process was dead."""
    orphan = place.tarball().with_name("withdrawn.tgz")
    orphan.write_bytes(WITHDRAWN)
    assert judge.deviations() == []
    assert judge.compared["orphans"] == 1
    orphan.write_bytes(WITHDRAWN[1:])
    assert any("no row for" in one for one in judge.deviations())


def test_a_mirror_that_is_left_alone_does_not_deviate(judge: Judge) -> None:
    """Several revisions of a package between two looks are told as one difference; nor twice."""
    assert judge.deviations() == []
    assert judge.compared["events"] > STEPS / 2
    assert judge.compared["files"] > STEPS / 4
    assert judge.deviations() == []
    assert judge.compared["records"] == 0


def altered(sql: str) -> Callable[[Place], object]:
    def alter(place: Place) -> None:
        with closing(sqlite3.connect(place.data_dir / "index.db")) as index, index:
            assert index.execute(sql).rowcount

    return alter


@pytest.mark.parametrize(
    ("alter", "told"),
    [
        (
            altered("DELETE FROM events WHERE id = (SELECT max(id) FROM events)"),
            "lacks [(",
        ),
        (
            altered("UPDATE events SET kind = 'deprecated' WHERE kind = 'dist_tag_set'"),
            "too much",
        ),
        (
            altered("UPDATE revisions SET sha256 = x'00' WHERE ordinal % 3 = 0"),
            "is no document of upstream's",
        ),
        (altered("UPDATE dist_tags SET version = '9.9.9'"), "tags {"),
        (altered("UPDATE versions SET state = '' WHERE state = 'held'"), ": not held"),
        (altered("UPDATE packages SET name = 'x' || name"), "upstream never had it"),
        (altered("DELETE FROM packages WHERE state = 'live'"), ": not mirrored"),
        (lambda place: place.tarball().unlink(), "no file for "),
        (lambda place: place.tarball().write_bytes(b"other"), "other bytes than recorded"),
        (lambda place: (place.packages / "x").write_bytes(b""), "rows that name one"),
        (lambda place: (place.data_dir / "staging" / "x").write_bytes(b""), "left in staging"),
    ],
)
def test_whatever_is_amiss_is_told(
    place: Place, judge: Judge, alter: Callable[[Place], object], told: str
) -> None:
    """Rows, events, documents and files."""
    alter(place)
    assert any(told in one for one in judge.deviations())


def told(**changed: object) -> str:
    """What `npmmirror verify --json` prints, behind a line of its log."""
    return "something\n" + json.dumps({"findings_left_out": 0, "findings": [], **changed}, indent=2)


ORPHAN = {"what": "orphan", "version": "1.0.0"}
MISSING = {"what": "missing", "version": "1.0.0"}


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (told(findings=[ORPHAN]), []),
        (told(findings=[ORPHAN, MISSING]), [MISSING]),
        (told(findings=[ORPHAN], findings_left_out=3), [3]),
        ("npmmirror: the daemon ended", []),
    ],
)
def test_orphans_that_a_verification_finds_are_left_to_the_judge(
    said: str, found: list[object]
) -> None:
    """One that was typed was a deviation wherever a kill had left a file behind."""
    assert problems(said, as_json=True) == found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["problems     2, 0 repaired, 2 left", "a@1: orphan (x), a", "b@1: orphan, b"], []),
        (["problems     2, 0 repaired, 2 left", "a@1: orphan (x), a", "b@1: missing, b"], [1]),
        (["everything is as it should be"], []),
    ],
)
def test_so_are_those_that_a_person_reads_of(lines: list[str], found: list[int]) -> None:
    """There is a line for each."""
    assert problems("\n".join(lines), as_json=False) == found
