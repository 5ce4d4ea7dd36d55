"""What a soak was, and what came of it: tables for people."""

import platform
from collections.abc import Iterator
from datetime import UTC, datetime

from benchmarks.soaking.course import Soak
from benchmarks.soaking.samples import MIB, quantiles


def report(soak: Soak) -> Iterator[str]:
    """The tables, in Markdown."""
    yield from _hazards(soak)
    yield ""
    yield from _gauges(soak)
    yield ""
    yield from _sums(soak)


def _hazards(soak: Soak) -> Iterator[str]:
    yield "| hazard | times |"
    yield "|---|---|"
    for name, count in soak.storm.counts.items():
        yield f"| {name} | {count} |"
    for name, count in sorted(soak.upstream.do("happened").items()):
        yield f"| upstream: {name} | {count} |"
    for name, count in sorted(soak.outside.counts.items()):
        yield f"| `npmmirror {name}` | {count} |"


def _gauges(soak: Soak) -> Iterator[str]:
    yield "| | at first | largest | at last |"
    yield "|---|---|---|---|"
    if not soak.calms:
        return
    first, last = soak.calms[0].sample, soak.calms[-1].sample
    for name, key, unit in GAUGES:
        values = (getattr(first, key), soak.series.largest.get(key, 0), getattr(last, key))
        yield f"| {name} | {' | '.join(f'{value / unit:,.0f}' for value in values)} |"


GAUGES = (
    ("resident memory, MiB", "rss", MIB),
    ("file descriptors", "descriptors", 1),
    ("threads", "threads", 1),
    ("index.db-wal, KiB", "index_wal", 1024),
    ("buffer.db-wal, KiB", "buffer_wal", 1024),
    ("staging, KiB", "staging", 1024),
)


def _sums(soak: Soak) -> Iterator[str]:
    slope = soak.series.slope()
    yield f"At rest: {', '.join(f'{calm.sample.rss / MIB:.0f}' for calm in soak.calms)} MiB."
    yield f"Slope of the memory, later half of the last process: {_told(slope)}."
    yield f"Seconds from a start until started: {quantiles(soak.daemon.starts)}."
    yield f"Seconds that fetching paused as a whole: {quantiles(soak.daemon.pauses)}."
    yield f"Seconds from the calm to the head: {quantiles([c.recovery for c in soak.calms[1:]])}."
    yield f"Starts refused: {soak.daemon.refused}."
    yield f"Indexes rebuilt and compared: {soak.reindexed}."
    told = ", ".join(f"{event} {count:,}" for event, count in soak.daemon.told.most_common(12))
    yield f"The log's lines: {told}."
    yield f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.release()}"


def _told(slope: float | None) -> str:
    return "too few samples" if slope is None else f"{slope:+.0f} MiB an hour"
