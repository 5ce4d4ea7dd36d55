"""SIGTERM and SIGINT: the first asks for the end, the second does not wait for it."""

import signal

import anyio
import structlog

log = structlog.get_logger(__name__)


async def watch_signals(stop: anyio.Event, scope: anyio.CancelScope) -> None:
    """Set `stop` at the first signal, cancel `scope` at the second."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            if stop.is_set():
                log.warning("cancelled", signal=number.name)
                scope.cancel()
                return
            log.info("draining", signal=number.name)
            stop.set()
