"""`npmmirror reset`: starting over with parts of the mirror. Only ever a command.

The order, for each kill in between: a note says durably what is being reset, and until it is gone
nobody works on what is left; then the parts go, each so that it can be done again; then the note.
The same command finishes what was begun.
"""

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import anyio

from npmmirror.archive import ENOUGH_HELD, CaptureLog, Marker, disk_faults, records
from npmmirror.buffer.stock import BufferStock, SqliteStock, Unit
from npmmirror.change import Seq
from npmmirror.clock import Clock, SystemClock, timestamp
from npmmirror.config import Config, StorageSection
from npmmirror.daemon import belongings
from npmmirror.daemon.lock import DirectoryLock
from npmmirror.daemon.opening import open_archive_and_index
from npmmirror.daemon.unfinished import ResetNote
from npmmirror.errors import StorageError
from npmmirror.failpoints import reach
from npmmirror.index import Group, IndexReader, IndexWriter, Mark, swapping
from npmmirror.index.bookkeeping import FORGOTTEN
from npmmirror.pipeline.logbook import seal
from npmmirror.worker_threads import WorkerThreads

Part = Literal["index", "buffer", "archive", "cursor"]
PARTS: tuple[Part, ...] = ("index", "buffer", "archive", "cursor")
RESET = "reset"
"""The word of the operator's decision, and of the phase."""
SLICE_SECONDS = 0.2
"""Files are deleted for so long in one go, then Ctrl-C is heeded and the progress told."""
LISTED = 20

Report = dict[str, Any]
Tell = Callable[[Report], None]


@dataclass(frozen=True, slots=True)
class Going:
    """What goes of a part: places (files, directories, a topic), how many units, their bytes."""

    part: Part
    places: tuple[str, ...] = ()
    count: int = 0
    size: int | None = 0
    unit: Unit = "file"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reset takes away. `parts` are those asked for and those that an earlier one left.

    `cursor` is what is known of the feed now; `since` where following begins afterwards, where the
    cursor goes. `strangers` are files among the archive's that are not the mirror's, and stay.
    """

    data_dir: Path
    parts: tuple[Part, ...]
    unfinished: tuple[Part, ...]
    going: tuple[Going, ...]
    cursor: Seq | None
    since: Seq
    strangers: tuple[str, ...]
    stranger_count: int
    done: bool = False

    def to_json(self) -> Report:
        """The report for scripts."""
        return {
            "data_dir": str(self.data_dir),
            "parts": list(self.parts),
            "unfinished": list(self.unfinished),
            "done": self.done,
            "going": [
                {
                    "part": going.part,
                    "places": list(going.places),
                    "count": going.count,
                    "unit": going.unit,
                    "bytes": going.size,
                }
                for going in self.going
            ],
            "cursor": self.cursor,
            "since": self.since,
            "strangers": list(self.strangers),
            "strangers_left_out": self.stranger_count - len(self.strangers),
        }


async def plan_of(config: Config, asked: Sequence[Part], tell: Tell = lambda _: None) -> Plan:
    """What a reset of these parts would take away, and of those that an earlier one left undone.

    Only looks: it may be done beside a daemon.

    Raises:
        StorageError: there is no data directory, or it cannot be read.
    """
    data_dir = config.storage.data_dir
    if not data_dir.is_dir():
        raise StorageError(f"there is no mirror in {data_dir}: nothing to reset")
    unfinished = tuple(part for part in PARTS if part in ResetNote(data_dir).parts())
    parts = tuple(part for part in PARTS if part in asked or part in unfinished)
    strangers = _Strangers()
    going = [await _going(config, part, strangers, tell) for part in parts]
    return Plan(
        data_dir=data_dir,
        parts=parts,
        unfinished=unfinished,
        going=tuple(going),
        cursor=await _cursor(config),
        since=config.follow.since,
        strangers=tuple(strangers.named),
        stranger_count=strangers.count,
    )


async def reset(
    config: Config,
    asked: Sequence[Part],
    agree: Callable[[Plan], Awaitable[bool]],
    *,
    tell: Tell = lambda _: None,
    clock: Clock | None = None,
) -> Plan:
    """Reset these parts, if `agree` says so to what would go.

    Raises:
        LockedError: a daemon, or another command, is at work.
        StorageError: as `plan_of`; or a part cannot be deleted, and the same call goes on; or the
            disk of the tarballs, which are to go, is not there.
    """
    if not config.storage.data_dir.is_dir():
        await plan_of(config, asked)
    with DirectoryLock(config.storage.data_dir, half_reset=True):
        plan = await plan_of(config, asked, tell)
        if "archive" in plan.parts and not plan.unfinished:
            await _see_tarballs(config)
        if not await agree(plan):
            return plan
        await _Reset(config, plan, tell, clock or SystemClock()).run()
        return replace(plan, done=True)


def stock_of(config: Config) -> BufferStock:
    """What the configured buffer keeps."""
    if config.buffer.backend == "sqlite":
        return SqliteStock(config.storage.data_dir / "buffer.db")
    from npmmirror.buffer.kafka_security import connection_options  # noqa: PLC0415 - seldom needed
    from npmmirror.buffer.kafka_stock import KafkaStock  # noqa: PLC0415 - as above

    return KafkaStock(config.buffer.kafka, connection_options(config.buffer.kafka))


class _Reset:
    """One run of it, with the lock held."""

    def __init__(self, config: Config, plan: Plan, tell: Tell, clock: Clock) -> None:
        self._config = config
        self._storage = config.storage
        self._plan = plan
        self._parts = frozenset(plan.parts)
        self._tell = tell
        self._clock = clock
        self._now = timestamp(clock.now())

    async def run(self) -> None:
        """Take the parts away, in an order that each kill leaves to be gone through again."""
        note = ResetNote(self._plan.data_dir)
        with disk_faults(self._plan.data_dir):
            note.write(self._plan.parts, self._now)
        reach("reset.noted")
        if "archive" not in self._parts:
            await self._tell_the_log()
        reach("reset.logged")
        await self._reset_index()
        reach("reset.index_gone")
        if "buffer" in self._parts:
            await stock_of(self._config).discard()
        reach("reset.buffer_gone")
        if "archive" in self._parts:
            await self._delete_archive()
        # The tarballs may be on another disk than the note.
        await anyio.to_thread.run_sync(os.sync)
        reach("reset.archive_gone")
        with disk_faults(self._plan.data_dir):
            note.remove()

    async def _tell_the_log(self) -> None:
        """Have the log's last mark say where following goes on, where that is another place now.

        Without index and buffer nothing knows what was announced and not finished: then it is the
        last place of which everything was.
        """
        cursor: Seq
        if "cursor" in self._parts:
            cursor = FORGOTTEN
        elif {"index", "buffer"} <= self._parts:
            safe = await self._finished_cursor()
            if safe is None:
                return
            cursor = safe
        else:
            return
        captures = self._storage.data_dir / "captures"
        if not any(captures.glob("*.log")):
            return
        if "index" in self._parts or not self._storage.index_path.exists():
            with CaptureLog.open(captures, segment_bytes=self._storage.segment_bytes) as log:
                self._seal(log, cursor)
            return
        with WorkerThreads(1, "npmmirror") as threads:
            async with open_archive_and_index(self._config, threads, self._clock) as opened:
                mark = self._seal(opened.log, cursor)
                await opened.index.commit(Group(mark=mark))

    def _seal(self, log: CaptureLog, cursor: Seq) -> Mark:
        detail = {"parts": list(self._plan.parts)}
        log.append(records.decision(self._now, what=RESET, detail=detail))
        return seal(log, cursor, self._now)

    async def _finished_cursor(self) -> Seq | None:
        """The cursor up to which everything is finished, as far as the index can tell."""
        try:
            async with await IndexReader.open(self._storage.index_path, connections=1) as index:
                receipts = await index.receipts()
        except StorageError:
            return None
        finished = [kept for kept in receipts if kept.finished]
        if finished:
            return finished[-1].receipt.after
        return receipts[0].receipt.before if receipts else None

    async def _reset_index(self) -> None:
        path = self._storage.index_path
        if "index" in self._parts or {"archive", "cursor"} <= self._parts:
            self._delete_index()
        elif "archive" in self._parts and path.exists():
            await self._begin_index_anew(path)
        elif "cursor" in self._parts and path.exists():
            async with await IndexWriter.open(path) as index:
                await index.forget_cursor()

    def _delete_index(self) -> None:
        # The file itself last: without it, what SQLite keeps beside it means nothing.
        with disk_faults(self._plan.data_dir):
            own = self._storage.index_path
            for file in sorted(belongings.of_index(self._storage), key=lambda path: path == own):
                file.unlink(missing_ok=True)

    async def _begin_index_anew(self, path: Path) -> None:
        """An index over nothing, which knows how far the feed was read."""
        new = path.with_name(f"{path.name}.new")
        swapping.remove(new)
        async with await IndexWriter.open(new) as index:
            await index.carry_progress(path)
        kept = swapping.swap(new, path, path.with_name(f"{path.name}.before-reindex"))
        if kept is not None:
            swapping.remove(kept)
        with disk_faults(self._plan.data_dir):
            for file in belongings.of_index(self._storage):
                if file != path and not file.name.startswith(f"{path.name}-"):
                    file.unlink(missing_ok=True)

    async def _delete_archive(self) -> None:
        total = next(going for going in self._plan.going if going.part == "archive")
        files = belongings.of_archive(self._storage)
        count = size = 0
        while (deleted := await anyio.to_thread.run_sync(_delete_some, files)) is not None:
            count, size = count + deleted[0], size + deleted[1]
            self._tell(_progress("delete", count, total.count, size, total.size))
        data_dir = self._storage.data_dir
        for top in (data_dir / "captures", self._storage.packages_path, data_dir / "damaged"):
            belongings.prune(top)


async def _see_tarballs(config: Config) -> None:
    """Refuse to delete a capture log whose tarballs would stay on a disk that is not mounted."""
    try:
        async with await IndexReader.open(config.storage.index_path, connections=1) as index:
            held = [row.path for row in await index.held(limit=ENOUGH_HELD)]
    except StorageError:
        return  # nothing tells what should be there
    await anyio.to_thread.run_sync(Marker(config.storage.packages_path).claim, held)


class _Strangers:
    """Files that lie among the archive's and are not the mirror's."""

    def __init__(self) -> None:
        self.count = 0
        self.named: list[str] = []

    def note(self, path: Path) -> None:
        """Count one in."""
        self.count += 1
        if len(self.named) < LISTED:
            self.named.append(str(path))


async def _going(config: Config, part: Part, strangers: _Strangers, tell: Tell) -> Going:
    storage = config.storage
    if part == "buffer":
        held = await stock_of(config).holdings()
        return Going(part, held.places, held.count, held.size, held.unit)
    if part == "archive":
        return await _archive_going(storage, strangers, tell)
    if part == "cursor":
        return Going(part)
    with disk_faults(storage.data_dir):
        files = sorted(belongings.of_index(storage))
        size = sum(file.stat().st_size for file in files)
    return Going(part, tuple(map(str, files)), len(files), size)


async def _archive_going(storage: StorageSection, strangers: _Strangers, tell: Tell) -> Going:
    """Counted by a walk through all of it."""
    places = (storage.data_dir / "captures", storage.packages_path, storage.data_dir / "damaged")
    files = belongings.of_archive(storage)
    count = size = 0
    while (found := await anyio.to_thread.run_sync(_count_some, files, strangers)) is not None:
        count, size = count + found[0], size + found[1]
        tell(_progress("count", count, None, size, None))
    return Going("archive", tuple(str(path) for path in places if path.is_dir()), count, size)


def _count_some(
    files: Iterator[tuple[Path, bool]], strangers: _Strangers
) -> tuple[int, int] | None:
    """In a thread: count for a moment; how many files and bytes, None at the end."""
    deadline = time.monotonic() + SLICE_SECONDS
    seen = count = size = 0
    for path, own in files:
        seen += 1
        if own:
            count += 1
            with suppress(FileNotFoundError):  # looked at beside a daemon
                size += path.lstat().st_size
        else:
            strangers.note(path)
        if time.monotonic() >= deadline:
            return count, size
    return (count, size) if seen else None


async def _cursor(config: Config) -> Seq | None:
    """What is known of the feed now; None also where the index cannot be read."""
    try:
        async with await IndexReader.open(config.storage.index_path, connections=1) as index:
            return await index.cursor()
    except StorageError:
        return None


def _delete_some(files: Iterator[tuple[Path, bool]]) -> tuple[int, int] | None:
    """In a thread: delete for a moment; how many files and bytes went, None at the end."""
    deadline = time.monotonic() + SLICE_SECONDS
    seen = count = size = 0
    for path, own in files:
        seen += 1
        if own:
            with disk_faults(path):
                size += path.lstat().st_size
                path.unlink()
            reach("reset.file_deleted")
            count += 1
        if time.monotonic() >= deadline:
            return count, size
    return (count, size) if seen else None


def _progress(phase: str, done: int, total: int | None, size: int, sizes: int | None) -> Report:
    return {"phase": phase, "done": done, "total": total, "bytes": size, "total_bytes": sizes}
