"""What the daemon's process takes, sampled over time in bounded memory."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

MIB = 1 << 20
MOST_POINTS = 4_000


@dataclass(frozen=True, slots=True)
class Sample:
    """Taken at one moment. Sizes are in bytes."""

    rss: int
    descriptors: int
    threads: int
    index_wal: int
    buffer_wal: int
    staging: int


def sample(pid: int, data_dir: Path) -> Sample | None:
    """A sample of a process; None where it ended."""
    try:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        rss, threads = int(status["VmRSS"].split()[0]) * 1024, int(status["Threads"])
    except (OSError, KeyError):
        return None
    return Sample(
        rss,
        descriptors,
        threads,
        _size(data_dir / "index.db-wal"),
        _size(data_dir / "buffer.db-wal"),
        sum(_size(path) for path in _entries(data_dir / "staging")),
    )


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class Series:
    """Samples of a whole soak: the largest of all, and a thinned curve of the memory."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._stride = 1
        self._number = 0
        self.largest: dict[str, int] = {}
        self.memory: list[tuple[float, int]] = []

    def add(self, taken: Sample) -> None:
        """Take one in."""
        for key in fields(Sample):
            value = getattr(taken, key.name)
            self.largest[key.name] = max(self.largest.get(key.name, 0), value)
        if self._number % self._stride == 0:
            self.memory.append((time.monotonic() - self._began, taken.rss))
        self._number += 1
        if len(self.memory) > MOST_POINTS:
            del self.memory[1::2]
            self._stride *= 2

    def forget_memory(self) -> None:
        """Begin the curve anew."""
        self.memory.clear()

    def slope(self) -> float | None:
        """How the memory grew in the later half of the curve, in MiB an hour."""
        half = self.memory[len(self.memory) // 2 :]
        if len(half) < 10:
            return None
        line = statistics.linear_regression(*zip(*half, strict=True))
        return line.slope * 3600 / MIB


def quantiles(seconds: Sequence[float]) -> str:
    """The median, two quantiles and the longest of some times."""
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    last = len(ordered) - 1
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "longest": 1.0}
    told = [f"{name} {ordered[round(share * last)]:.1f}" for name, share in shares.items()]
    return f"{', '.join(told)} (of {len(ordered)})"
