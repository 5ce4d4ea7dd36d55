"""The line that the log gets each minute."""

from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest
import structlog

from npmmirror.testing.faults import Status
from tests.daemon.conftest import FastClock, Open

pytestmark = pytest.mark.anyio

Lines = Sequence[MutableMapping[str, Any]]


async def test_a_line_a_minute_tells_rate_lags_queues_and_errors(mirror: Open) -> None:
    """Counts are those of the minute, lags and queues those of now."""
    with structlog.testing.capture_logs() as lines:
        async with mirror() as one:
            for number in range(5):
                one.upstream.registry.publish(f"p{number}", "1.0.0")
            one.upstream.fault("tarball", Status(404), name="p3", times=None)
            async with one.running(clock=FastClock(300)):
                await one.until(lambda _: _has_told_of(5, lines))
    told = _progress(lines)
    assert told[0]["seconds"] >= 60
    assert max(line["changes_per_second"] for line in told) > 0
    assert sum(line["tarballs"] for line in told) == 4
    assert sum(line["requests"] for line in told) >= 10
    assert sum(line["bytes"] for line in told) > 0
    assert any(line["errors"].get("host_refused") for line in told)
    last = told[-1]
    assert (last["follow_lag"], last["mirror_lag"], last["buffered"]) == (0, 0, 0)
    assert (last["work_list"], last["oldest_seconds"]) == (1, None)


def _has_told_of(changes: int, lines: Lines) -> bool:
    """Whether the lines add up to so many changes, and the last one came after that."""
    told = [line["changes"] for line in _progress(lines)]
    return bool(sum(told) == changes and told[-1] == 0)


def _progress(lines: Lines) -> Lines:
    return [line for line in lines if line["event"] == "progress"]
