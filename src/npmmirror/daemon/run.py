"""`npmmirror run`: the mirror open, following, served on its control socket, until it is stopped."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import anyio
import structlog
from anyio.abc import TaskGroup

from npmmirror import __version__
from npmmirror.buffer.base import Buffer, BufferChangedError, BufferUnavailableError
from npmmirror.change import Seq
from npmmirror.clock import Clock, SystemClock, timestamp
from npmmirror.config import Config
from npmmirror.control.address import socket_path
from npmmirror.control.server import ControlServer
from npmmirror.daemon.buffers import open_buffer
from npmmirror.daemon.cold_start import ColdStart
from npmmirror.daemon.feed_follower import FeedFollower
from npmmirror.daemon.mirror import Manner, Mirror, Source
from npmmirror.daemon.notify import Notifier
from npmmirror.daemon.open_mirror import open_mirror
from npmmirror.daemon.operations import DaemonOperations
from npmmirror.daemon.progress import Progress
from npmmirror.daemon.pruning import finish_early
from npmmirror.daemon.pulling import puller_of
from npmmirror.daemon.serving import serve_beside
from npmmirror.daemon.signals import watch_signals
from npmmirror.daemon.status import Live
from npmmirror.daemon.supervision import Supervision
from npmmirror.daemon.upstream_note import note_upstream
from npmmirror.daemon.widening import Widening
from npmmirror.errors import FeedStalledError
from npmmirror.failpoints import reach
from npmmirror.index import IndexUnavailableError
from npmmirror.memory import give_back
from npmmirror.pipeline.examiner_start import StartedExaminer
from npmmirror.pipeline.follow import HeadFellError
from npmmirror.pipeline.pull import Puller
from npmmirror.pipeline.resume import resume
from npmmirror.pipeline.watermark import Watermark
from npmmirror.receipt import Position, Receipt
from npmmirror.server.lists import read_withheld

TRIM_SECONDS = 30.0
SLACK_SECONDS = 3600.0
"""By so much a clock may be put right without anybody's wait being looked at."""
BUFFER_SECONDS = 2.0
"""The pause before a buffer that is away, or not what it was, is looked at again."""

log = structlog.get_logger(__name__)


async def run(
    config: Config,
    source: Source,
    *,
    clock: Clock | None = None,
    stop: anyio.Event | None = None,
    raise_bugs: bool = False,
    own_process: bool = False,
    examiner: StartedExaminer | None = None,
    notifier: Notifier | None = None,
) -> None:
    """Follow the feed until SIGTERM or SIGINT (or `stop`); a second signal cancels the drain.

    `own_process`, `examiner`: see `Manner`. `notifier` is told how it goes.

    Raises:
        NpmmirrorError: the daemon cannot start.
    """
    clock = clock or SystemClock()
    stop = stop or anyio.Event()
    read_withheld(config.server)  # what cannot be read is refused before anything is opened
    manner = Manner(patient=True, raise_bugs=raise_bugs, own_process=own_process, examiner=examiner)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals, stop, tasks.cancel_scope)
        supervision = Supervision(
            notifier or Notifier(), clock, drain_seconds=config.fetch.drain_seconds
        )
        tasks.start_soon(supervision.run, stop)
        async with (
            open_mirror(config, source, clock=clock, manner=manner) as mirror,
            await open_buffer(config, clock) as buffer,
        ):
            await Daemon(mirror, buffer, source, clock, supervision).run(stop)
            supervision.leave()
        tasks.cancel_scope.cancel()


class Daemon:
    """A mirror that follows a feed through a buffer."""

    def __init__(
        self,
        mirror: Mirror,
        buffer: Buffer,
        source: Source,
        clock: Clock,
        supervision: Supervision,
    ) -> None:
        self._supervision = supervision
        self._mirror = mirror
        self._buffer = buffer
        self._source = source
        self._clock = clock
        self._config = mirror.config
        self._cold_start = ColdStart(mirror, source)
        self._answering = anyio.Event()
        """Set where the daemon follows, or waits for somebody, and is to be asked about it."""
        self._following = FeedFollower(mirror, buffer, clock, feed=source.public.feed or "")
        self._follower = self._following.follower
        self._gave_up: FeedStalledError | None = None
        self._puller: Puller | None = None

    async def run(self, stop: anyio.Event) -> None:
        """Work until told to stop, then drain.

        Raises:
            FeedStalledError: the feed stands still; what was in work is finished.
        """
        log.info(
            "started",
            version=__version__,
            feed=self._source.public.feed,
            registry=self._source.public.registry,
            data_dir=str(self._config.storage.data_dir),
        )
        progress = Progress(self._mirror, self._follower, self._buffer, self._clock)
        async with anyio.create_task_group() as serving:
            serving.start_soon(self._mirror.telling.run)
            serving.start_soon(progress.run)
            self._puller = puller_of(self._mirror, stop)
            serve = partial(
                serve_beside,
                self._config,
                self._clock,
                stop,
                pulling=self._puller,
                on_commit=self._mirror.on_commit,
            )
            serving.start_soon(serve)
            producers = (partial(self._follow, stop, serving), self._watch)
            await self._mirror.run(stop, *producers)
            serving.cancel_scope.cancel()
        log.info("stopped", finished=self._mirror.recorder.finished)
        if self._gave_up is not None:
            raise self._gave_up

    async def _follow(self, stop: anyio.Event, serving: TaskGroup) -> None:
        """Find where to go on, then follow and read the buffer.

        `serving` owns the control socket: it answers until the drain is over.
        """
        following, listening = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as tasks:
            started_at = timestamp(self._clock.now())
            await self._cold_start.load()
            live = Live(
                self._mirror,
                self._follower,
                self._buffer,
                self._source,
                started_at,
                stop,
                self._cold_start,
            )
            operations = DaemonOperations(self._mirror, live, tasks)
            server = ControlServer(operations, socket_path(self._config.storage.data_dir))
            serving.start_soon(_once, self._answering, partial(server.serve, started=listening))
            self._supervision.watch(self._mirror, live.glance)
            tasks.start_soon(_once, listening, self._supervision.ready)
            tasks.start_soon(finish_early, self._mirror)
            tasks.start_soon(_once, following, Widening(self._mirror).run)
            # Not before it is known when following began: what is news depends on it, now and when
            # the log is replayed.
            work_list = partial(
                self._mirror.liveness.run, "work list", self._mirror.feed.serve_work_list
            )
            tasks.start_soon(_once, following, work_list)
            tasks.start_soon(_once, following, self._cold_start.run)
            if self._puller is not None:
                tasks.start_soon(_once, following, self._puller.run)
            tasks.start_soon(self._mirror.keys.run)
            while True:
                cursor, watermark = await self._patient_standing()
                # A daemon that never lives until the first look at the clock must trim, too.
                await self._trim()
                self._answering.set()
                await self._mirror.keys.first_look()
                following.set()
                try:
                    await self._follow_through(cursor, watermark)
                except FeedStalledError as error:
                    log.error("feed_given_up", error=str(error))  # noqa: TRY400 - no bug of ours
                    self._gave_up = error
                    stop.set()
                    await anyio.sleep_forever()

    async def _follow_through(self, cursor: Seq, watermark: Watermark) -> None:
        """Follow and read the buffer, until it or the feed is not what it was any more."""
        fallen: HeadFellError | None = None
        stalled: FeedStalledError | None = None
        try:
            async with anyio.create_task_group() as tasks:
                watched = self._mirror.liveness.run
                tasks.start_soon(watched, "follow", self._following.run, cursor)
                reader = self._mirror.feed.read_buffer
                tasks.start_soon(watched, "feed", reader, self._buffer, watermark)
        except* BufferChangedError as errors:
            log.warning("buffer_changed", detail=str(errors.exceptions[0]))
        except* HeadFellError as errors:
            fallen = next(one for one in errors.exceptions if isinstance(one, HeadFellError))
        except* IndexUnavailableError as errors:
            log.warning("waiting_for_disk", error=str(errors.exceptions[0]))
        except* FeedStalledError as errors:
            stalled = next(one for one in errors.exceptions if isinstance(one, FeedStalledError))
        if stalled is not None:
            raise stalled
        if fallen is not None:
            await self._take_head(fallen.head)
            return
        await self._clock.sleep(self._clock.jitter(BUFFER_SECONDS / 2, BUFFER_SECONDS))

    async def _take_head(self, head: int) -> None:
        """Go on from the feed's new head; where that cannot be noted now, it is found out again."""
        try:
            await self._following.take_head(head)
            self._cold_start.look()
        except (BufferUnavailableError, BufferChangedError, IndexUnavailableError) as error:
            log.warning("head_not_taken", error=str(error))
            await self._clock.sleep(BUFFER_SECONDS)

    async def _patient_standing(self) -> tuple[Seq, Watermark]:
        """Cursor and checkpoint, as soon as the buffer answers; who waits for it can be asked."""
        feed = self._mirror.feed
        while True:
            try:
                await self._mirror.recorder.unfollow()
                return await self._standing()
            except (BufferUnavailableError, BufferChangedError) as error:
                self._answering.set()
                await feed.buffer_is_away(error, BUFFER_SECONDS)
            except IndexUnavailableError as error:
                self._answering.set()
                log.warning("waiting_for_disk", error=str(error))
                await self._clock.sleep(BUFFER_SECONDS)

    async def _standing(self) -> tuple[Seq, Watermark]:
        """Cursor and checkpoint, held against the buffer."""
        index, buffer = self._mirror.opened.index, self._buffer
        await buffer.refresh()
        cursor, checkpoint = await index.cursor(), await index.checkpoint()
        if cursor is None or checkpoint is None:
            cursor, checkpoint = await self._begin(cursor)
        await note_upstream(self._mirror, self._source, cursor)
        reach("start.following_noted")
        receipts = await index.receipts()
        found = await resume(buffer, cursor, checkpoint, receipts)
        if found.lost is not None:
            log.warning("buffer_lost_changes", detail=found.lost)
            await index.rewind(found.cursor, found.checkpoint, found.receipt)
            receipts = await index.receipts()
        watermark = self._mirror.recorder.follow(buffer, found.checkpoint, found.cursor, receipts)
        return found.cursor, watermark

    async def _begin(self, cursor: Seq | None) -> tuple[Seq, Position]:
        """The very first start, or the first one with a rebuilt index."""
        index = self._mirror.opened.index
        mark = await index.last_mark()
        if cursor is None and mark is not None:
            cursor = mark.cursor
        if cursor is None:
            cursor = await self._follower.start_cursor(
                self._config.follow.since, waits=self._answering.set
            )
            checkpoint = await self._first_checkpoint()
        else:
            # What the buffer still holds may not be finished: the index that knew it is lost.
            checkpoint = await self._buffer.start()
        await index.rewind(cursor, checkpoint, None)
        reach("start.rewound")
        # A page of no rows: whatever happens to the buffer, there is a place to go back to.
        start = Receipt(before=cursor, after=cursor, end=checkpoint, tail="")
        await index.receive_page(start, timestamp(self._clock.now()))
        reach("start.first_receipt")
        return cursor, checkpoint

    async def _first_checkpoint(self) -> Position:
        """The buffer's end; after `reset --cursor` what was announced before is still worked off."""
        known = await self._mirror.opened.index.checkpoint()
        if known is not None and known.buffer == self._buffer.identity:
            return known
        return await self._buffer.end()

    async def _watch(self) -> None:
        """Trim buffer and memory, and look at the clock, every so often."""
        while True:
            self._mirror.deaths.look_around()
            await self._trim()
            await self._recall()
            await self._mirror.breaker.refresh()
            await anyio.to_thread.run_sync(give_back)
            await self._clock.sleep(TRIM_SECONDS)

    async def _recall(self) -> None:
        """Have nothing wait for a time that was reckoned while the clock was ahead."""
        fetch, policy = self._config.fetch, self._config.policy
        longest = max(fetch.retry_max_seconds, policy.confirm_removal_hours * 3600)
        now = self._clock.now()
        latest = now + timedelta(seconds=longest + SLACK_SECONDS)
        try:
            rows = await self._mirror.opened.index.recall(timestamp(now), timestamp(latest))
        except IndexUnavailableError:
            return  # whoever has to write now says so
        if rows:
            log.warning("clock_went_back", rows=rows)
            self._mirror.feed.wake()

    async def _trim(self) -> None:
        checkpoint = self._mirror.recorder.checkpoint
        if checkpoint is None:
            return
        try:
            await self._buffer.trim(checkpoint)
        except (BufferUnavailableError, BufferChangedError) as error:
            log.debug("buffer_not_trimmed", error=str(error))


async def _once(event: anyio.Event, call: Callable[[], Awaitable[None]]) -> None:
    """Make a call as soon as something has happened."""
    await event.wait()
    await call()
