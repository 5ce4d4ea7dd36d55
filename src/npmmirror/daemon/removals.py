"""Deciding about removals that the breaker holds: with a daemon and without."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import anyio
import structlog
from anyio.streams.memory import MemoryObjectSendStream

from npmmirror.clock import Clock, SystemClock
from npmmirror.config import Config
from npmmirror.daemon.mirror import Manner, Mirror, Source
from npmmirror.daemon.open_mirror import open_mirror
from npmmirror.errors import NpmmirrorError
from npmmirror.liveness import at_rest
from npmmirror.pipeline.job import Done, Job
from npmmirror.pipeline.removal import Verdict

TELL_SECONDS: Final = 1.0
PAGE: Final = 500
"""Packages that are decided about together; all of npm may be held."""

Report = dict[str, Any]
Tell = Callable[[Report], None]

log = structlog.get_logger(__name__)


async def decide(
    mirror: Mirror, verdict: Verdict, packages: Sequence[str] | None, tell: Tell
) -> Report:
    """Confirm or discard removals that are held, those of some packages or all of them.

    Each decision is a job of its package, so that it never meets another one, and a record of the
    capture log. `tell` is told of the progress, in the shape that `npmmirror.cli.progress.Meter`
    shows, with `waits` where fetching is paused: why.
    """
    decided, unknown, total = 0, list[str](), (await mirror.opened.reader.removals.standing()).held

    def progress() -> Report:
        told = {"phase": verdict, "done": decided, "total": total}
        return {**told, "bytes": 0, "total_bytes": None}

    fault: NpmmirrorError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tell_waits, mirror, lambda waits: tell({**progress(), "waits": waits}))
        try:
            async for held, others in _pages(mirror, packages):
                unknown += others
                decided += await _decide(mirror, verdict, held)
                tell(progress())
        except NpmmirrorError as error:
            fault = error  # not in a group of exceptions
        tasks.cancel_scope.cancel()
    if fault is not None:
        raise fault
    left = await mirror.breaker.decided()
    log.info("removals_decided", decision=verdict, packages=decided, left=left)
    return {"decision": verdict, "packages": decided, "unknown": unknown, "left": left}


async def _tell_waits(mirror: Mirror, tell: Callable[[str], None]) -> None:
    """Tell what all work waits for, and so this too, as long as it does; for ever."""
    while True:
        if (reason := mirror.host.reason or mirror.disk.reason) is not None:
            tell(reason)
        with at_rest():
            await mirror.clock.sleep(TELL_SECONDS)


async def _pages(
    mirror: Mirror, packages: Sequence[str] | None
) -> AsyncIterator[tuple[list[str], list[str]]]:
    """Packages whose removal is held, and asked-for ones where none is."""
    removals = mirror.opened.reader.removals
    if packages is not None:
        for start in range(0, len(packages), PAGE):
            names = list(dict.fromkeys(packages[start : start + PAGE]))
            held = [name for name in names if await removals.of(name) is not None]
            yield held, [name for name in names if name not in set(held)]
        return
    place = 0
    while rows := await removals.held(place, PAGE):
        place = rows[-1][0]
        yield [held.name for _, held, _ in rows], []


async def _decide(mirror: Mirror, verdict: Verdict, packages: Sequence[str]) -> int:
    """Hand in a job for each; how many were decided about, once all are committed."""
    ends: list[bool] = []
    over = anyio.Event()

    def answer(done: Done) -> None:
        ends.append(done.decided is not None)
        if len(ends) == len(packages):
            over.set()

    for package in packages:
        job = Job(package, document=False, verdict=verdict, replies=[answer])
        await mirror.feed.submit(job)
    if packages:
        await over.wait()
    mirror.feed.wake()
    return sum(ends)


async def decide_for(
    mirror: Mirror,
    verdict: Verdict,
    packages: Sequence[str] | None,
    send: MemoryObjectSendStream[Report],
) -> None:
    """The same for somebody who asks a daemon, and may go away: then it is done all the same."""

    def progress(report: Report) -> None:
        try:
            send.send_nowait(report)
        except (anyio.WouldBlock, anyio.BrokenResourceError):
            return

    async with send:
        try:
            end = await decide(mirror, verdict, packages, progress) | {"end": True}
        except NpmmirrorError as error:
            # What is handed in is done; the daemon does not end because the rest cannot be read.
            end = {"error": str(error)}
        try:
            await send.send(end)
        except anyio.BrokenResourceError:
            return


async def decide_alone(
    config: Config,
    verdict: Verdict,
    packages: Sequence[str] | None,
    *,
    tell: Tell,
    stop: anyio.Event | None = None,
    clock: Clock | None = None,
) -> Report | None:
    """The same where no daemon runs; None where it was stopped. Nobody is asked anything.

    Raises:
        NpmmirrorError: the data directory cannot be used, or is in use.
    """
    end, reports = stop or anyio.Event(), list[Report]()
    upstream = config.upstream
    source = Source(str(upstream.registry or upstream.feed))
    manner = Manner(patient=False)
    async with open_mirror(config, source, clock=clock or SystemClock(), manner=manner) as mirror:

        async def work() -> None:
            reports.append(await decide(mirror, verdict, packages, tell))
            end.set()

        await mirror.run(end, work)
    return reports[0] if reports else None
