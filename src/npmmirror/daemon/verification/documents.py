"""Captured documents: each decoded, and its SHA-256 compared with the record's and the index's."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import anyio

from npmmirror.archive import (
    CaptureDamagedError,
    CaptureReader,
    DiskFaultError,
    ErasedError,
    OutOfMeansError,
)
from npmmirror.capture import Location
from npmmirror.daemon.verification.bench import Bench, Ticker, side_by_side
from npmmirror.daemon.verification.tally import Note, Tally, What
from npmmirror.sqlite import storable

BATCH = 100
_ERASED = "erased"
"""Blanked by the operator, and so no damage."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A row of the index about a document."""

    ordinal: int
    name: str
    sha256: str
    place: Location
    length: int


class DocumentCheck:
    """Reads all documents in the order of the log, or those of some packages."""

    def __init__(self, bench: Bench, tally: Tally, ticker: Ticker) -> None:
        self._bench = bench
        self._tally = tally
        self._ticker = ticker
        # Two of 100 MB at once, their bases included, would be too much for the daemon.
        self._large = anyio.Lock()

    async def run(self, packages: Sequence[str] | None, note: Note) -> None:
        """Do it; `note` is called where a later start may go on."""
        total = None if packages is not None else (await self._bench.reader.status()).revisions
        async for batch in self._batches(packages):
            problems = await side_by_side(batch, self._problem)
            for row, problem in zip(batch, problems, strict=True):
                self._note(row, problem)
            tally = self._tally
            tally.after = [str(batch[-1].ordinal)]
            self._ticker.tick("documents", tally.documents, total, tally.document_bytes)
            await note()

    async def _batches(self, packages: Sequence[str] | None) -> AsyncIterator[list[Captured]]:
        reader = self._bench.reader
        for name in packages or ():
            rows = await reader.revisions(name)
            found = [Captured(row.ordinal, name, row.sha256, row.place, row.length) for row in rows]
            for start in range(0, len(found), BATCH):
                yield found[start : start + BATCH]
        after = int(self._tally.after[0]) if self._tally.after else 0
        while packages is None and (told := await reader.revisions_after(after, BATCH)):
            after = told[-1][0]
            yield [Captured(*row) for row in told]

    async def _problem(self, row: Captured) -> str | None:
        if row.length < self._bench.large_bytes:
            return await self._bench.threads.run(_problem, self._bench.captures, row)
        async with self._large:
            return await self._bench.threads.run(_problem, self._bench.captures, row)

    def _note(self, row: Captured, problem: str | None) -> None:
        self._tally.documents += 1
        self._tally.document_bytes += row.length
        if problem == _ERASED:
            self._tally.erased += 1
        elif problem is not None:
            self._tally.find(What.DOCUMENT_UNREADABLE, package=row.name, detail=problem)


def _problem(captures: CaptureReader, row: Captured) -> str | None:
    """What is wrong with a document; None where it is sound; `_ERASED`."""
    try:
        record = captures.record(row.place)
        if (record.ordinal, record.sha256) != (row.ordinal, row.sha256):
            return f"record {record.ordinal} lies where the index has record {row.ordinal}"
        if storable(record.name or "") != storable(row.name):
            return f"record {record.ordinal} is of {record.name!r}"
        captures.document(row.place)
    except ErasedError:
        return _ERASED
    except OutOfMeansError:
        raise  # no document can be read just now, which says nothing of this one
    except (CaptureDamagedError, DiskFaultError, LookupError) as error:
        return str(error)
    return None
