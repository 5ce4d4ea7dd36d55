"""Opening a mirror: the lock first, then every part that the others need."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from npmmirror import __version__
from npmmirror.clock import Clock
from npmmirror.config import Config
from npmmirror.daemon.lock import DirectoryLock
from npmmirror.daemon.mirror import Manner, Mirror, Source, pulls_of
from npmmirror.daemon.opening import open_archive_and_index
from npmmirror.failpoints import reach
from npmmirror.index import signing
from npmmirror.pipeline.examiner_process import ExaminerProcess
from npmmirror.pipeline.in_work import InWork
from npmmirror.upstream import Limits, Timeouts, Upstream
from npmmirror.worker_threads import WorkerThreads

THREADS = 2


@asynccontextmanager
async def open_mirror(
    config: Config, source: Source, *, clock: Clock, manner: Manner
) -> AsyncIterator[Mirror]:
    """Open everything of a data directory, the lock first; close it in the opposite order.

    Raises:
        NpmmirrorError: in a sentence what is in the way.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(DirectoryLock(config.storage.data_dir))
        reach("start.locked")
        deaths = stack.enter_context(InWork.open(config.storage.data_dir / "in_work"))
        if manner.own_process:
            deaths.watch_crashes()
        threads = stack.enter_context(WorkerThreads(THREADS, "npmmirror"))
        beside = None
        if manner.own_process:  # first: it takes as long to get ready as what follows
            captures = config.storage.data_dir / "captures"
            beside = ExaminerProcess(captures, manner.examiner)
            await stack.enter_async_context(beside)
        opened = await stack.enter_async_context(
            open_archive_and_index(config, threads, clock, patient=manner.patient)
        )
        upstream = await stack.enter_async_context(_upstream(config, source, threads, clock))
        mirror = Mirror(
            config,
            opened,
            upstream,
            registry=source.public.registry,
            keys=await opened.index.do(signing.keys),
            deaths=deaths,
            threads=threads,
            beside=beside,
            clock=clock,
            manner=manner,
        )
        stack.callback(mirror.close)
        await mirror.breaker.load()
        await mirror.revs.load()
        yield mirror


def _upstream(config: Config, source: Source, threads: WorkerThreads, clock: Clock) -> Upstream:
    section = config.upstream
    return Upstream(
        feed=source.feed,
        registry=source.registry,
        tarball_hosts=section.tarball_hosts,
        user_agent=user_agent(section.contact),
        timeouts=Timeouts(section.connect_seconds, section.read_seconds, section.total_seconds),
        limits=Limits(
            max_packument_bytes=config.fetch.max_packument_bytes,
            max_compressed_bytes=config.fetch.max_packument_bytes,
            max_tarball_bytes=config.policy.max_tarball_bytes,
        ),
        concurrency=config.fetch.concurrency + pulls_of(config),
        clock=clock,
        attempts=section.max_attempts,
        threads=threads,
    )


def user_agent(contact: str) -> str:
    """What upstream's operators see: the program, its version, and whom to write to."""
    return f"npmmirror/{__version__}" + (f" ({contact})" if contact else "")
