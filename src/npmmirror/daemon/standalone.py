"""What commands do themselves where no daemon runs: the same pipeline, without a feed.

Each takes an event `stop`: once it is set no new work begins, and what is in work comes to its end
as when a daemon drains.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import anyio

from npmmirror.clock import Clock, SystemClock, timestamp
from npmmirror.config import Config
from npmmirror.daemon.closing import closure_of, reports_of
from npmmirror.daemon.mirror import Manner, Mirror, Source
from npmmirror.daemon.open_mirror import open_mirror
from npmmirror.daemon.pruning import prune as prune_mirror
from npmmirror.daemon.verification.run import Asked, verify as verify_mirror
from npmmirror.daemon.verification.tally import Report, Tell
from npmmirror.pipeline.closure import Asked as ClosureAsked, Closure, Progress as ClosureProgress
from npmmirror.pipeline.sync import SyncReport
from npmmirror.policy import Want

Progress = Callable[[SyncReport], None]
POLL_SECONDS = 0.2
KEYS_SECONDS = 10.0
"""How much longer than what was asked for the registry's keys may take."""


async def sync(
    config: Config,
    source: Source,
    asked: Mapping[str, Want],
    *,
    force: bool,
    progress: Progress,
    stop: anyio.Event | None = None,
    clock: Clock | None = None,
) -> list[SyncReport]:
    """Mirror packages; a report for each, in the order asked for. Stopped, the list is shorter.

    Faults of the host are not waited out: what could not be had stays on the work list.

    Raises:
        NpmmirrorError: the data directory cannot be used, or is in use.
    """
    reports: dict[str, SyncReport] = {}

    def note(report: SyncReport) -> None:
        reports[report.package] = report
        progress(report)

    async def work(mirror: Mirror) -> None:
        async with looking_at_keys(mirror), anyio.create_task_group() as tasks:
            tasks.start_soon(partial(mirror.feed.serve_work_list, frozenset(asked)))
            await mirror.syncer.sync_all(asked, force=force, progress=note)
            tasks.cancel_scope.cancel()

    await _open_and(config, source, work, clock or SystemClock(), stop)
    return [reports[package] for package in asked if package in reports]


@asynccontextmanager
async def looking_at_keys(mirror: Mirror) -> AsyncIterator[None]:
    """Look at the registry's keys beside what is done; whatever was captured is judged by them."""
    looked = anyio.Event()

    async def look() -> None:
        await mirror.keys.look()
        looked.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        yield
        with anyio.move_on_after(KEYS_SECONDS):
            await looked.wait()
        tasks.cancel_scope.cancel()
    await mirror.keys.judge_again()


async def close_over(
    config: Config,
    source: Source,
    asked: ClosureAsked,
    *,
    progress: Callable[[ClosureProgress], None],
    stop: anyio.Event | None = None,
    clock: Clock | None = None,
) -> list[Report]:
    """Mirror what was asked for with what it needs; the reports of `closing.reports_of`.

    Raises:
        NpmmirrorError: the data directory cannot be used, or is in use.
    """
    made: list[Closure] = []
    reports: list[Report] = []

    async def work(mirror: Mirror) -> None:
        made.append(closure_of(mirror, asked, progress))
        async with looking_at_keys(mirror), anyio.create_task_group() as tasks:
            tasks.start_soon(partial(mirror.feed.serve_work_list, made[0].names))
            await made[0].run()
            tasks.cancel_scope.cancel()

    async def tell(_: Mirror) -> None:
        for closure in made:
            reports.extend([report async for report in reports_of(closure)])

    await _open_and(config, source, work, clock or SystemClock(), stop, at_end=tell)
    return reports


async def retry(
    config: Config,
    source: Source,
    packages: frozenset[str] | None,
    *,
    tell: Tell = lambda _: None,
    stop: anyio.Event | None = None,
    clock: Clock | None = None,
) -> tuple[int, int]:
    """Work off the work list (of these packages), dead letters included.

    `tell` is told of the progress, in the shape that `npmmirror.cli.progress.Meter` shows.

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
            while await _busy(mirror, packages):
                left = await mirror.opened.reader.work_left(packages)
                tell(_of_rows(counts[0], left, mirror.upstream.traffic.bytes_received))
                await anyio.sleep(POLL_SECONDS)
            tasks.cancel_scope.cancel()

    async def count(mirror: Mirror) -> None:
        counts[1] = await mirror.opened.reader.work_left(packages)

    await _open_and(config, source, work, clock, stop, at_end=count)
    return counts[0], counts[1]


def _of_rows(woken: int, left: int, received: int) -> Report:
    return {
        "phase": "retry",
        "done": max(woken - left, 0),
        "total": woken,
        "bytes": received,
        "total_bytes": None,
    }


async def verify(
    config: Config,
    source: Source,
    asked: Asked,
    *,
    tell: Tell,
    stop: anyio.Event | None = None,
    clock: Clock | None = None,
) -> Report | None:
    """Verify, and repair where that is asked for; the report, None where it was stopped.

    Raises:
        NpmmirrorError: the data directory cannot be used, or is in use.
    """
    reports: list[Report] = []

    async def work(mirror: Mirror) -> None:
        reports.append(await verify_mirror(mirror, asked, tell, serves=True))

    await _open_and(config, source, work, clock or SystemClock(), stop)
    return reports[0] if reports else None


async def prune(
    config: Config,
    source: Source,
    digest: str,
    *,
    tell: Tell,
    stop: anyio.Event | None = None,
    clock: Clock | None = None,
) -> Report | None:
    """Delete the tarballs that the policy wants no longer; the report, None where it was stopped.

    Nothing is asked of upstream.

    Raises:
        NpmmirrorError: the data directory cannot be used, or is in use.
    """
    reports: list[Report] = []

    async def work(mirror: Mirror) -> None:
        reports.append(await prune_mirror(mirror, digest, tell))

    await _open_and(config, source, work, clock or SystemClock(), stop)
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
    config: Config,
    source: Source,
    work: Callable[[Mirror], Awaitable[None]],
    clock: Clock,
    stop: anyio.Event | None,
    *,
    at_end: Callable[[Mirror], Awaitable[None]] | None = None,
) -> None:
    """Open the mirror, do the work, drain, close; `at_end` is called once all is committed."""
    end = stop or anyio.Event()
    manner = Manner(patient=False)
    async with open_mirror(config, source, clock=clock, manner=manner) as mirror:

        async def producer() -> None:
            await work(mirror)
            end.set()

        await mirror.run(end, producer)
        if at_end is not None:
            await at_end(mirror)
