"""The capture log: its chain, and its records held against the index in both directions."""

from collections.abc import Iterator, Sequence
from itertools import islice

from npmmirror.archive import Damage
from npmmirror.capture import Kind, Location, Record
from npmmirror.daemon.verification.bench import Bench, Ticker
from npmmirror.daemon.verification.tally import Tally, What
from npmmirror.index import Mark, StoredRow
from npmmirror.sqlite import storable

BATCH = 500
ROWS = 1000


class Ordinals:
    """A set of ordinals in an eighth of a byte each."""

    def __init__(self, last: int) -> None:
        self._bits = bytearray(last // 8 + 1)
        self._last = last

    def add(self, first: int, count: int = 1) -> None:
        """Put ordinals in; those behind the last are passed over."""
        for ordinal in range(first, min(first + count, self._last + 1)):
            self._bits[ordinal >> 3] |= 1 << (ordinal & 7)

    def __contains__(self, ordinal: int) -> bool:
        """Whether an ordinal, not behind the last, is in."""
        return bool(self._bits[ordinal >> 3] & 1 << (ordinal & 7))


class CaptureCheck:
    """Walks through the whole log once.

    Only what the index took in before that is held against it: behind its last mark a running
    daemon writes.
    """

    def __init__(self, bench: Bench, tally: Tally, ticker: Ticker) -> None:
        self._bench = bench
        self._tally = tally
        self._ticker = ticker

    async def run(self) -> None:
        """Do it."""
        mark = await self._bench.reader.last_mark()
        if mark is None:
            return
        seen = Ordinals(mark.ordinal)
        scan = self._bench.captures.scan()
        while batch := await self._bench.threads.run(_some, scan):
            records = self._taken(batch, mark, seen)
            await self._against_rows(records)
            await self._against_revisions(records)
            self._ticker.tick("captures", self._tally.records, mark.ordinal)
        await self._rows_without_record(mark, seen)

    def _taken(self, batch: Sequence[Record | Damage], mark: Mark, seen: Ordinals) -> list[Record]:
        """The sound records that the index should know; damage is noted."""
        records = []
        for item in batch:
            if isinstance(item, Damage):
                self._damaged(item, mark, seen)
                continue
            self._tally.records += 1
            if item.ordinal <= mark.ordinal:
                seen.add(item.ordinal)
                records.append(item)
        return records

    def _damaged(self, damage: Damage, mark: Mark, seen: Ordinals) -> None:
        if damage.ordinal is not None:
            # What was there is named once, not again for each of its rows.
            seen.add(damage.ordinal, damage.count)
        # Behind the mark it is a record that is just being written, or the trace of a kill.
        behind = (damage.segment, damage.offset) > (mark.place.segment, mark.place.offset)
        if not (damage.tail and behind):
            self._tally.find(What.CAPTURE_DAMAGED, package=damage.name, detail=str(damage.error()))

    async def _against_rows(self, records: Sequence[Record]) -> None:
        told = [
            record
            for record in records
            if record.kind in {Kind.TARBALL, Kind.DROPPED} and "version" in record.facts
        ]
        rows = await self._bench.reader.stored([_key(record) for record in told])
        for record in told:
            name, version = _key(record)
            what = _difference(record, rows.get((name, version)))
            if what is not None:
                self._tally.find(
                    what, package=name, version=version, detail=f"record {record.ordinal}"
                )

    async def _against_revisions(self, records: Sequence[Record]) -> None:
        documents = [
            record for record in records if record.kind is Kind.PACKUMENT and not record.erased
        ]
        rows = await self._bench.reader.revisions_at([record.ordinal for record in documents])
        for record in documents:
            row = rows.get(record.ordinal)
            if row is None or row != _told(record):
                what = What.NOT_INDEXED if row is None else What.INDEX_DIFFERS
                self._tally.find(what, package=record.name, detail=f"record {record.ordinal}")

    async def _rows_without_record(self, mark: Mark, seen: Ordinals) -> None:
        after = ("", "")
        while rows := await self._bench.reader.all_stored(after, ROWS):
            after = (rows[-1].name, rows[-1].version)
            for row in rows:
                if row.ordinal is None or (row.ordinal <= mark.ordinal and row.ordinal not in seen):
                    self._tally.find(
                        What.NOT_RECORDED,
                        package=row.name,
                        version=row.version,
                        path=row.path,
                        detail=f"record {row.ordinal}",
                    )


def _some(scan: Iterator[Record | Damage]) -> list[Record | Damage]:
    """In a thread: the next items, each read and checked on the way."""
    return list(islice(scan, BATCH))


def _key(record: Record) -> tuple[str, str]:
    return record.name or "", str(record.facts["version"])


def _told(record: Record) -> tuple[str, str | None, Location]:
    return storable(record.name or ""), record.sha256, record.place


def _difference(record: Record, row: StoredRow | None) -> What | None:
    """How a row contradicts a record of its file; a later record may have changed it rightly."""
    if row is None or row.ordinal is None or row.ordinal < record.ordinal:
        return What.NOT_INDEXED
    if row.ordinal > record.ordinal:
        return None
    facts = record.facts
    if record.kind is Kind.DROPPED:
        same = row.state == "dropped"
    else:
        told = (facts["path"], facts["size"], facts["sha512"])
        same = row.held and (row.path, row.size, row.sha512) == told
    return None if same else What.INDEX_DIFFERS
