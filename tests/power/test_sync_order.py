"""The order of syncs, renames and commits, seen on the system calls of a daemon."""

import re
from collections.abc import Sequence

import orjson
import pytest

from npmmirror.capture import Kind, Record
from tests.power.calls import WRITES, Call, without
from tests.power.disk import Disk, Node, play
from tests.power.records import ends, records
from tests.power.traced import Run, Traced

TAIL = re.compile(rb'\[(\d+), "([^"\x00]+)", "([0-9]+-[0-9a-f]+)"\]')
"""The tail of a page in its receipt: the last row's seq, id and rev."""

pytestmark = [pytest.mark.strace, pytest.mark.timeout(120), pytest.mark.long]


class Order:
    """Watches a run's calls and notes what came too early; `seen` is what there was to watch."""

    def __init__(self, run: Run) -> None:
        data = run.root / "data"
        self.disk = Disk(run.root, run.initial)
        self.faults: list[str] = []
        self.seen: set[str] = set()
        self._packages = str(data / "packages")
        self._captures = str(data / "captures")
        self._index = str(data / "index.db-wal")
        self._buffer = [str(data / name) for name in ("buffer.db-wal", "buffer.db")]
        self._known: set[object] = set()
        self._records = records(run.data_dir)
        self._ends = ends(self._records, run.data_dir)

    def look(self, call: Call) -> None:
        """Before a call has its effect."""
        if call.name == "rename" and call.to.startswith(self._packages):
            self._rename(call)
        elif call.name in WRITES and call.path.startswith(self._captures):
            self._log(call)
        elif call.name in WRITES and call.path == self._index:
            self._commit(call)

    def _rename(self, call: Call) -> None:
        self.seen.add("rename")
        file = self.disk.find(call.path)
        if file is None or file.pending:
            self.faults.append(f"renamed before its bytes were synced: {call.to}")

    def _log(self, call: Call) -> None:
        """Names are durable before a record tells of them, and the index before the next group."""
        if _pending(self.disk.find(self._index)):
            self.faults.append("a group begins before the commit of the last one is durable")
        for record in self._records:
            if record.kind is Kind.TARBALL and self._within(record, call):
                self.seen.add("tarball")
                path = f"{self._packages}/{record.facts['path']}"
                durable = self.disk.durable(path)
                if durable is None or len(durable) != record.facts["size"]:
                    self.faults.append(f"recorded before it was durable: {path}")

    def _within(self, record: Record, call: Call) -> bool:
        start, end = call.offset, call.offset + len(call.data)
        return call.path.endswith(f"/{record.place.segment:06}.log") and (
            start <= record.place.offset < end
        )

    def _commit(self, call: Call) -> None:
        """What a transaction tells of is durable before any of it is written."""
        for record in self._records:
            if record.kind is Kind.MARK and bytes.fromhex(record.hash) in call.data:
                self._mark(record)
        for seq, name, rev in TAIL.findall(call.data):
            self._receipt([int(seq), name.decode(), rev.decode()])

    def _mark(self, mark: Record) -> None:
        if mark.ordinal in self._known:
            return
        self._known.add(mark.ordinal)
        self.seen.add("mark")
        for record in self._records:
            if record.ordinal <= mark.ordinal and not self._is_durable(record):
                self.faults.append(f"committed before its record {record.ordinal} was durable")

    def _is_durable(self, record: Record) -> bool:
        segment = self.disk.durable(f"{self._captures}/{record.place.segment:06}.log")
        return segment is not None and len(segment) >= self._ends[record.ordinal]

    def _receipt(self, tail: list[object]) -> None:
        if tuple(tail) in self._known:
            return
        self._known.add(tuple(tail))
        self.seen.add("receipt")
        # A row of the buffer is the tail's three values, and whether it is a deletion.
        row = orjson.dumps(tail)[:-1] + b","
        held = [self.disk.durable(path) for path in self._buffer]
        if not any(row in data for data in held if data is not None):
            self.faults.append(f"the cursor passed {tail} before it was durable in the buffer")


def _pending(node: Node | None) -> bool:
    return node is not None and bool(node.pending)


def watched(run: Run, calls: Sequence[Call]) -> Order:
    """The calls of a run, or what was left of them, watched."""
    order = Order(run)
    play(calls, order.disk, order.look)
    return order


def test_nothing_is_told_before_it_is_durable(trace: Traced) -> None:
    """Bytes, then names, then records, then the commit; the buffer's rows, then the cursor."""
    run = trace.first()
    order = watched(run, run.calls)
    assert order.seen == {"rename", "tarball", "mark", "receipt"}
    assert order.faults == []


def test_nor_is_anything_a_step_later(trace: Traced) -> None:
    """The same where directories, segments and databases are there already."""
    run = trace.second()
    order = watched(run, run.calls)
    assert order.seen >= {"rename", "tarball", "mark", "receipt"}
    assert order.faults == []


def test_tarballs_are_published_in_either_way(trace: Traced) -> None:
    """Where there are many, the file system is synced as a whole; else each by itself."""
    synced = {call.name for call in trace.first().calls if call.name == "syncfs"}
    assert bool(synced) == trace.together


@pytest.mark.parametrize(
    ("name", "part", "fault"),
    [
        ("fdatasync|syncfs", "/staging", "renamed before its bytes were synced"),
        ("fsync|syncfs", "/packages", "recorded before it was durable"),
        ("fdatasync", "/captures/", "committed before its record"),
        ("fsync", "/captures", "committed before its record"),
        ("fdatasync", "/buffer.db-wal", "before it was durable in the buffer"),
        ("fdatasync", "/index.db-wal", "a group begins before the commit"),
    ],
)
def test_a_sync_that_is_left_out_is_noticed(
    trace: Traced, name: str, part: str, fault: str
) -> None:
    """Without these calls the same run is at fault."""
    run = trace.first()
    left = without(run.calls, name, part)
    assert len(left) < len(run.calls)
    assert any(fault in one for one in watched(run, left).faults)
