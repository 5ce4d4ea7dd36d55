"""Everything that goes wrong in a soak: how each hazard begins and ends."""

import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.soaking.daemon import Daemon
from benchmarks.soaking.disks import MIB, Disks
from npmmirror.testing.remote import RemoteUpstream

Faults = list[dict[str, Any]]
AWAY_SECONDS = 60.0
"""Answers of "not there" must not look like a removal: that takes several of them, 18 s apart."""

FEW_DESCRIPTORS = "few descriptors"
ENDINGS = frozenset({"SIGKILL", "SIGKILL twice", "SIGTERM", "reindex"})
"""Hazards that end the process."""


@dataclass(frozen=True, slots=True)
class Hazard:
    """Something that goes wrong, for `shortest` to `longest` seconds.

    One of each `group` at a time, of `network` several. `begin` says whether it could begin now.
    `end` is None where nothing has to be put right.
    """

    name: str
    group: str
    begin: Callable[[], bool]
    end: Callable[[], None] | None = None
    shortest: float = 1.0
    longest: float = 15.0
    weight: float = 1.0
    apart: float = 0.0


def _one(scope: str, chance: float, kind: str, **words: Any) -> dict[str, Any]:
    return {"scope": scope, "chance": chance, "fault": {"kind": kind, **words}}


def _date() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=4), usegmt=True)


NETWORK: dict[str, Callable[[], Faults]] = {
    "429 for everything": lambda: [_one("*", 1.0, "status", code=429)],
    "429 with Retry-After": lambda: [_one("*", 0.15, "status", code=429, retry_after="3")],
    "503": lambda: [_one("*", 0.15, "status", code=503)],
    "503 with a date": lambda: [_one("*", 0.15, "status", code=503, retry_after=_date())],
    "5xx": lambda: [
        _one("packument", 0.2, "status", code=500),
        _one("tarball", 0.2, "status", code=504),
        _one("feed", 0.2, "status", code=502),
    ],
    "resets": lambda: [
        _one("packument", 0.15, "reset", after=None),
        _one("tarball", 0.15, "reset", after=100),
        _one("feed", 0.15, "reset", after=50),
    ],
    "truncated": lambda: [
        _one("packument", 0.15, "truncated"),
        _one("tarball", 0.15, "truncated"),
        _one("feed", 0.15, "truncated"),
    ],
    "slow drip": lambda: [
        _one("packument", 0.15, "drip", rate=2_000.0),
        _one("tarball", 0.15, "drip", rate=20_000.0),
    ],
    "wrong bytes": lambda: [
        _one("packument", 0.15, "altered"),
        _one("tarball", 0.15, "altered"),
        _one("tarball", 0.2, "wrong_length"),
        _one("feed", 0.1, "altered"),
    ],
    "HTML for everything": lambda: [_one("*", 1.0, "html_page")],
    "HTML now and then": lambda: [
        _one("packument", 0.15, "html_page"),
        _one("tarball", 0.15, "html_page"),
    ],
    "wrong encodings": lambda: [
        _one("packument", 0.2, "wrong_encoding"),
        _one("packument", 0.2, "wrong_encoding", encoding="br"),
        _one("tarball", 0.2, "wrong_encoding"),
        _one("feed", 0.2, "wrong_encoding", encoding="zstd"),
    ],
    "endless gzip": lambda: [_one("packument", 0.05, "endless_gzip")],
    "zeros": lambda: [
        _one("packument", 0.03, "zeros", number=300 * MIB),
        _one("tarball", 0.05, "zeros", number=40 * MIB),
    ],
    "empty answers": lambda: [_one("*", 0.15, "empty")],
    "stalls": lambda: [_one("*", 0.1, "stall"), _one("tarball", 0.1, "stall", after=10)],
    "redirects elsewhere": lambda: [
        _one("packument", 0.15, "redirect"),
        _one("tarball", 0.15, "redirect"),
    ],
    "404 for tarballs": lambda: [_one("tarball", 0.2, "status", code=404)],
}


def network(upstream: RemoteUpstream) -> Iterator[Hazard]:
    """What upstream answers."""
    for name, faults in NETWORK.items():
        longest = 5.0 if "everything" in name else 15.0
        yield _armed(upstream, name, faults, longest=longest)
    yield _armed(
        upstream,
        "404 for documents",
        lambda: [_one("packument", 0.3, "status", code=404)],
        longest=6.0,
        apart=AWAY_SECONDS,
    )


def _armed(
    upstream: RemoteUpstream, name: str, faults: Callable[[], Faults], **words: float
) -> Hazard:
    def begin() -> bool:
        upstream.do("arm", key=name, faults=faults())
        return True

    return Hazard(name, "network", begin, lambda: upstream.do("disarm", key=name), **words)


def outage(upstream: RemoteUpstream) -> Iterator[Hazard]:
    """Upstream is not there at all."""

    def begin() -> bool:
        upstream.do("down")
        return True

    yield Hazard("upstream down", "upstream", begin, lambda: upstream.do("up"), longest=25.0)


def bursts(upstream: RemoteUpstream, dice: Random) -> Iterator[Hazard]:
    """Much at once."""

    def burst() -> bool:
        upstream.do("step", count=dice.randint(20, 150))
        return True

    def large() -> bool:
        versions, size = dice.choice([(300, 3_000), (1_200, 4_000), (2_500, 4_000)])
        upstream.do("large", versions=versions, manifest_bytes=size)
        return True

    yield Hazard("burst of changes", "burst", burst)
    yield Hazard("large document", "memory", large, weight=2.0)


def deaths(daemon: Daemon, dice: Random) -> Iterator[Hazard]:
    """The process dies, or is stopped, and is started again."""

    def killed() -> bool:
        if not daemon.is_up or daemon.is_stopping:
            return False
        daemon.kill()
        daemon.start_in(dice.choice((0.0, dice.uniform(0.0, 4.0))))
        return True

    def killed_young() -> bool:
        """Two kills, the second one while it recovers from the first."""
        if not killed():
            return False
        daemon.start()
        time.sleep(dice.uniform(0.1, 1.5))
        daemon.kill()
        daemon.start_in(0.0)
        return True

    def stopped() -> bool:
        if not daemon.is_up or daemon.is_stopping:
            return False
        daemon.stop()
        daemon.start_in(0.0)
        return True

    yield Hazard("SIGKILL", "process", killed, weight=2.0)
    yield Hazard("SIGKILL twice", "process", killed_young, weight=0.7)
    yield Hazard("SIGTERM", "process", stopped)


def hardships(daemon: Daemon, dice: Random) -> Iterator[Hazard]:
    """The process lives on, under conditions."""
    limits: list[tuple[int, tuple[int, int]]] = []

    def few_descriptors() -> bool:
        if (pid := daemon.pid) is None or not daemon.is_up:
            return False
        try:
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (_descriptors(pid, dice), hard))
        except (OSError, ProcessLookupError):
            return False
        limits.append((pid, (soft, hard)))
        return True

    def enough_descriptors() -> None:
        pid, limit = limits.pop()
        if pid == daemon.pid:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)

    def frozen() -> bool:
        daemon.send(signal.SIGSTOP)
        return daemon.pid is not None

    yield Hazard(FEW_DESCRIPTORS, "process", few_descriptors, enough_descriptors)
    yield Hazard(
        "frozen", "process", frozen, lambda: daemon.send(signal.SIGCONT), longest=5.0, weight=0.5
    )


def _descriptors(pid: int, dice: Random) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) + dice.randint(0, 4)


def disks(found: Disks) -> Iterator[Hazard]:
    """The mirror's disks."""

    def low() -> bool:
        found.fill(300 * MIB)
        return True

    def full() -> bool:
        found.fill(0)
        return True

    def away() -> bool:
        found.take_away()
        return True

    yield Hazard("disk nearly full", "disk", low, found.empty, longest=20.0)
    yield Hazard("disk full", "disk", full, found.empty, longest=20.0, weight=2.0)
    yield Hazard("packages read-only", "disk", found.make_read_only, found.make_writable)
    yield Hazard("packages away", "disk", away, found.bring_back, longest=10.0)
