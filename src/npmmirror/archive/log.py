"""The capture log's one writer."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from npmmirror.archive import blanking
from npmmirror.archive.disk import Octets, make_directory, sync_directory, write_at
from npmmirror.archive.errors import disk_faults
from npmmirror.archive.framing import SEGMENT_HEADER_BYTES, SegmentHeader, pack_record
from npmmirror.archive.records import genesis
from npmmirror.archive.recovery import Recovered, Tip, recover
from npmmirror.archive.segments import segment_path
from npmmirror.capture import Appended, Kind, Location, NewRecord
from npmmirror.errors import StorageError
from npmmirror.failpoints import reach

SEGMENT_BYTES = 1 << 30


@dataclass(slots=True)
class _Run:
    """Bytes that go into one segment in one piece."""

    segment: int
    offset: int
    pieces: list[Octets] = field(default_factory=list)


class CaptureLog:
    """Appends records. One for each data directory, used by one thread at a time.

    A group is made durable by `append` for each record, then `write`, then `sync`. The order on
    disk: a segment is written and synced before the next one is created; the file before the
    directory that names it. If `write` or `sync` fails, `rollback` brings the log back to the last
    sync, and the group can be appended again.
    """

    def __init__(self, directory: Path, recovered: Recovered, *, segment_bytes: int) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._tip = self._synced = recovered.tip
        self.set_aside = recovered.set_aside
        self.damages = recovered.damages
        self._pending: list[_Run] = []
        self._file: tuple[int, int] | None = None
        self._new_name = False
        self._begun = 0
        self._failed = False

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        committed: Location | None = None,
    ) -> Self:
        """The log in a directory, which is created where it is missing.

        Complete records at the end are kept, whether or not the index knows them; an invalid tail
        is moved to `damaged/` (`set_aside`); damage among sound records is left (`damages`).
        `committed`, the place of the last mark that the index knows, saves reading what is before
        it. Documents that a killed `erase` was blanking are blanked first.

        Raises:
            DiskFaultError: the directory cannot be read or written.
        """
        with disk_faults(directory):
            make_directory(directory)
            sync_directory(directory.parent)  # a kill may have come just before
        blanking.finish(directory)
        return cls(directory, recover(directory, committed), segment_bytes=segment_bytes)

    @property
    def tip(self) -> Tip:
        """The end of the log, what is not yet written included."""
        return self._tip

    @property
    def committed_at(self) -> str:
        """The time of the last mark; "" where there is none."""
        return self._tip.mark_at

    def append(self, record: NewRecord) -> Appended:
        """Put a record at the end, in memory; `write` takes it to the file.

        A new log begins with a genesis record by itself. The time of a mark never goes back: it
        is that of the mark before it where the clock did.

        Raises:
            DiskFaultError: an earlier group failed and still cannot be rolled back.
        """
        if self._failed:
            self.rollback()
        if self._tip.ordinal == 0 and record.kind is not Kind.GENESIS:
            self.append(genesis(record.at))
        at = max(record.at, self._tip.mark_at) if record.kind is Kind.MARK else record.at
        tip = self._tip
        packed = pack_record(record, ordinal=tip.ordinal + 1, at=at, prev=tip.hash)
        self._run_for(packed.length).pieces.extend(packed.parts)
        place = self._tip.end
        end = Location(place.segment, place.offset + packed.length)
        self._tip = tip.advanced(record.kind, at, packed.header_hash, end)
        return Appended(self._tip.ordinal, place, at)

    def write(self) -> None:
        """Write what was appended, in one call a segment.

        Raises:
            DiskFaultError: nothing, or a part of it, was written: call `rollback`.
        """
        self._check_usable()
        self._guarded(self._write_pending)

    def sync(self) -> None:
        """Make what was written durable.

        Raises:
            DiskFaultError: nobody knows what of it is durable: call `rollback`.
        """
        self._check_usable()
        if self._pending:
            raise RuntimeError("sync before write")
        if self._tip != self._synced:
            self._guarded(self._sync_file)
            self._synced = self._tip
            reach("captures.synced")

    def rollback(self) -> None:
        """Forget everything since the last sync, in memory and on disk.

        Segments begun since then are left empty, to be filled by the next group: a reader may
        hold them open.

        Raises:
            DiskFaultError: the disk refuses this too. The log takes nothing until it succeeds.
        """
        self._failed = True
        with disk_faults(self._directory):
            self._close_file()
            end = self._synced.end
            for number in range(max(end.segment, 1), self._begun + 1):
                kept = end.offset if number == end.segment else 0
                os.truncate(segment_path(self._directory, number), kept)
        self._pending.clear()
        self._tip = self._synced
        self._failed = False

    def close(self) -> None:
        """Let go of the file. What was not synced may be there at the next start, or not."""
        self._close_file()

    def __enter__(self) -> Self:
        """The log itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()

    def _run_for(self, length: int) -> _Run:
        """Where a record of this length goes: a segment ends before it grows too large."""
        end = self._tip.end
        full = end.offset > SEGMENT_HEADER_BYTES and end.offset + length > self._segment_bytes
        if end.segment == 0 or full:
            return self._begin_segment(end.segment + 1)
        if not self._pending or self._pending[-1].segment != end.segment:
            self._pending.append(_Run(end.segment, end.offset))
        return self._pending[-1]

    def _begin_segment(self, number: int) -> _Run:
        tip = self._tip
        header = SegmentHeader(number, tip.ordinal + 1, tip.hash, tip.mark, tip.mark_at)
        run = _Run(number, 0, [header.pack()])
        self._pending.append(run)
        self._tip = replace(tip, end=Location(number, SEGMENT_HEADER_BYTES))
        return run

    def _write_pending(self) -> None:
        for run in self._pending:
            write_at(self._open_for(run), run.pieces, run.offset)
        self._pending.clear()
        reach("captures.written")

    def _open_for(self, run: _Run) -> int:
        """The file to write a run to. The segment before it is durable before it is created."""
        if self._file is not None and self._file[0] == run.segment:
            return self._file[1]
        self._sync_file()
        reach("captures.segment_synced")
        self._close_file()
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(segment_path(self._directory, run.segment), flags, 0o644)
        self._file = (run.segment, fd)
        self._begun = max(self._begun, run.segment)
        self._new_name = run.offset == 0
        reach("captures.segment_begun")
        if os.fstat(fd).st_size != run.offset:
            path = segment_path(self._directory, run.segment)
            raise StorageError(f"Another program has written to {path}.")
        return fd

    def _sync_file(self) -> None:
        if self._file is not None:
            os.fdatasync(self._file[1])
        if self._new_name:
            sync_directory(self._directory)
            self._new_name = False

    def _close_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file[1])

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            with disk_faults(self._directory):
                call()
        except BaseException:
            self._failed = True
            raise

    def _check_usable(self) -> None:
        if self._failed:
            raise RuntimeError("the capture log failed and was not rolled back")
