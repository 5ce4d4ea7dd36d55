"""Backfill and reconciliation of an open mirror: begun, watched, and done when their time comes."""

from collections.abc import AsyncIterable, Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import anyio
import structlog

from npmmirror.backfill import Wish
from npmmirror.change import Seq
from npmmirror.clock import moment, timestamp
from npmmirror.daemon.mirror import Mirror, Source
from npmmirror.daemon.reports import ReportFile
from npmmirror.daemon.upstream_note import note_upstream
from npmmirror.errors import NpmmirrorError, StorageError
from npmmirror.failpoints import reach
from npmmirror.index import IndexUnavailableError, Resumption
from npmmirror.liveness import at_rest
from npmmirror.origin import RECONCILE
from npmmirror.pipeline.backfill import AHEAD, Backfiller
from npmmirror.pipeline.pause import FIRST_SECONDS, LONGEST_SECONDS
from npmmirror.pipeline.reconcile import Asked, ListingRefusedError, Manner, Reconciliation
from npmmirror.pipeline.wanting import Wanting
from npmmirror.policy import Keep
from npmmirror.upstream import BadAnswer, UpstreamError

RECONCILED_AT: Final = "reconciled_at"
"""The index's note of the last reconciliation that came to its end."""
LOOK_SECONDS: Final = 60.0
"""Between two looks at whether a reconciliation is due, or was asked for."""
AGAIN_SECONDS: Final = 3600.0
"""After a list that was refused."""
PACE_SECONDS: Final = 0.5
"""Between two pages of the list, in a daemon: all of npm takes some minutes longer by it."""
TELL_SECONDS: Final = 0.5
TRIES: Final = 5
"""So often the list is asked for while the feed answers with something else."""

Report = dict[str, Any]
Tell = Callable[[Report], None]

log = structlog.get_logger(__name__)


class FeedAwayError(NpmmirrorError):
    """The feed does not answer a command that needs it."""


class ColdStart:
    """What a daemon, or a command alone, does about packages that nobody announces."""

    def __init__(self, mirror: Mirror, source: Source, *, ahead: int | None = None) -> None:
        self._mirror = mirror
        self._source = source
        self._reconciling = anyio.Lock()
        self._beginning = anyio.Lock()
        self._asked = anyio.Event()
        self._progress: Report | None = None
        self.backfiller = Backfiller(
            mirror.upstream,
            mirror.opened.index,
            mirror.opened.reader,
            mirror.feed,
            mirror.clock,
            wanted=self._wanted,
            wanting=Wanting(
                mirror.opened.policy,
                mirror.opened.reader,
                mirror.threads,
                lambda: mirror.following_since,
            ),
            data_dir=mirror.config.storage.data_dir,
            ahead=ahead,
        )

    @property
    def reconciling(self) -> bool:
        """Whether a reconciliation is under way."""
        return self._reconciling.locked()

    async def load(self) -> None:
        """Take up what the process before this one left; before the work list is served."""
        await self.backfiller.load()

    def _wanted(self, name: str) -> bool:
        """Whether the policy wants a package at all."""
        return isinstance(self._mirror.opened.policy.package(name), Keep)

    async def take_cursor(self) -> Seq | None:
        """Have a cursor of the feed, durably, before names are listed: no gap is left between.

        Where there is one it stands. None where there is no feed.

        Raises:
            UpstreamError: the feed does not tell its head.
        """
        index, mirror = self._mirror.opened.index, self._mirror
        if self._source.feed is None:
            return await index.cursor()
        cursor = await index.cursor() or await index.marked_cursor()
        if cursor is None:
            since = mirror.config.follow.since
            cursor = since if since != "now" else (await mirror.upstream.head()).update_seq
        cursor = await index.begin_cursor(cursor)
        mirror.recorder.cursor = cursor
        await note_upstream(mirror, self._source, cursor)
        return cursor

    async def begin(self, wish: Wish, names: AsyncIterable[bytes] | None = None) -> None:
        """Begin a backfill, or go on with the very same one; `names` are the lines of its file.

        Raises:
            UsageError: another one is under way.
        """
        # The names of one are never to take the place of another's that was begun meanwhile.
        async with self._beginning:
            lines = await self.backfiller.keep(names) if names is not None else None
            await self.backfiller.begin(wish, lines)

    async def watch(self, tell: Tell) -> Report:
        """Tell how far the backfill is until it ends or is paused; the last report."""
        backfiller = self.backfiller
        last: Report = {"state": "none"}
        while (report := await backfiller.report()) is not None:
            last = report
            tell(report)
            if report["state"] == "paused":
                return report
            with at_rest():
                await self._mirror.clock.sleep(TELL_SECONDS)
        return backfiller.ended or (last | {"state": "cancelled"})

    async def status(self) -> dict[str, Report | None]:
        """What `status` tells of both."""
        try:
            backfill = await self.backfiller.report()
        except IndexUnavailableError:
            backfill = None
        return {"backfill": backfill, "reconciliation": self._progress}

    async def reconcile(self, asked: Asked, tell: Tell, manner: Manner | None = None) -> Report:
        """Reconcile now; one at a time. The report, which is in a file, too.

        Raises:
            ListingRefusedError: the list cannot be right.
            FeedAwayError: the feed does not answer.
            StorageError: index or report cannot be written.
        """
        async with self._reconciling:
            try:
                return await self._reconcile(asked, tell, manner or Manner())
            except UpstreamError as error:
                raise FeedAwayError(
                    f"the feed {self._source.public.feed} does not answer ({error}); nothing was compared"
                ) from error

    async def reconcile_beside(self, asked: Asked, tell: Tell) -> Report:
        """The same while the work list is served: no more is put there than is good for it."""
        return await self.reconcile(asked, tell, Manner(room=self._room))

    async def _reconcile(self, asked: Asked, tell: Tell, manner: Manner) -> Report:
        mirror = self._mirror
        storage = mirror.config.storage
        began = timestamp(mirror.clock.now())

        def note(report: Report) -> None:
            self._progress = {"started_at": began, **report}
            tell(report)

        work = Reconciliation(
            mirror.upstream,
            mirror.opened.index,
            mirror.opened.reader,
            mirror.clock,
            wanted=self._wanted,
            index_path=storage.index_path,
            scratch=storage.staging_path / "listing.db",
            manner=manner,
        )
        log.info("reconcile_begun", dry_run=asked.dry_run)
        note({"phase": "list", "done": 0, "total": None, "bytes": 0, "total_bytes": None})
        file = await ReportFile.begin(storage.data_dir, RECONCILE, began)
        try:
            tally = await work.run(asked, file, note)
            ended = timestamp(mirror.clock.now())
            told = {
                "started_at": began,
                "ended_at": ended,
                "feed": self._source.public.feed,
                "dry_run": asked.dry_run,
                **tally.to_json(),
            }
            path = await file.end(told)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await file.abandon()
            raise
        finally:
            self._progress = None
        reach("reconcile.reported")
        if not asked.dry_run:
            await self._note_reconciled(began)
        mirror.feed.wake()
        log.info(
            "reconciled",
            path=str(path),
            listed=tally.listed,
            missing=tally.found["missing"],
            older=tally.found["older"],
            returned=tally.found["returned"],
            unlisted=tally.found["unlisted"],
            queued=tally.queued,
            woken=tally.woken,
            disbelieved=tally.disbelieved,
        )
        return told | {"report": str(path)}

    async def _note_reconciled(self, began: str) -> None:
        """What was asked for before it began is done by it; what was asked for since is not."""
        index = self._mirror.opened.index
        note = await index.resumption(RECONCILE)
        if note is None or note.started_at > began:
            note = Resumption(RECONCILE, began, "")
        await index.end_resumption(note, RECONCILED_AT, began)

    def look(self) -> None:
        """Somebody asked for a reconciliation (`IndexWriter.take_bearings` and its like)."""
        self._asked.set()

    async def run(self) -> None:
        """In a daemon: the backfill as it is asked for, a reconciliation when it is due; for ever."""
        async with anyio.create_task_group() as tasks:
            watched = self._mirror.liveness.run
            tasks.start_soon(watched, "backfill", self.backfiller.run)
            tasks.start_soon(watched, "reconcile", self._reconcile_in_time)

    async def _reconcile_in_time(self) -> None:
        while True:
            self._asked = anyio.Event()
            seconds = LOOK_SECONDS
            try:
                if await self._is_due():
                    gently = Manner(PACE_SECONDS, self._room, self._patiently)
                    await self.reconcile(Asked(), lambda _: None, gently)
            except ListingRefusedError as error:
                log.error("reconcile_refused", error=str(error))  # noqa: TRY400 - no bug
                seconds = AGAIN_SECONDS
            except StorageError as error:
                log.warning("waiting_for_disk", error=str(error))
            with at_rest():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._until_asked, tasks.cancel_scope)
                    await self._mirror.clock.sleep(seconds)
                    tasks.cancel_scope.cancel()

    async def _until_asked(self, scope: anyio.CancelScope) -> None:
        await self._asked.wait()
        scope.cancel()

    async def _is_due(self) -> bool:
        index, reader = self._mirror.opened.index, self._mirror.opened.reader
        if await index.resumption(RECONCILE) is not None:
            return True
        days = self._mirror.config.follow.reconcile_days
        last = await reader.meta(RECONCILED_AT) or await reader.meta("created_at")
        if not days or last is None:
            return False
        return self._mirror.clock.now() - moment(last) >= timedelta(days=days)

    async def _room(self) -> None:
        """Wait until little of what a reconciliation brought is left to do."""
        while await self._mirror.opened.reader.untried(RECONCILE, AHEAD) >= AHEAD:
            with at_rest():
                await self._mirror.clock.sleep(TELL_SECONDS)

    async def _patiently(self, request: Callable[[], Awaitable[Any]]) -> Any:
        """What a request gives, however long the feed is away."""
        failures, told = 0, ""
        while True:
            try:
                return await request()
            except UpstreamError as error:
                failures += 1
                if isinstance(error, BadAnswer) and failures >= TRIES:
                    raise ListingRefusedError(f"the feed gives no list: {error}") from error
                longest = min(FIRST_SECONDS * 2.0 ** min(failures, 20), LONGEST_SECONDS)
                seconds = self._mirror.clock.jitter(longest / 2, longest)
                tell = log.debug if str(error) == told else log.warning
                tell("reconcile_waits", error=str(error), seconds=round(seconds, 1))
                told = str(error)
                with at_rest():
                    await self._mirror.clock.sleep(seconds)
