"""The storage writer: the only one that writes to the archive and to the index.

The order within a group is the promise of the whole mirror: tarballs durable under their final
names, then the capture log durable with its mark, then one index transaction with the effects and
the checkpoint. A kill in between leaves files and records that the next start finds and adopts.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import structlog

from npmmirror.archive import CaptureLog, DiskFaultError, TarballStore, records
from npmmirror.buffer.base import Buffer
from npmmirror.capture import NewRecord, Payload
from npmmirror.change import Seq
from npmmirror.clock import Clock, timestamp
from npmmirror.failpoints import reach
from npmmirror.index import (
    Group,
    IndexUnavailableError,
    IndexWriter,
    KeptReceipt,
    Mark,
    StoredDrop,
    StoredFollowing,
    StoredKeys,
)
from npmmirror.liveness import Liveness, at_rest
from npmmirror.outcome import HELD, HeldTarball, WorkItem
from npmmirror.pipeline.channel import Receiver, Sender, open_channel
from npmmirror.pipeline.grouping import grouped
from npmmirror.pipeline.job import Done, Passed, Result
from npmmirror.pipeline.logbook import Logged, append, seal
from npmmirror.pipeline.pause import Pause
from npmmirror.pipeline.telling import tell_added, tell_moved
from npmmirror.pipeline.watermark import Watermark
from npmmirror.receipt import Position, Receipt
from npmmirror.worker_threads import WorkerThreads

T = TypeVar("T")

RECORDING = "recording"
"""Who holds fetching while a group cannot be made durable."""
PUBLISHING = "publishing"
"""Who holds it while a group's tarballs cannot be."""
FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
STEP_SECONDS = 3600.0
"""Copying thousands of tarballs to a slow NAS is one step."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """When a group is committed: at `count` results, or `seconds` after the first."""

    count: int
    seconds: float


@dataclass(slots=True)
class _Group:
    """Results that are made durable together; `passed` are tickets that need nothing else."""

    dones: list[Done] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)

    def take(self, result: Result) -> None:
        """Add a result."""
        if isinstance(result, Passed):
            self.passed.extend(result.tickets)
        else:
            self.dones.append(result)


class Recorder:
    """Groups results and makes each group durable, in the order in which they come."""

    def __init__(
        self,
        archive: CaptureLog,
        store: TarballStore,
        index: IndexWriter,
        threads: WorkerThreads,
        publishing: WorkerThreads,
        *,
        clock: Clock,
        disk: Pause,
        pace: Pace,
        cursor: Seq | None,
        in_work: Callable[[], int],
        liveness: Liveness,
        committed: Callable[[Sequence[Done]], None],
        keys: int = 0,
    ) -> None:
        self._archive = archive
        self._store = store
        self._index = index
        self._threads = threads
        self._publishing = publishing
        self._clock = clock
        self._disk = disk
        self._pace = pace
        self._in_work = in_work
        self._liveness = liveness
        self._committed = committed
        self._writing = anyio.Lock()
        self._begun = 0
        self._ended = 0
        self._end = anyio.Event()
        self._torn = False
        self._earlier: Watermark | None = None
        self._buffer: Buffer | None = None
        self._unfinished: deque[KeptReceipt] = deque()
        self.cursor = cursor
        self.watermark: Watermark | None = None
        """Of the buffer that is followed; None where none is, or where is not known."""
        self.checkpoint: Position | None = None
        self.finished_seq: Seq | None = None
        """The watermark's, once what it tells of is committed."""
        self.finished = 0
        self._keys = keys
        self.moving = 0
        """Tarballs that are being moved to their places just now."""

    def follow(
        self, buffer: Buffer, start: Position, cursor: Seq, receipts: Iterable[KeptReceipt]
    ) -> Watermark:
        """Keep the checkpoint of this buffer from now on. Not called where nothing is followed."""
        self._buffer = buffer
        self.watermark = Watermark(buffer, start, after=self._earlier)
        self.checkpoint = start
        self.finished_seq = None
        self.cursor = cursor
        self._unfinished = deque(kept for kept in receipts if not kept.finished)
        return self.watermark

    async def unfollow(self) -> None:
        """Keep no checkpoint until `follow` is called (again); what is in work is recorded."""
        async with self._writing:
            if self.watermark is not None:
                self._earlier = self.watermark
            self.watermark = self.checkpoint = None

    async def receive_page(self, receipt: Receipt) -> None:
        """Make a page's receipt and the cursor behind it durable."""
        at = timestamp(self._clock.now())
        async with self._writing:
            number = await self._patiently(partial(self._index.receive_page, receipt, at))
        self._unfinished.append(KeptReceipt(number, receipt, at, finished=False))
        self.cursor = receipt.after

    async def run(self, results: Receiver[Result]) -> None:
        """Record until the stream is closed and empty.

        While a group goes into the log and the index, the files of the next one get their names:
        the disk is waited for in both, and each change in the archive is as durable as before.
        """
        send: Sender[_Group]
        send, receive = open_channel(0)
        with results:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._record_all, receive)
                with send:
                    async for first in results:
                        group = await self._gather(first, results)
                        self._begun += len(group.dones)
                        # The disk of the tarballs may hang: pages are received meanwhile.
                        await self._publish(group.dones)
                        await send.send(group)

    async def _gather(self, first: Result, results: Receiver[Result]) -> _Group:
        """What comes within the pace; at once when nothing else is in work, or waits for it."""
        group = _Group()
        group.take(first)
        dones = group.dones
        with anyio.move_on_after(self._pace.seconds):
            while len(dones) < self._pace.count and self._still_to_come() > len(dones):
                if dones and dones[-1].release is not None:
                    break  # the next large document waits for this one
                try:
                    group.take(await results.receive())
                except anyio.EndOfStream:
                    break
        return group

    def _still_to_come(self) -> int:
        """How many results may come in, those of the group that is being gathered among them."""
        return self._in_work() - (self._begun - self._ended)

    async def _record_all(self, groups: Receiver[_Group]) -> None:
        """Make groups visible whose files have their names, in the order in which they come."""
        with groups:
            async for group in groups:
                await self._commit(group.dones, group.passed)

    async def _commit(self, dones: Sequence[Done], passed: Sequence[int]) -> None:
        """Make a group durable and visible. Faults of the disk are waited out, nothing is lost."""
        async with self._writing:
            mark = await self._record(dones, passed)
        tell_added(dones, mark)
        self._note(dones)
        self._committed(dones)
        self._ended += len(dones)
        self._end.set()
        self._end = anyio.Event()
        reach("record.committed")

    async def _record(self, dones: Sequence[Done], passed: Sequence[int]) -> Mark | None:
        """The log, then the index."""
        checkpoint = self._checkpoint(dones, passed)
        finished_seq = self.watermark.seq if self.watermark is not None else None
        logged, mark = await self._patiently(partial(self._make_durable, dones))
        reach("record.durable")
        tell_moved(dones)
        group = grouped(
            dones,
            logged,
            mark=mark,
            checkpoint=checkpoint,
            finished_receipt=self._finished_receipt(checkpoint),
        )
        await self._patiently(partial(self._index.commit, group))
        if checkpoint is not None:  # else nothing was followed; by now `follow` may have come
            self.checkpoint, self.finished_seq = checkpoint, finished_seq
        return mark

    async def begin_following(self, record: NewRecord) -> None:
        """Have the log say, durably, what is followed from here on."""
        async with self._writing:
            write = partial(self._write_following, record)
            step = partial(self._threads.run, self._cleanly, write)
            following, mark = await self._patiently(step)
            group = Group(following=(following,), mark=mark)
            await self._patiently(partial(self._index.commit, group))

    def _write_following(self, record: NewRecord) -> tuple[StoredFollowing, Mark]:
        appended = self._archive.append(record)
        mark = seal(self._archive, self.cursor, record.at)
        since = record.facts.get("since")
        return StoredFollowing(appended.ordinal, record.at, record.facts["feed"], since), mark

    async def keep_keys(self, at: str, document: bytes | None, payload: Payload | None) -> int:
        """Have the log and the index say, durably, what the registry's keys are; the ordinal.

        `document` is what upstream served, None where it serves none any more; `payload` is the
        same as it is stored.
        """
        async with self._writing:
            write = partial(self._write_keys, at, document, payload)
            written: list[tuple[StoredKeys, Mark]] = []

            async def step() -> int:
                if not written:
                    written.append(await self._threads.run(self._cleanly, write))
                stored, mark = written[0]
                await self._index.commit(Group(keys=(stored,), mark=mark))
                return stored.ordinal

            # Both in one step: whoever looks at the keys may be cancelled, and groups follow.
            return await self._patiently(step)

    def _write_keys(
        self, at: str, document: bytes | None, payload: Payload | None
    ) -> tuple[StoredKeys, Mark]:
        ordinal = self._archive.append(records.keys(at, payload)).ordinal
        mark = seal(self._archive, self.cursor, at)
        self._keys = ordinal
        return StoredKeys(ordinal, at, document), mark

    async def drop(self, drops: Sequence[StoredDrop], work: Sequence[WorkItem] = ()) -> None:
        """Have the log say, durably, which files are held no longer; put rows on the work list.

        The ordinals of `drops` are given here. A version whose file the index does not hold (any
        more) is left out.
        """
        async with self._writing:
            held = [drop for drop in drops if await self._holds(drop)]
            mark = None
            if held:
                write = partial(self._write_drops, held)
                held, mark = await self._patiently(partial(self._threads.run, self._cleanly, write))
            group = Group(drops=tuple(held), work_put=tuple(work), mark=mark)
            await self._patiently(partial(self._index.commit, group))

    async def _holds(self, drop: StoredDrop) -> bool:
        known = await self._index.known(drop.name)
        version = known.versions.get(drop.version) if known is not None else None
        return version is not None and version.state in HELD

    def _write_drops(self, drops: Sequence[StoredDrop]) -> tuple[list[StoredDrop], Mark]:
        logged = [
            replace(drop, ordinal=self._archive.append(_dropped(drop)).ordinal) for drop in drops
        ]
        return logged, seal(self._archive, self.cursor, max(drop.at for drop in drops))

    async def settle(self) -> None:
        """Return when every file that has its final name by now is in the index."""
        begun = self._begun
        while self._ended < begun:
            await self._end.wait()

    def _checkpoint(self, dones: Sequence[Done], passed: Sequence[int]) -> Position | None:
        if self.watermark is None:
            return None
        tickets = [*passed, *(ticket for done in dones for ticket in done.job.tickets)]
        return self.watermark.finish(tickets)

    def _finished_receipt(self, checkpoint: Position | None) -> int | None:
        """The newest page that the checkpoint has passed; it is the one to go back to."""
        number = None
        while checkpoint is not None and self._buffer is not None and self._unfinished:
            if not self._buffer.covers(checkpoint, self._unfinished[0].receipt.end):
                break
            number = self._unfinished.popleft().number
        return number

    async def _publish(self, dones: Sequence[Done]) -> None:
        """Have the group's tarballs durable under their final names.

        Unlike the other steps this one is left behind by a cancellation, for it may hang. That is
        as a kill in its midst: nothing was written to the log.
        """
        moves = [
            (Path(tarball.staged), tarball.path)
            for done in dones
            for tarball in done.tarballs
            if isinstance(tarball, HeldTarball) and tarball.staged is not None
        ]
        if not moves:
            return
        self.moving = len(moves)
        try:
            move = partial(self._move, moves)
            await self._patiently(move, holder=PUBLISHING, task="publish", shield=False)
        finally:
            self.moving = 0

    async def _move(self, moves: Sequence[tuple[Path, str]]) -> None:
        with at_rest():  # a NAS may be away for days
            await self._publishing.run(self._store.publish, moves)

    async def _patiently(
        self,
        step: Callable[[], Awaitable[T]],
        *,
        holder: str = RECORDING,
        task: str = "record",
        shield: bool = True,
    ) -> T:
        """Take a step of the commit until the disk lets it succeed.

        A step that is under way is never cancelled where it is `shield`ed; between two tries the
        whole may be: what is in the log by then is indexed at the next start. Fetching is held meanwhile: the recorder
        tries by itself, whoever else waits, and nobody else's luck with another disk counts.
        """
        seconds = FIRST_SECONDS
        while True:
            try:
                with self._liveness.watch(task, STEP_SECONDS), anyio.CancelScope(shield=shield):
                    result = await step()
            except (DiskFaultError, IndexUnavailableError) as fault:
                self._disk.hold(holder, f"disk: {fault}")
                await self._clock.sleep(self._clock.jitter(seconds / 2, seconds))
                seconds = min(seconds * 2, LONGEST_SECONDS)
            else:
                self._disk.release(holder)
                return result

    async def _make_durable(self, dones: Sequence[Done]) -> tuple[list[Logged], Mark | None]:
        at = timestamp(self._clock.now())
        return await self._threads.run(self._cleanly, partial(self._write, dones, at))

    def _cleanly(self, write: Callable[[], T]) -> T:
        """In the writer's thread: write, from where the log was last whole."""
        if self._torn:
            self._archive.rollback()
        self._torn = True
        result = write()
        self._torn = False
        return result

    def _write(self, dones: Sequence[Done], at: str) -> tuple[list[Logged], Mark | None]:
        """In the writer's thread: the log with its mark."""
        logged = [append(self._archive, done, self._keys) for done in dones]
        mark = seal(self._archive, self.cursor, at) if any(logged) else None
        return logged, mark

    def _note(self, dones: Sequence[Done]) -> None:
        """Keep count of what is finished."""
        for done in dones:
            change = done.job.change
            if done.job.tickets and change is not None:
                self.finished += len(done.job.tickets)


def _dropped(drop: StoredDrop) -> NewRecord:
    return records.dropped(drop.at, drop.name, version=drop.version, path=None, reason=drop.reason)
