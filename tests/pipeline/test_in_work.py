"""Sudden deaths are counted for what was in work, and for nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.pipeline.in_work import CLEAR_DEATHS, MOST_DEATHS, InWork, Record, Vitals, vitals

ODD_NAMES = ["left-pad", "@scope/name", "x" * 300, "\ud800", "line\nbreak", "", "naïve"]


class Machine:
    """A machine whose kernel kills on command."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.boot = "boot-1"
        self.kills: int | None = 7

    def look(self) -> Vitals:
        """Its vitals."""
        return Vitals(self.boot, self.kills)

    def start(self) -> InWork:
        """The daemon's file as a start finds it."""
        return InWork.open(self.path, self.look)

    def die(self, *packages: str, memory: bool = False) -> None:
        """Start, have these in work, and die: nothing is closed in order."""
        ledger = self.start()
        for package in packages:
            ledger.begin(package)
        os.close(ledger._file)
        if memory and self.kills is not None:
            self.kills += 1


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "in_work")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_death_is_counted_whatever_the_name(machine: Machine, name: str) -> None:
    """Names of any kind and length are told apart."""
    machine.die(name)
    with machine.start() as ledger:
        assert ledger.record(name) == Record(others=1)
        assert ledger.record(f"{name}-") is None


def test_a_death_for_memory_is_told_from_others(machine: Machine) -> None:
    """By the kernel's own count, which rose since the start."""
    machine.die("heavy", memory=True)
    machine.die("heavy")
    with machine.start() as ledger:
        assert ledger.record("heavy") == Record(clear=1, others=1)


def test_a_kill_of_somebody_else_is_not_taken_for_ours(machine: Machine) -> None:
    """What the kernel killed before the last look around was another process."""
    ledger = machine.start()
    ledger.begin("innocent")
    machine.kills = 9
    ledger.look_around()
    os.close(ledger._file)
    with machine.start() as again:
        assert again.record("innocent") == Record(others=1)


def test_three_deaths_of_known_cause_are_enough(machine: Machine) -> None:
    """From the second on it is tried alone."""
    for _ in range(CLEAR_DEATHS - 1):
        machine.die("heavy", memory=True)
    with machine.start() as ledger:
        record = ledger.record("heavy")
        assert record is not None
        assert record.is_suspect
        assert not record.is_guilty
    machine.die("heavy", memory=True)
    with machine.start() as ledger:
        record = ledger.record("heavy")
        assert record is not None
        assert record.is_guilty


def test_it_takes_more_deaths_of_unknown_cause(machine: Machine) -> None:
    """Somebody may kill the daemon a dozen times for reasons of their own."""
    for number in range(MOST_DEATHS):
        machine.die("unlucky")
        with machine.start() as ledger:
            record = ledger.record("unlucky")
            assert record is not None
            assert record.is_guilty == (number + 1 == MOST_DEATHS)


def test_a_kernel_that_tells_nothing_gives_no_known_cause(machine: Machine) -> None:
    """A container may hide /proc/vmstat."""
    machine.kills = None
    machine.die("heavy", memory=True)
    machine.kills = 12
    with machine.start() as ledger:
        assert ledger.record("heavy") == Record(others=1)


def test_what_was_finished_has_no_record(machine: Machine) -> None:
    """The deaths before are forgotten, those after begin at nought."""
    machine.die("heavy", "light", memory=True)
    ledger = machine.start()
    ledger.begin("light")
    ledger.end(["light"])
    ledger.begin("another")
    os.close(ledger._file)
    with machine.start() as again:
        assert again.record("light") is None
        assert again.record("heavy") == Record(clear=1)
        assert again.record("another") == Record(others=1)


def test_an_end_in_good_order_is_no_death(machine: Machine) -> None:
    """Also with work left: it was cancelled. Older deaths are kept."""
    machine.die("heavy", memory=True)
    with machine.start() as ledger:
        ledger.begin("heavy")
        ledger.begin("light")
    with machine.start() as ledger:
        assert ledger.record("heavy") == Record(clear=1)
        assert ledger.record("light") is None


def test_a_power_cut_is_no_death(machine: Machine) -> None:
    """The machine went down, not the process."""
    machine.die("innocent")
    machine.die("innocent")
    machine.boot = "boot-2"
    with machine.start() as ledger:
        assert ledger.record("innocent") == Record(others=1)


def test_a_death_is_counted_once(machine: Machine) -> None:
    """A start that is killed before it begins anything adds nothing."""
    machine.die("heavy")
    for _ in range(5):
        machine.die()
    with machine.start() as ledger:
        assert ledger.record("heavy") == Record(others=1)


def test_who_was_set_aside_has_one_more_try(machine: Machine) -> None:
    """Then one death makes it a dead letter again; finishing clears it."""
    ledger = machine.start()
    ledger.set_aside("heavy")
    os.close(ledger._file)
    with machine.start() as again:
        record = again.record("heavy")
        assert record is not None
        assert (record.is_suspect, record.is_guilty, record.aside) == (True, False, True)
    machine.die("heavy", memory=True)
    with machine.start() as again:
        record = again.record("heavy")
        assert record is not None
        assert record.is_guilty
        again.end(["heavy"])
        assert again.record("heavy") is None


@pytest.mark.parametrize(
    "content", [b"", b"no such file", b"npm work", bytes(70_000), b"\xff" * 70_000]
)
def test_a_file_that_is_none_counts_for_nothing(machine: Machine, content: bytes) -> None:
    """Lost power may leave anything: then nobody is suspected."""
    machine.path.write_bytes(content)
    with machine.start() as ledger:
        assert ledger.record("left-pad") is None
        ledger.begin("left-pad")


def test_a_disk_that_takes_nothing_stops_nothing(tmp_path: Path) -> None:
    """Where the file cannot be made, nothing is counted."""
    machine = Machine(tmp_path / "not there" / "in_work")
    with machine.start() as ledger:
        ledger.begin("left-pad")
        ledger.end(["left-pad"])


CRASHING = """
import faulthandler, sys
from pathlib import Path
from npmmirror.pipeline.in_work import InWork
ledger = InWork.open(Path(sys.argv[1]))
ledger.watch_crashes()
ledger.begin("crasher")
faulthandler._sigsegv()
"""


def test_a_crash_is_a_known_cause(tmp_path: Path) -> None:
    """A real process with a real segmentation fault."""
    path = tmp_path / "in_work"
    ended = subprocess.run([sys.executable, "-c", CRASHING, path], check=False)
    assert ended.returncode < 0
    with InWork.open(path) as ledger:
        assert ledger.record("crasher") == Record(clear=1)
    with InWork.open(path) as ledger:
        assert ledger.record("crasher") == Record(clear=1)


def test_this_machine_has_vitals() -> None:
    """Linux tells which start it is."""
    assert vitals().boot


names = st.sampled_from(["a", "b", "c", "d"])
steps = st.lists(st.tuples(st.sampled_from(["begin", "end", "die", "stop"]), names), max_size=40)


@given(steps)
@settings(max_examples=50, deadline=None)
def test_the_file_tells_what_a_simple_count_tells(
    tmp_path_factory: pytest.TempPathFactory, taken: list[tuple[str, str]]
) -> None:
    """Whatever begins, ends and dies in whatever order."""
    machine = Machine(tmp_path_factory.mktemp("machine") / "in_work")
    ledger = machine.start()
    busy: set[str] = set()
    deaths: dict[str, int] = {}
    for what, name in taken:
        if what == "begin":
            ledger.begin(name)
            busy.add(name)
        elif what == "end":
            ledger.end([name])
            busy.discard(name)
            deaths.pop(name, None)
        else:
            if what == "stop":
                ledger.close()
            else:
                os.close(ledger._file)
                deaths |= {name: deaths.get(name, 0) + 1 for name in busy}
            busy.clear()
            ledger = machine.start()
        told = {name: ledger.record(name) for name in "abcd"}
        assert {name: record.others for name, record in told.items() if record} == deaths
    ledger.close()
