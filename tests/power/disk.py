"""A disk that forgets: what system calls leave on it when the power goes.

Stricter than the journaling file systems that people use. What is written to a file is there for
sure once that file, or the whole file system, was synced; what is done to a directory's names once
that directory was. Before that each single write, and each single name, may be there or not, a
write also in part. A file moved between directories is never in neither of them.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.power.calls import SYNCS, WRITES, Call

SECTOR = 512
LOST = ("-shm",)
"""Files that SQLite maps to memory, of which no trace tells; it makes them anew after a loss."""


@dataclass(slots=True, eq=False)
class Change:
    """What was done to a file or a directory. `after` never is lost where this one is not."""

    number: int
    name: str = ""
    node: "Node | None" = None
    data: bytes = b""
    offset: int = 0
    size: int | None = None
    after: "tuple[Node, Change] | None" = None


@dataclass(slots=True, eq=False)
class Node:
    """A file or a directory: what is durable of it, and what was done to it since."""

    directory: bool
    data: bytearray = field(default_factory=bytearray)
    durable: "dict[str, Node]" = field(default_factory=dict)
    names: "dict[str, Node]" = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def settle(self, change: Change) -> None:
        """Have a change be durable."""
        self.pending.remove(change)
        if change.after is not None and change.after[1] in change.after[0].pending:
            change.after[0].settle(change.after[1])
        if self.directory:
            rename(self.durable, change)
        else:
            write(self.data, change)


def rename(names: "dict[str, Node]", change: Change) -> None:
    """Do to the names of a directory what was done to it."""
    if change.node is None:
        names.pop(change.name, None)
    else:
        names[change.name] = change.node


def write(data: bytearray, change: Change) -> None:
    """Do to a file's bytes what was done to it."""
    if change.size is not None:
        del data[change.size :]
        data.extend(bytes(change.size - len(data)))
        return
    end = change.offset + len(change.data)
    data.extend(bytes(max(0, end - len(data))))
    data[change.offset : end] = change.data


class Disk:
    """The state of a directory `root`, as calls come and go.

    It begins with what lies in `initial`, which counts as durable.
    """

    def __init__(self, root: Path, initial: Path | None = None) -> None:
        self._root = str(root)
        self._numbers = itertools.count()
        self._limits: dict[int, int] = {}
        self.top = _load(initial) if initial is not None else Node(directory=True)

    def begin(self, call: Call) -> None:
        """A call is made. A sync covers what was done before this."""
        if call.name in SYNCS:
            self._limits[id(call)] = next(self._numbers)

    def end(self, call: Call) -> None:
        """A call is over, and has had its effect."""
        if call.name in SYNCS:
            self._sync(call)
        elif call.name in WRITES:
            self._change(call.path, data=call.data, offset=call.offset)
        elif call.name in {"ftruncate", "truncate"}:
            self._change(call.path, size=call.size)
        elif call.name == "openat":
            self._open(call)
        elif call.name == "mkdir":
            self._name(call.path, Node(directory=True))
        elif call.name == "rename":
            self._move(call.path, call.to)
        else:
            self._name(call.path, None)

    def find(self, path: str) -> Node | None:
        """What is at a path now; None where nothing is."""
        node: Node | None = self.top
        for part in self._parts(path):
            node = node.names.get(part) if node is not None else None
        return node

    def durable(self, path: str) -> bytes | None:
        """What of a file's bytes is there for sure; None where the file itself is not."""
        node: Node | None = self.top
        for part in self._parts(path):
            node = node.durable.get(part) if node is not None else None
        return bytes(node.data) if node is not None else None

    def lay(self, into: Path, dice: random.Random, share: float) -> None:
        """Write to an empty directory what the power's loss may leave.

        `share` is how much of what was not synced stays: 0 is none, 1 is all; in between the dice
        choose, and tear writes into sectors.
        """
        _Image(dice, share).lay(self.top, into)

    def _parts(self, path: str) -> Sequence[str]:
        return PurePosixPath(path).relative_to(self._root).parts

    def _sync(self, call: Call) -> None:
        limit = self._limits.pop(id(call))
        alone = call.name in {"fsync", "fdatasync"}
        node = self.find(call.path)
        for one in ([node] if node is not None else []) if alone else list(_all(self.top)):
            for change in [change for change in one.pending if change.number < limit]:
                if change in one.pending:
                    one.settle(change)

    def _change(self, path: str, **what: object) -> None:
        node = self.find(path)
        if node is not None:  # else: what was written to it goes nowhere, its name is gone
            node.pending.append(Change(next(self._numbers), **what))  # type: ignore[arg-type]  # fields of Change

    def _open(self, call: Call) -> None:
        if "O_CREAT" in call.flags and self.find(call.path) is None:
            self._name(call.path, Node(directory=False))
        if "O_TRUNC" in call.flags:
            self._change(call.path, size=0)

    def _name(self, path: str, node: Node | None) -> Change | None:
        parent = self.find(str(PurePosixPath(path).parent))
        if parent is None:
            return None
        change = Change(next(self._numbers), name=PurePosixPath(path).name, node=node)
        parent.pending.append(change)
        rename(parent.names, change)
        return change

    def _move(self, path: str, to: str) -> None:
        node = self.find(path)
        target = self.find(str(PurePosixPath(to).parent))
        arrival = self._name(to, node)
        departure = self._name(path, None)
        if departure is not None and arrival is not None and target is not None:
            departure.after = target, arrival


class _Image:
    """Chooses what of the changes that were not synced is kept."""

    def __init__(self, dice: random.Random, share: float) -> None:
        self._dice = dice
        self._share = share
        self._kept: dict[Change, bool] = {}

    def lay(self, directory: Node, into: Path) -> None:
        into.mkdir(exist_ok=True)
        names = dict(directory.durable)
        for change in directory.pending:
            if self._keeps(change):
                rename(names, change)
        for name, node in names.items():
            if node.directory:
                self.lay(node, into / name)
            elif not name.endswith(LOST):
                (into / name).write_bytes(self._bytes(node))

    def _keeps(self, change: Change) -> bool:
        if change not in self._kept:
            kept = self._dice.random() < self._share
            if kept and change.after is not None and change.after[1] in change.after[0].pending:
                kept = self._keeps(change.after[1])
            self._kept[change] = kept
        return self._kept[change]

    def _bytes(self, file: Node) -> bytes:
        data = bytearray(file.data)
        for change in file.pending:
            for part in self._torn(change):
                write(data, part)
        return bytes(data)

    def _torn(self, change: Change) -> Iterator[Change]:
        """The sectors of a write that are kept, each by itself; a size is kept or not."""
        if change.size is not None or self._share in {0, 1}:
            if self._keeps(change):
                yield change
            return
        for start, end in _sectors(change):
            if self._dice.random() < self._share:
                data = change.data[start - change.offset : end - change.offset]
                yield Change(change.number, data=data, offset=start)


def _sectors(change: Change) -> Iterator[tuple[int, int]]:
    """Where a write's parts begin and end that lie in one sector each."""
    start, end = change.offset, change.offset + len(change.data)
    while start < end:
        following = min(end, (start // SECTOR + 1) * SECTOR)
        yield start, following
        start = following


def _all(node: Node) -> Iterator[Node]:
    """All that can be reached by a name, now or after a loss."""
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [*one.names.values(), *one.durable.values()]
        waiting += [change.node for change in one.pending if change.node is not None]


def _load(path: Path) -> Node:
    if not path.is_dir():
        return Node(directory=False, data=bytearray(path.read_bytes()))
    names = {entry.name: _load(entry) for entry in path.iterdir() if not entry.is_socket()}
    return Node(directory=True, durable=names, names=dict(names))


def play(calls: Sequence[Call], disk: Disk, look: Callable[[Call], None] | None = None) -> Disk:
    """Let calls come and go in the order of the trace; `look` before each one has its effect."""
    moments = sorted(
        [(call.begun, 0, call) for call in calls] + [(call.ended, 1, call) for call in calls],
        key=lambda moment: moment[:2],
    )
    for _, over, call in moments:
        if over:
            disk.end(call)
        else:
            if look is not None:
                look(call)
            disk.begin(call)
    return disk


def until(calls: Sequence[Call], cut: int) -> list[Call]:
    """What had begun before the `cut`-th line; a call that was still under way has no effect yet."""
    return [call for call in calls if call.ended < cut]
