"""Backfill and reconciliation where no daemon runs: the same parts, in the command's own process."""

from collections.abc import AsyncIterable, Callable
from typing import Any, Final

import anyio

from npmmirror.backfill import Wish
from npmmirror.clock import Clock, SystemClock, timestamp
from npmmirror.config import Config
from npmmirror.daemon.cold_start import ColdStart, FeedAwayError
from npmmirror.daemon.lock import DirectoryLock
from npmmirror.daemon.mirror import Manner, Mirror, Source
from npmmirror.daemon.open_mirror import open_mirror
from npmmirror.errors import NpmmirrorError
from npmmirror.index import IndexWriter
from npmmirror.pipeline.backfill import steer_note
from npmmirror.pipeline.reconcile import Asked
from npmmirror.upstream import UpstreamError

LINGER_SECONDS: Final = 60.0
"""Retries that fall due so soon are waited for at the end; those later are left for the next run."""
POLL_SECONDS: Final = 0.2

Report = dict[str, Any]
Tell = Callable[[Report], None]


async def backfill(
    config: Config,
    source: Source,
    wish: Wish | None,
    names: AsyncIterable[bytes] | None = None,
    *,
    tell: Tell,
    stop: anyio.Event | None = None,
    clock: Clock | None = None,
    own_process: bool = False,
) -> Report:
    """Bring what is wished for (None: what is under way, else all that the feed lists), and fetch it.

    Faults of the host are waited out. Stopped, the state is kept: the next one goes on, or a daemon.

    Returns:
        The last report, with `left`: how many rows the work list has in the end.

    Raises:
        NpmmirrorError: it cannot be begun.
    """
    end, clock = stop or anyio.Event(), clock or SystemClock()
    manner = Manner(patient=True, own_process=own_process)
    report: Report = {"state": "stopped"}
    async with open_mirror(config, source, clock=clock, manner=manner) as mirror:
        cold_start = ColdStart(mirror, source)
        await cold_start.load()
        if cold_start.backfiller.state is None or wish is not None:
            await _begin(cold_start, source, wish or Wish(), names)

        async def work() -> None:
            nonlocal report
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(mirror.feed.serve_work_list)
                tasks.start_soon(cold_start.backfiller.run)
                report = await cold_start.watch(tell)
                if report["state"] == "done":
                    await _until_idle(mirror)
                tasks.cancel_scope.cancel()
            end.set()

        await mirror.run(end, work)
        if (now := await cold_start.backfiller.report()) is not None:
            report = now
        return report | {"left": await mirror.opened.reader.work_left()}


async def _begin(
    cold_start: ColdStart, source: Source, wish: Wish, names: AsyncIterable[bytes] | None
) -> None:
    try:
        await cold_start.take_cursor()
    except UpstreamError as error:
        raise FeedAwayError(
            f"the feed {source.public.feed} does not answer ({error}); nothing was begun"
        ) from error
    await cold_start.begin(wish, names)


async def _until_idle(mirror: Mirror) -> None:
    """Wait until nothing is in work, due, or due soon."""
    reader, held = mirror.opened.reader, mirror.feed.held
    while True:
        now = timestamp(mirror.clock.now())
        if not mirror.gate.running:
            soon = await reader.seconds_to_due(now)
            due = await reader.due(now, packages=1, rows_each=1, held=held)
            if not due and (soon is None or soon > LINGER_SECONDS):
                return
        await mirror.clock.sleep(POLL_SECONDS)


async def steer(config: Config, word: str) -> Report:
    """Pause, resume or cancel a backfill that nobody works at; `there` tells whether there is one.

    Raises:
        LockedError: another process works with the data directory.
    """
    with DirectoryLock(config.storage.data_dir):
        async with await IndexWriter.open(config.storage.index_path) as index:
            return {"there": await steer_note(index, config.storage.data_dir, word)}


async def reconcile(
    config: Config,
    source: Source,
    asked: Asked,
    *,
    tell: Tell,
    stop: anyio.Event | None = None,
    clock: Clock | None = None,
) -> Report | None:
    """Hold the list of all packages against the index; the report, None where it was stopped.

    What is queued is fetched by the next daemon, or by `npmmirror retry`.

    Raises:
        NpmmirrorError: the feed does not answer, or lists what cannot be all that there is.
    """
    end, clock = stop or anyio.Event(), clock or SystemClock()
    reports: list[Report] = []
    errors: list[NpmmirrorError] = []
    async with open_mirror(config, source, clock=clock, manner=Manner(patient=False)) as mirror:
        cold_start = ColdStart(mirror, source)

        async def work() -> None:
            try:
                reports.append(await cold_start.reconcile(asked, tell))
            except NpmmirrorError as error:
                errors.append(error)
            end.set()

        await mirror.run(end, work)
    if errors:
        raise errors[0]
    return reports[0] if reports else None
