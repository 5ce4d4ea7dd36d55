"""Loss of power keeps what was committed, and leaves nothing torn."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from npmmirror.capture import Kind, Record
from tests.kill import endstate
from tests.kill.daemon_process import MirrorDaemon
from tests.kill.trial import settled
from tests.power.calls import SYNCS, without
from tests.power.disk import Disk, play, until
from tests.power.records import ends, records
from tests.power.traced import Run, Traced

LOOKS = 6
"""For each image that a daemon is started from, so many are only looked at."""
TURNING_POINTS = (*SYNCS, "rename", "unlink", "mkdir", "ftruncate", "openat")
SHARES = (0.0, 0.0, 0.2, 0.5, 0.8, 1.0)
"""How much of what was not synced is kept: nothing in a third of the images."""

pytestmark = [pytest.mark.strace, pytest.mark.timeout(3600), pytest.mark.long]


@dataclass(frozen=True, slots=True)
class Promised:
    """What was durable at the cut."""

    marks: frozenset[str]
    records: tuple[Record, ...]


class Crash:
    """A run that lost power at some line of its trace."""

    def __init__(self, run: Run, cut: int, share: float) -> None:
        self.run = run
        self.cut = cut
        self.share = share
        self.disk = play(until(run.calls, cut), Disk(run.root, run.initial))
        self._data = run.root / "data"

    def __repr__(self) -> str:
        return f"<cut before line {self.cut}, {self.share:.0%} of what was not synced kept>"

    def lay(self, into: Path, dice: random.Random) -> Path:
        """Write the image of what is left; the data directory in it."""
        self.disk.lay(into, dice, self.share)
        return into / "data"

    def promised(self) -> Promised:
        """What the image must hold."""
        held = [self.disk.durable(str(self._data / name)) for name in ("index.db", "index.db-wal")]
        known = records(self.run.data_dir)
        marks = frozenset(
            record.hash
            for record in known
            if record.kind is Kind.MARK
            and any(bytes.fromhex(record.hash) in data for data in held if data)
        )
        return Promised(marks, tuple(self._synced(known)))

    def _synced(self, known: list[Record]) -> Iterator[Record]:
        end = ends(known, self.run.data_dir)
        for record in known:
            path = self._data / "captures" / f"{record.place.segment:06}.log"
            durable = self.disk.durable(str(path))
            if durable is not None and len(durable) >= end[record.ordinal]:
                yield record


def crashes(run: Run, dice: random.Random, number: int) -> Iterator[Crash]:
    """Cuts at any line, every other one beside a call that makes a difference."""
    turning = [call for call in run.calls if call.name in TURNING_POINTS]
    for turn in range(number):
        call = dice.choice(turning if turn % 2 else run.calls)
        yield Crash(run, dice.choice((call.begun, call.ended, call.ended + 1)), dice.choice(SHARES))


def broken_promises(data_dir: Path, promised: Promised, run: Run) -> Iterator[str]:
    """What an image lacks of what was promised, and what is torn in it."""
    logged = {record.hash for record in records(data_dir)}
    for record in promised.records:
        if record.hash not in logged:
            yield f"record {record.ordinal} was synced and is lost"
    files = {str(path.relative_to(data_dir / "packages")): path for path in _tarballs(data_dir)}
    for record in promised.records:
        if record.kind is Kind.TARBALL and record.facts["path"] not in files:
            yield f"{record.facts['path']} was recorded and is lost"
    for name, path in files.items():
        if hashlib.sha512(path.read_bytes()).hexdigest() != run.expected.files[name]:
            yield f"{name} is torn"
    marks = frozenset(_marks(data_dir))
    if lost := promised.marks - marks:
        yield f"{len(lost)} commits were synced and are lost"
    if ahead := marks - logged:
        yield f"the index is {len(ahead)} marks ahead of the log"


def _tarballs(data_dir: Path) -> list[Path]:
    # `.incoming` and the like are not final names.
    found = (data_dir / "packages").glob("[!.]*/*/*")
    return [path for path in found if path.is_file()]


def _marks(data_dir: Path) -> list[str]:
    """The header hashes of the marks in an image's index, which must be sound."""
    if not (data_dir / "index.db").exists():
        return []
    with closing(endstate.connect(data_dir, writable=True)) as index:
        [(sound,)] = index.execute("PRAGMA integrity_check").fetchall()
        assert sound == "ok"
        if not index.execute("SELECT 1 FROM sqlite_schema WHERE name = 'marks'").fetchall():
            return []
        rows = index.execute("SELECT lower(hex(header_sha256)) FROM marks").fetchall()
        return [text for (text,) in rows]


def start_from(crash: Crash, directory: Path, traced: Traced) -> list[str]:
    """What differs from the run that kept its power, after a start from an image."""
    with MirrorDaemon(directory, traced.upstream, traced.settings) as daemon:
        daemon.start()
        daemon.wait_for_head()
        found = settled(traced.upstream, daemon)
        said = daemon.log.read_text("utf-8")
        told = [word for word in ("buffer_lost_changes", "capture_damaged") if word in said]
    return [*told, *endstate.differences(crash.run.expected, found)]


def hold(crash: Crash, directory: Path, dice: random.Random) -> None:
    """An image of a crash holds what was promised."""
    data_dir = crash.lay(directory, dice)
    if data_dir.exists():
        assert list(broken_promises(data_dir, crash.promised(), crash.run)) == []
    else:
        assert crash.promised() == Promised(frozenset(), ())


def test_lost_power_keeps_what_was_committed(
    trace: Traced, tmp_path: Path, cuts: int, cut_seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """At any moment of a first start, and of a step later; then a restart ends as the run did."""
    dice = random.Random(cut_seed)
    with capsys.disabled():
        print(f"\n--cuts {cuts} --cut-seed {cut_seed}")  # noqa: T201 - to play it again
    for which in (trace.first, trace.second):
        run = which()
        for number, crash in enumerate(crashes(run, dice, max(1, cuts // 2) * LOOKS)):
            directory = tmp_path / which.__name__ / str(number)
            directory.mkdir(parents=True)
            try:
                hold(crash, directory, dice)
                if number % LOOKS == 0:
                    assert start_from(crash, directory, trace) == []
            except AssertionError as error:
                error.add_note(f"{which.__name__}: {crash}")
                raise


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("fdatasync|syncfs", "/staging"),
        ("fsync|syncfs", "/packages"),
        ("fdatasync", "/captures/"),
        ("fsync", "/mirror/data"),
    ],
)
def test_without_a_sync_something_is_lost(
    trace: Traced, tmp_path: Path, name: str, part: str
) -> None:
    """The same run with these calls left out breaks its promises at some cut."""
    whole = trace.first()
    run = replace(whole, calls=without(whole.calls, name, part))
    found: list[str] = []
    last = whole.calls[-1].ended
    renamed = [call.ended + 1 for call in whole.calls if call.name == "rename"]
    for number, cut in enumerate([*renamed, *range(last // 40, last, last // 40)]):
        crash = Crash(run, cut, 0.5 * (number % 2))
        data_dir = crash.lay(tmp_path / str(number), random.Random(number))
        if data_dir.exists():
            found += broken_promises(data_dir, crash.promised(), run)
    assert found
