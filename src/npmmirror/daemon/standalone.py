"""What commands do themselves where no daemon runs: the same pipeline, without a feed."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio

from npmmirror.clock import Clock, SystemClock, timestamp
from npmmirror.config import Config
from npmmirror.daemon.mirror import Manner, Mirror, Source, open_mirror
from npmmirror.daemon.signals import watch_signals
from npmmirror.daemon.verification.run import Asked, verify as verify_mirror
from npmmirror.daemon.verification.tally import Report, Tell
from npmmirror.pipeline.sync import SyncReport
from npmmirror.policy import Want

Progress = Callable[[SyncReport], None]
POLL_SECONDS = 0.2


async def sync(
    config: Config,
    source: Source,
    asked: Mapping[str, Want],
    *,
    force: bool,
    progress: Progress,
    clock: Clock | None = None,
) -> list[SyncReport]:
    """Mirror packages; a report for each, in the order asked for.

    Faults of the host are not waited out: what could not be had stays on the work list. Ctrl-C
    ends it in good order; then the list is shorter.

    Raises:
        NpmmirrorError: the data directory cannot be used, or is in use.
    """
    reports: dict[str, SyncReport] = {}

    def note(report: SyncReport) -> None:
        reports[report.package] = report
        progress(report)

    async def work(mirror: Mirror) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(mirror.feed.serve_work_list, frozenset(asked)))
            await mirror.syncer.sync_all(asked, force=force, progress=note)
            tasks.cancel_scope.cancel()

    await _open_and(config, source, work, clock or SystemClock())
    return [reports[package] for package in asked if package in reports]


async def retry(
    config: Config, source: Source, packages: frozenset[str] | None, *, clock: Clock | None = None
) -> tuple[int, int]:
    """Work off the work list (of these packages), dead letters included.

    Returns:
        How many rows were tried, and how many of all rows (of these packages) are left.
    """
    clock = clock or SystemClock()
    counts = [0, 0]

    async def work(mirror: Mirror) -> None:
        now = timestamp(clock.now())
        names = sorted(packages) if packages is not None else None
        counts[0] = await mirror.opened.index.retry(now, names, dead_only=False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(mirror.feed.serve_work_list, packages))
            while await _busy(mirror, packages):  # noqa: ASYNC110 - what is waited for is in the index
                await anyio.sleep(POLL_SECONDS)
            tasks.cancel_scope.cancel()
        counts[1] = await mirror.opened.reader.work_left(packages)

    await _open_and(config, source, work, clock)
    return counts[0], counts[1]


async def verify(
    config: Config, source: Source, asked: Asked, *, tell: Tell, clock: Clock | None = None
) -> Report | None:
    """Verify, and repair where that is asked for; the report, None where Ctrl-C ended it.

    Raises:
        NpmmirrorError: the data directory cannot be used, or is in use.
    """
    reports: list[Report] = []

    async def work(mirror: Mirror) -> None:
        reports.append(await verify_mirror(mirror, asked, tell, serves=True))

    await _open_and(config, source, work, clock or SystemClock())
    return reports[0] if reports else None


async def _busy(mirror: Mirror, packages: frozenset[str] | None) -> bool:
    """Whether rows are due or in work, and upstream answers."""
    if mirror.host.paused:
        return False
    if mirror.gate.running:
        return True
    now = timestamp(mirror.clock.now())
    due = await mirror.opened.reader.due(now, packages=1, rows_each=1, busy=(), only=packages)
    return bool(due)


async def _open_and(
    config: Config, source: Source, work: Callable[[Mirror], Awaitable[None]], clock: Clock
) -> None:
    """Open the mirror, do the work, drain, close."""
    stop = anyio.Event()
    manner = Manner(patient=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals, stop, tasks.cancel_scope)
        async with open_mirror(config, source, clock=clock, manner=manner) as mirror:

            async def producer() -> None:
                await work(mirror)
                stop.set()

            await mirror.run(stop, producer)
        tasks.cancel_scope.cancel()
