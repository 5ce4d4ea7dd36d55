"""How far the demo's daemon is, made of what it says of itself."""

from collections import deque
from dataclasses import dataclass
from typing import Any

Report = dict[str, Any]

WINDOW_SECONDS = 2.0
"""What a rate is the mean of."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a look at the daemon told. Rates are per second; `total` is None where none is meant."""

    packages: int
    total: int | None
    packages_rate: float
    tarballs: int
    tarball_bytes: int
    bytes_rate: float
    follow_lag: int | None
    mirror_lag: int | None
    buffered: int | None
    in_work: int
    requests: int
    paused: str | None
    newest: str | None


class Gauge:
    """Makes readings of one daemon's reports, with rates over the last seconds."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._past: deque[tuple[float, int, int]] = deque()

    def read(self, report: Report, now: float) -> Reading:
        """What `status --json` said, at a moment of a clock in seconds."""
        totals, fetch = report["totals"], report["fetch"]
        packages = sum(totals["packages"].values())
        self._past.append((now, packages, fetch["bytes_received"]))
        while now - self._past[0][0] > WINDOW_SECONDS:
            self._past.popleft()
        packages_rate, bytes_rate = self._rates()
        return Reading(
            packages=packages,
            total=self._total,
            packages_rate=packages_rate,
            tarballs=totals["tarballs"],
            tarball_bytes=totals["tarball_bytes"],
            bytes_rate=bytes_rate,
            follow_lag=report["feed"]["follow_lag"],
            mirror_lag=report["mirror"]["lag"],
            buffered=report["buffer"]["depth"],
            in_work=fetch["in_work"],
            requests=fetch["requests"],
            paused=fetch["paused"],
            newest=_newest(report["last_change"]),
        )

    def _rates(self) -> tuple[float, float]:
        (first, packages, size), (last, packages_now, size_now) = self._past[0], self._past[-1]
        if last <= first:
            return 0.0, 0.0
        return (packages_now - packages) / (last - first), (size_now - size) / (last - first)


def _newest(change: Report | None) -> str | None:
    if change is None:
        return None
    version = change["latest_version"]
    return f"{change['package']}@{version}" if version else str(change["package"])
