"""Backfill and reconciliation for those who ask a running daemon, and watch."""

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from npmmirror.backfill import Wish, wish_of
from npmmirror.daemon.cold_start import ColdStart
from npmmirror.errors import NpmmirrorError
from npmmirror.pipeline.reconcile import Asked

WAITING: Final = 100
"""Reports that may wait for a slow watcher. The last place is the end's."""
STOPPED: Final = "the daemon stopped"

Report = dict[str, Any]
Tell = Callable[[Report], None]

log = structlog.get_logger(__name__)


async def backfill(
    cold_start: ColdStart, tasks: TaskGroup, asked: Report, names: AsyncIterable[bytes]
) -> MemoryObjectReceiveStream[Report]:
    """Begin a backfill, or go on with the very same; without a wish, watch what is under way.

    Where nothing is, and `begins` is asked for, everything that the feed lists is brought. The last report has `end`, or `error` with a sentence. The work is the daemon's.
    """
    try:
        wish = wish_of(asked["wish"]) if asked["wish"] is not None else None
        if wish is None and asked["begins"] and cold_start.backfiller.state is None:
            wish = Wish()
        if wish is not None:
            await cold_start.begin(wish, names if wish.source == "file" else None)
    except NpmmirrorError as error:
        return _refusal(error)
    return _watched(tasks, cold_start.watch)


async def steer(cold_start: ColdStart, word: str) -> Report:
    """Pause, resume or cancel a backfill; `there` tells whether there was one."""
    backfiller = cold_start.backfiller
    there = (
        await backfiller.cancel()
        if word == "cancel"
        else await backfiller.pause(paused=word == "pause")
    )
    return {"there": there, "backfill": await backfiller.report()}


def reconcile(
    cold_start: ColdStart, tasks: TaskGroup, asked: Report
) -> MemoryObjectReceiveStream[Report]:
    """Reconcile now. The last report has `end`, or `error` with a sentence."""
    if cold_start.reconciling:
        return _refusal(
            NpmmirrorError("a reconciliation is under way; `npmmirror status` tells how far")
        )

    async def work(tell: Tell) -> Report:
        return await cold_start.reconcile_beside(Asked(**asked), tell)

    return _watched(tasks, work)


def _refusal(error: NpmmirrorError) -> MemoryObjectReceiveStream[Report]:
    send, receive = anyio.create_memory_object_stream[Report](1)
    send.send_nowait({"error": str(error), "status": error.exit_status})
    send.close()
    return receive


def _watched(
    tasks: TaskGroup, work: Callable[[Tell], Awaitable[Report]]
) -> MemoryObjectReceiveStream[Report]:
    """Have work done by the daemon, and its reports told to whoever asked, as long as he listens."""
    send, receive = anyio.create_memory_object_stream[Report](WAITING)
    tasks.start_soon(_work, work, send)
    return receive


async def _work(
    work: Callable[[Tell], Awaitable[Report]], send: MemoryObjectSendStream[Report]
) -> None:
    def tell(report: Report) -> None:
        if send.statistics().current_buffer_used < WAITING - 1:
            _send(send, report)

    end: Report = {"error": STOPPED, "status": 1}
    with send:
        try:
            end = {"end": True, **await work(tell)}
        except NpmmirrorError as error:
            end = {"error": str(error), "status": error.exit_status}
        except Exception:
            # A command must not end the daemon; it is told whole in the log.
            log.exception("bug", command="backfill or reconcile")
            end = {"error": "a bug stopped it; the daemon's log has it", "status": 1}
        finally:
            _send(send, end)


def _send(send: MemoryObjectSendStream[Report], report: Report) -> None:
    try:
        send.send_nowait(report)
    except (anyio.BrokenResourceError, anyio.WouldBlock):
        return  # went away
