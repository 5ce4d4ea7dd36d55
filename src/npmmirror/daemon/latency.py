"""How long versions took from their publication until they were held, for `npmmirror status`."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from npmmirror.index import IndexReader, latency

WINDOWS: Final = {"day": timedelta(days=1), "week": timedelta(days=7)}
SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


async def latency_report(reader: IndexReader, now: datetime) -> dict[str, Any]:
    """Quantiles of each leg, in seconds, of the versions that became durable lately.

    A window begins with the hour in which it would by the minute.
    """
    report = {}
    for window, length in WINDOWS.items():
        found = await reader.ask(partial(latency.counts_since, since=now - length))
        report[window] = {leg: _quantiles(counts) for leg, counts in found.items()}
    return report


def _quantiles(counts: list[tuple[int, int]]) -> dict[str, float | int | None]:
    told: dict[str, float | int | None] = {"count": sum(number for _, number in counts)}
    for name, share in SHARES.items():
        seconds = latency.quantile(counts, share)
        told[name] = None if seconds is None else round(seconds, 3)
    return told
