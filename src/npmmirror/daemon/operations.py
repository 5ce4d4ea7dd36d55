"""What a running daemon does for those who ask over the control socket."""

from collections.abc import AsyncIterable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from npmmirror.clock import timestamp
from npmmirror.daemon import watching
from npmmirror.daemon.closing import send_closure
from npmmirror.daemon.mirror import Mirror
from npmmirror.daemon.removals import decide_for
from npmmirror.daemon.shared_prune import SharedPrune
from npmmirror.daemon.status import Live
from npmmirror.daemon.verification.run import Asked
from npmmirror.daemon.verification.shared import SharedVerification
from npmmirror.errors import NpmmirrorError
from npmmirror.pipeline.closure import Asked as ClosureAsked
from npmmirror.pipeline.sync import SyncReport, wishes
from npmmirror.policy import Want

Report = dict[str, Any]
PROGRESS = 1000
"""Reports that may wait for a slow reader; those beyond are dropped, the last ones never."""


class DaemonOperations:
    """Does what `npmmirror.control.server.Operations` asks for.

    `tasks` owns the work that is asked for, which goes on when whoever asked goes away.
    """

    def __init__(self, mirror: Mirror, live: Live, tasks: TaskGroup) -> None:
        self._mirror = mirror
        self._live = live
        self._tasks = tasks
        self._verification = SharedVerification(mirror, tasks)
        self._pruning = SharedPrune(mirror, tasks)

    @property
    def draining(self) -> bool:
        """Whether the daemon was told to stop."""
        return self._live.draining.is_set()

    async def status(self) -> Report:
        """The state of the daemon and of the index."""
        with self._mirror.liveness.watch("control"):
            return await self._live.report()

    def sync(self, specs: list[str], options: dict[str, bool]) -> MemoryObjectReceiveStream[Report]:
        """Mirror packages; reports as they come."""
        asked = wishes(
            specs,
            all_versions=options.get("all_versions", False),
            mode=self._mirror.config.policy.tarballs,
        )
        send, receive = anyio.create_memory_object_stream[Report](PROGRESS)
        work = partial(self._sync, asked, options.get("force", False), send)
        self._tasks.start_soon(work)
        return receive

    async def _sync(
        self, asked: dict[str, Want], force: bool, send: MemoryObjectSendStream[Report]
    ) -> None:
        def progress(report: SyncReport) -> None:
            try:
                send.send_nowait(report.to_json())
            except (anyio.WouldBlock, anyio.BrokenResourceError):
                return

        async with send:
            ends: list[Report] = []
            try:
                reports = await self._mirror.syncer.sync_all(asked, force=force, progress=progress)
                ends = [report.to_json() | {"end": True} for report in reports]
            except* NpmmirrorError as errors:
                # What is begun goes on; the daemon does not end because nobody can be told of it.
                ends = [{"error": str(errors.exceptions[0])}]
            with suppress(anyio.BrokenResourceError):
                for end in ends:
                    await send.send(end)

    def closure(self, asked: Report) -> MemoryObjectReceiveStream[Report]:
        """Mirror what is asked for with what it needs; reports as they come."""
        send, receive = anyio.create_memory_object_stream[Report](PROGRESS)
        wanted = msgspec.convert(asked, ClosureAsked)
        self._tasks.start_soon(send_closure, self._mirror, wanted, send)
        return receive

    def verify(self, asked: Report) -> MemoryObjectReceiveStream[Report]:
        """Verify the archive; reports as they come."""
        return self._verification.watch(Asked.from_json(asked))

    async def backfill(
        self, asked: Report, names: AsyncIterable[bytes]
    ) -> MemoryObjectReceiveStream[Report]:
        """Begin a backfill, or watch the one that is under way; see `watching`."""
        return await watching.backfill(self._live.cold_start, self._tasks, asked, names)

    async def steer_backfill(self, word: str) -> Report:
        """Pause, resume or cancel it."""
        return await watching.steer(self._live.cold_start, word)

    def reconcile(self, asked: Report) -> MemoryObjectReceiveStream[Report]:
        """Reconcile now; reports as they come."""
        return watching.reconcile(self._live.cold_start, self._tasks, asked)

    def prune(self, asked: Report) -> MemoryObjectReceiveStream[Report]:
        """Delete what the policy wants no longer; reports as they come."""
        return self._pruning.watch(asked)

    def decide_removals(self, asked: Report) -> MemoryObjectReceiveStream[Report]:
        """Confirm or discard removals that the breaker holds; reports as they come."""
        send, receive = anyio.create_memory_object_stream[Report](PROGRESS)
        work = partial(decide_for, self._mirror, asked["verdict"], asked["packages"], send)
        self._tasks.start_soon(work)
        return receive

    async def retry(self, packages: list[str]) -> int:
        """Make rows of the work list due now, dead letters included."""
        now = timestamp(self._mirror.clock.now())
        with self._mirror.liveness.watch("control"):
            rows = await self._mirror.opened.index.retry(now, packages or None, dead_only=False)
        self._mirror.feed.wake()
        return rows
