"""A closure in a mirror that is open: made of its parts, and told as reports for who asked."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import anyio
import msgspec
import structlog
from anyio.streams.memory import MemoryObjectSendStream

from npmmirror.daemon.mirror import Mirror
from npmmirror.errors import NpmmirrorError
from npmmirror.pipeline.closure import Asked, Closure, Progress

log = structlog.get_logger(__name__)

Report = dict[str, Any]
_ROWS_EACH = 500
"""Lines of an end in one report, so that none grows beyond what a reader takes."""


def closure_of(mirror: Mirror, asked: Asked, progress: Callable[[Progress], None]) -> Closure:
    """What mirrors it; nothing is begun."""
    return Closure(
        asked,
        syncer=mirror.syncer,
        documents=mirror.documents,
        index=mirror.opened.reader,
        store=mirror.opened.store,
        clock=mirror.clock,
        progress=progress,
    )


async def reports_of(closure: Closure) -> AsyncIterator[Report]:
    """What became of it: a report for each package, then what is missing, then the end."""
    for package in await closure.packages():
        yield {"package": msgspec.to_builtins(package)}
    ended = msgspec.to_builtins(closure.ended())
    for kind in ("missing", "left_out"):
        rows = ended.pop(kind)
        for start in range(0, len(rows), _ROWS_EACH):
            yield {kind: rows[start : start + _ROWS_EACH]}
    yield {"end": ended}


async def send_closure(mirror: Mirror, asked: Asked, send: MemoryObjectSendStream[Report]) -> None:
    """Do it for somebody who may have gone away since; progress is dropped where nobody reads it.

    A disk that fails meanwhile ends it, or a bug, told in a report `error`: the daemon goes on.
    """

    def progress(report: Progress) -> None:
        try:
            send.send_nowait({"progress": msgspec.to_builtins(report)})
        except (anyio.WouldBlock, anyio.BrokenResourceError):
            return

    async with send:
        with suppress(anyio.BrokenResourceError):
            await _send_all(closure_of(mirror, asked, progress), send)


async def _send_all(closure: Closure, send: MemoryObjectSendStream[Report]) -> None:
    told = ""
    try:
        await closure.run()
        async for report in reports_of(closure):
            await send.send(report)
    except* anyio.BrokenResourceError:
        pass  # went away
    except* NpmmirrorError as faults:
        told = str(_first(faults))
    except* Exception:
        # Documents and lock files are as others made them: no bug over one ends the daemon.
        log.exception("bug", command="sync --with-dependencies")
        told = "a bug stopped it; the daemon's log has it"
    if told:
        await send.send({"error": told})


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
