"""Quick attempts: which failures are worth them, and what a host asks for in between."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from npmmirror.upstream import (
    BadAnswer,
    HostFault,
    ServerFault,
    Traffic,
    UpstreamError,
    Waits,
)
from npmmirror.upstream.retry import Retrier, retry_after
from tests.upstream.loopback import MovedClock

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Fri, 20 Nov 2026 10:01:30 GMT", 90.0),
        ("Friday, 20-Nov-26 10:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 10:00:10 -0000", 10.0),
        ("Fri, 20 Nov 2026 09:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("٣", None),
        ("9" * 5000, 3600.0),
        ("Fri, 20 Nov 2096 10:00:00 GMT", 3600.0),
        ("Fri, 20 Nov 99999 10:00:00 GMT", None),
    ],
)
async def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    """Both spellings of the header are read; anything else is as if there were none."""
    assert retry_after(header, NOW) == seconds


def failing(*errors: UpstreamError) -> Callable[[], Awaitable[int]]:
    """An operation that fails thus, and then returns the number of its calls."""
    left, calls = list(errors), 0

    async def operation() -> int:
        nonlocal calls
        calls += 1
        if left:
            raise left.pop(0)
        return calls

    return operation


def retrier(attempts: int = 4, traffic: Traffic | None = None, total: float = 45.0) -> Retrier:
    waits = Waits(initial=0.001, longest=0.002, jitter=0.001, total=total)
    return Retrier(attempts, waits, MovedClock(), traffic or Traffic())


@pytest.mark.parametrize(
    "error",
    [
        HostFault("refused"),
        HostFault("dns"),
        HostFault("http_429"),
        HostFault("http_503", retry_after=5.0),
        ServerFault("http_500"),
        ServerFault("truncated"),
        ServerFault("reset"),
    ],
    ids=str,
)
async def test_what_may_pass_is_tried_again(error: UpstreamError) -> None:
    """Faults of the connection, 5xx and short refusals are repeated."""
    traffic = Traffic()
    assert await retrier(traffic=traffic)(failing(error, error)) == 3
    assert traffic.retries == 2


@pytest.mark.parametrize(
    "error",
    [
        BadAnswer("too_large"),
        BadAnswer("http_403"),
        HostFault("tls"),
        HostFault("throttled", retry_after=3.0),
        HostFault("http_503", retry_after=600.0),
    ],
    ids=str,
)
async def test_what_will_not_pass_is_not(error: UpstreamError) -> None:
    """Bad answers, bad certificates and long refusals go to the caller at once."""
    traffic = Traffic()
    with pytest.raises(UpstreamError) as told:
        await retrier(traffic=traffic)(failing(error))
    assert told.value is error
    assert traffic.retries == 0


async def test_the_attempts_are_counted_from_the_first() -> None:
    """With three attempts an operation is called three times, and its last error is raised."""
    errors = [ServerFault(f"http_50{number}") for number in range(5)]
    with pytest.raises(ServerFault) as told:
        await retrier(attempts=3)(failing(*errors))
    assert told.value is errors[2]


async def test_one_attempt_means_no_repetition() -> None:
    """`attempts=1` is what it says."""
    errors = [ServerFault("http_500"), ServerFault("http_502")]
    with pytest.raises(ServerFault) as told:
        await retrier(attempts=1)(failing(*errors))
    assert told.value is errors[0]


async def test_an_attempt_that_took_long_is_not_repeated() -> None:
    """What cost more than the whole time for attempts is left to the work list."""
    with pytest.raises(ServerFault):
        await retrier(total=0.0)(failing(ServerFault("timeout")))


async def test_another_failure_between_ends_the_attempts() -> None:
    """The first failure that is not worth repeating is what the caller is told."""
    with pytest.raises(BadAnswer):
        await retrier()(failing(ServerFault("http_500"), BadAnswer("http_403")))


async def test_a_bug_is_not_repeated() -> None:
    """An exception that is none of ours passes through."""
    traffic = Traffic()

    async def operation() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await retrier(traffic=traffic)(operation)
    assert traffic.retries == 0
