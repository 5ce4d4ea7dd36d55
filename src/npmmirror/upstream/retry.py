"""A few quick attempts; the long waits are the caller's work list and pause."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import stamina
import structlog
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from npmmirror.clock import Clock
from npmmirror.upstream.errors import BadAnswer, HostFault, UpstreamError
from npmmirror.upstream.limits import Traffic, Waits
from npmmirror.upstream.throttle import LONGEST_RETRY_AFTER

T = TypeVar("T")

log = structlog.get_logger(__name__)


def retry_after(header: str | None, now: datetime) -> float | None:
    """The seconds that a `Retry-After` asks for, as a number or as a date; None if neither.

    An hour at most: no single answer stops the mirror for longer.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - now).total_seconds()), LONGEST_RETRY_AFTER)


def tell_retries() -> None:
    """Have retries in the log of this process as events of ours, in place of stamina's own."""
    set_on_retry_hooks([_tell])


def _tell(details: RetryDetails) -> None:
    error = details.caused_by
    if isinstance(error, UpstreamError):  # nothing else is tried again
        log.info(
            "request_retried",
            reason=error.reason,
            detail=error.detail,
            attempt=details.retry_num,
            seconds=round(details.wait_for, 1),
        )


class Retrier:
    """Repeats an operation that may work a moment later.

    An operation that succeeds at once costs nothing: stamina's machinery starts with the first
    failure, which it is then shown as its own first attempt.
    """

    def __init__(self, attempts: int, waits: Waits, clock: Clock, traffic: Traffic) -> None:
        self._attempts = attempts
        self._waits = waits
        self._clock = clock
        self._traffic = traffic

    async def __call__(self, operation: Callable[[], Awaitable[T]]) -> T:
        """What the operation returns, or the error of its last attempt."""
        started = self._clock.monotonic()
        try:
            return await operation()
        except UpstreamError as error:
            left = self._waits.total - (self._clock.monotonic() - started)
            if left <= 0 or not self._worth_it(error):
                raise
            first = error
        return await self._again(operation, first, left)

    async def _again(
        self, operation: Callable[[], Awaitable[T]], first: UpstreamError, seconds: float
    ) -> T:
        async for attempt in stamina.retry_context(
            on=self._worth_it,
            attempts=self._attempts,
            timeout=seconds,
            wait_initial=self._waits.initial,
            wait_max=self._waits.longest,
            wait_jitter=self._waits.jitter,
        ):
            with attempt:
                if attempt.num == 1:
                    raise first
                self._traffic.retries += 1
                return await operation()
        raise AssertionError("stamina ends with a result or an error")

    def _worth_it(self, error: Exception) -> bool:
        # A wait that the host asked for is not made here: the throttle makes everybody wait.
        if not isinstance(error, UpstreamError) or isinstance(error, BadAnswer):
            return False
        if not isinstance(error, HostFault):
            return True
        if error.reason in {"tls", "throttled"}:
            return False
        return error.retry_after is None or error.retry_after <= self._waits.patience
