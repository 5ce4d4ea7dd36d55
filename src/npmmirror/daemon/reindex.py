"""`npmmirror reindex`: the index made anew of the capture log, beside the one that is there."""

from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from npmmirror import __version__
from npmmirror.archive import (
    CaptureDamagedError,
    CaptureLog,
    CaptureReader,
    Damage,
    DiskFaultError,
    PayloadEncoder,
    records,
)
from npmmirror.capture import Location
from npmmirror.clock import Clock, SystemClock, timestamp
from npmmirror.config import Config
from npmmirror.daemon import held_files
from npmmirror.daemon.lock import DirectoryLock
from npmmirror.daemon.rebuilt import Finding, Rebuilt
from npmmirror.daemon.selecting import read_policy
from npmmirror.daemon.unfinished import refuse_half_reset
from npmmirror.errors import StorageError
from npmmirror.index import Group, IndexReader, IndexWriter, Resumption, signing, swapping
from npmmirror.index.signing import Judgement, Unjudged
from npmmirror.outcome import WorkItem
from npmmirror.packument import Packument
from npmmirror.pipeline.examiner import Examiner
from npmmirror.pipeline.job import ATTESTATION, PACKUMENT
from npmmirror.pipeline.keys import judge_again, parsed
from npmmirror.pipeline.logbook import seal
from npmmirror.pipeline.replay import Replay

COMMAND = "reindex"
BATCH_BYTES = 32 << 20
"""Documents that are committed together: many small groups in one transaction, and no more memory."""
TELL_SECONDS = 0.2

Report = dict[str, Any]
Tell = Callable[[Report], None]


async def reindex(config: Config, tell: Tell, clock: Clock | None = None) -> Rebuilt:
    """Rebuild the index of a data directory; the one before takes no harm until it is done.

    Cut off, the next call goes on from the last group that was committed. `tell` is told of the
    progress, in the shape that `npmmirror.cli.progress.Meter` shows.

    Raises:
        LockedError: a daemon, or another command, is at work.
        StorageError: there is no capture log, or the disk refuses.
    """
    refuse_half_reset(config.storage.data_dir)
    captures = config.storage.data_dir / "captures"
    if not any(captures.glob("*.log")):
        raise StorageError(f"there is no capture log in {captures}: nothing to make an index of")
    with DirectoryLock(config.storage.data_dir):
        return await _Rebuilding(config, captures, tell, clock or SystemClock()).run()


class _Rebuilding:
    """One run of it."""

    def __init__(self, config: Config, captures: Path, tell: Tell, clock: Clock) -> None:
        self._config = config
        self._captures = captures
        self._tell = tell
        self._clock = clock
        self._now = timestamp(clock.now())
        self._current = config.storage.index_path
        self._new = self._current.with_name(f"{self._current.name}.new")
        self._policy = read_policy(config.policy)
        self._rebuilt = Rebuilt()
        self._lost: dict[str, None] = {}

    async def run(self) -> Rebuilt:
        """Rebuild, then put the new index in its place."""
        started = self._clock.monotonic()
        async with AsyncExitStack() as stack:
            reader = stack.enter_context(CaptureReader(self._captures))
            index = await stack.enter_async_context(await self._begun(reader))
            mark = await index.last_mark()
            after = mark.place if mark is not None else None
            archive = stack.enter_context(self._open_log(after or await self._committed()))
            view = await stack.enter_async_context(await IndexReader.open(self._new))
            await self._replay(index, reader, archive, after)
            await self._judge_again(index, reader)
            await self._take_over(index)
            await self._look_at_files(index, view, reader, archive)
            await index.take_bearings(self._now)
            await index.forget_resumption(COMMAND)
            self._rebuilt.status = await view.status()
        kept = self._current.with_name(f"{self._current.name}.before-reindex")
        self._rebuilt.kept = swapping.swap(self._new, self._current, kept)
        self._rebuilt.seconds = self._clock.monotonic() - started
        return self._rebuilt

    async def _begun(self, reader: CaptureReader) -> IndexWriter:
        """The new index: what an earlier start left, where it is of use, else an empty one."""
        if self._new.exists():
            left = await self._left(reader)
            if left is not None:
                return left
        swapping.remove(self._new)
        index = await IndexWriter.open(self._new, lazy=True)
        await self._note_progress(index)
        return index

    @property
    def _manner(self) -> str:
        """What the new index depends on beside the log."""
        return f"{__version__} {self._policy.digest}"

    async def _note_progress(self, index: IndexWriter) -> None:
        """Keep what was found with what was made, for a next start."""
        found = [asdict(finding) for finding in self._rebuilt.damaged]
        place = orjson.dumps({"manner": self._manner, "damages": found}).decode()
        await index.note_resumption(Resumption(COMMAND, self._now, place))

    async def _left(self, reader: CaptureReader) -> IndexWriter | None:
        try:
            index = await IndexWriter.open(self._new, lazy=True)
        except StorageError:
            return None
        try:
            if await self._fits(index, reader):
                return index
        except StorageError:
            pass  # damaged after all: begun anew
        await index.close()
        return None

    async def _fits(self, index: IndexWriter, reader: CaptureReader) -> bool:
        """Whether this program began the new index, and the log holds what it is made of."""
        note, mark = await index.resumption(COMMAND), await index.last_mark()
        if note is None or mark is None:
            return False
        before = orjson.loads(note.place)
        if before["manner"] != self._manner:
            return False
        if await index.newest_ordinal() != mark.ordinal:
            return False
        try:
            record = reader.record(mark.place)
        except CaptureDamagedError:
            return False
        if (record.ordinal, record.hash) != (mark.ordinal, mark.header_sha256):
            return False
        self._rebuilt.resumed_at = mark.ordinal
        for finding in before["damages"]:
            self._note(Finding(**finding))
        return True

    async def _committed(self) -> Location | None:
        """The last mark of the index before: what lies before it is no torn tail."""
        try:
            async with await IndexReader.open(self._current, connections=1) as before:
                mark = await before.last_mark()
        except StorageError:
            return None
        return mark.place if mark is not None else None

    def _open_log(self, committed: Location | None) -> CaptureLog:
        archive = CaptureLog.open(
            self._captures,
            segment_bytes=self._config.storage.segment_bytes,
            committed=committed,
        )
        self._rebuilt.set_aside = archive.set_aside
        return archive

    async def _replay(
        self,
        index: IndexWriter,
        reader: CaptureReader,
        archive: CaptureLog,
        after: Location | None,
    ) -> None:
        """Index everything behind a place. A log whose last group has no mark is given one."""
        replay = Replay(
            index,
            reader,
            Examiner(reader, PayloadEncoder()),
            self._policy,
            self._now,
            batch_bytes=BATCH_BYTES,
            tell=lambda unusable: self._note(Finding.of(unusable)),
        )
        meter = _Gauge(self._captures, self._tell, self._clock)
        noted = self._rebuilt.damaged_count
        for found in reader.scan(after):
            if isinstance(found, Damage):
                self._note(Finding.of(found))
            else:
                meter.pass_by(found.place, replay.records)
                await replay.take(found)
            if noted != self._rebuilt.damaged_count:
                noted = self._rebuilt.damaged_count
                await self._note_progress(index)
        await replay.flush()
        if replay.unsealed:
            await replay.commit(seal(archive, await index.marked_cursor(), self._now))
        self._rebuilt.records += replay.records
        self._rebuilt.bytes = meter.total

    async def _judge_again(self, index: IndexWriter, reader: CaptureReader) -> None:
        """Versions whose key was not known, by the keys that came later."""

        async def read(row: Unjudged, call: Callable[[Packument], Judgement]) -> Judgement:
            return call(Packument.parse(reader.document(row.place), name=row.name))

        stored = await index.do(signing.keys)
        await judge_again(index, index.do, parsed(stored), read)

    def _note(self, finding: Finding) -> None:
        """Remember what is lost, and of which package: its document is to be fetched again."""
        self._rebuilt.add(finding)
        if finding.package is not None:
            self._lost[finding.package] = None

    async def _take_over(self, index: IndexWriter) -> None:
        """What the archive does not tell: from the index before, as far as it can be believed."""
        await index.drop_unwanted()
        await index.do(partial(signing.put_missing, reason=ATTESTATION, at=self._now))
        agrees = await index.carry(self._current) if self._current.exists() else None
        if agrees is not None:
            self._rebuilt.carried = "all" if agrees else "some"
        await index.commit(
            Group(
                work_put=tuple(
                    WorkItem(name, PACKUMENT, "damaged_capture", self._now, since=self._now)
                    for name in self._lost
                )
            )
        )

    async def _look_at_files(
        self, index: IndexWriter, view: IndexReader, reader: CaptureReader, archive: CaptureLog
    ) -> None:
        """Have files that are missing fetched again, unless it is their disk that is."""
        packages = self._config.storage.packages_path
        files = await held_files.look(view, index, packages, self._now)
        self._rebuilt.files = files
        if not files.missing_count or files.too_many or files.unreachable is not None:
            return
        try:
            await self._drop_missing(index, view, reader, archive)
        except DiskFaultError as fault:
            files.unreachable = str(fault)

    async def _drop_missing(
        self, index: IndexWriter, view: IndexReader, reader: CaptureReader, archive: CaptureLog
    ) -> None:
        """The log says first that they are held no longer; the index reads it there."""
        async with aclosing(held_files.pages(view, self._config.storage.packages_path)) as pages:
            async for page in pages:
                missing = [file for file, result in page.wrong if result == "missing"]
                for file in missing:
                    archive.append(
                        records.dropped(
                            self._now,
                            file.name,
                            version=file.version,
                            path=file.path,
                            reason="missing",
                        )
                    )
                if missing:
                    mark = await index.last_mark()
                    seal(archive, await index.marked_cursor(), self._now)
                    after = mark.place if mark is not None else None
                    await self._replay(index, reader, archive, after)


class _Gauge:
    """Tells every so often how much of the log was read."""

    def __init__(self, captures: Path, tell: Tell, clock: Clock) -> None:
        sizes = {int(path.stem): path.stat().st_size for path in captures.glob("*.log")}
        self._before = {number: sum(s for n, s in sizes.items() if n < number) for number in sizes}
        self.total = sum(sizes.values())
        self._tell = tell
        self._clock = clock
        self._told = clock.monotonic()

    def pass_by(self, place: Location, records_done: int) -> None:
        """The reading is at this place."""
        now = self._clock.monotonic()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            self._tell(
                {
                    "phase": "reindex",
                    "done": records_done,
                    "total": None,
                    "bytes": self._before.get(place.segment, 0) + place.offset,
                    "total_bytes": self.total,
                }
            )
