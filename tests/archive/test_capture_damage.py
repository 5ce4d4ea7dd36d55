import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from npmmirror.archive import CaptureDamagedError, CaptureReader, Damage, ErasedError, records
from npmmirror.archive.framing import FRAME_BYTES, Encoding, pack_frame, pack_record, unpack_frame
from npmmirror.archive.segments import segment_path
from npmmirror.capture import Chain, Location, Record
from tests.archive.history import AT, ENCODER, History, document


@dataclass
class _Log:
    directory: Path
    records: list[Record]
    documents: dict[int, bytes]

    def bytes_of(self, record: Record) -> range:
        """Where a record lies in its segment."""
        start = record.place.offset
        frame = unpack_frame(self.path(record).read_bytes()[start : start + FRAME_BYTES])
        return range(start, start + frame.length)

    def path(self, record: Record) -> Path:
        return segment_path(self.directory, record.place.segment)

    def scan(self) -> tuple[list[Record], list[Damage]]:
        with CaptureReader(self.directory) as reader:
            found = list(reader.scan())
        records = [item for item in found if isinstance(item, Record)]
        return records, [item for item in found if isinstance(item, Damage)]


@pytest.fixture
def log(tmp_path: Path) -> _Log:
    """A few small documents of two packages over three segments."""
    history = History.at(tmp_path, segment_bytes=2_600)
    for number in range(4):
        history.capture("a", document(number, manifest_bytes=700))
        history.capture("b", document(number, seed=3, manifest_bytes=700))
        history.mark()
    history.mark()
    records = [item for item in history.reader.scan() if isinstance(item, Record)]
    documents = {appended.ordinal: raw for appended, raw in history.documents}
    history.close()
    assert records[-1].place.segment > 2
    return _Log(tmp_path, records, documents)


def _flipped(path: Path, offsets: range, bit: int) -> Iterator[int]:
    """The file with one bit turned, at each offset in its turn; whole again at the end."""
    whole = path.read_bytes()
    for offset in offsets:
        data = bytearray(whole)
        data[offset] ^= 1 << bit
        path.write_bytes(data)
        yield offset
    path.write_bytes(whole)


def test_any_turned_bit_is_named_exactly(log: _Log) -> None:
    """Whichever byte of a record has a bit turned: segment, ordinal and package are told.

    All other records are found as they were.
    """
    hit = next(record for record in log.records if record.ordinal == 6)
    others = [record for record in log.records if record.ordinal != 6]
    for offset in _flipped(log.path(hit), log.bytes_of(hit), bit=5):
        records, damages = log.scan()
        (damage,) = damages
        assert (damage.segment, damage.offset) == (hit.place.segment, hit.place.offset), offset
        assert (damage.ordinal, damage.count, damage.name) == (6, 1, hit.name), offset
        assert not damage.tail
        assert records == others, offset


def test_a_turned_bit_at_the_end_of_a_segment_is_named_exactly(log: _Log) -> None:
    """The next segment's head vouches for a segment's last record."""
    second = next(index for index, r in enumerate(log.records) if r.place.segment == 2)
    hit = log.records[second - 1]
    for offset in _flipped(log.path(hit), log.bytes_of(hit), bit=0):
        _, (damage,) = log.scan()
        assert (damage.ordinal, damage.name, damage.tail) == (hit.ordinal, hit.name, False), offset


@pytest.mark.parametrize("bit", range(8))
def test_a_turned_bit_in_a_segments_head_is_told(log: _Log, bit: int) -> None:
    """The head is damaged, every record is there."""
    path = segment_path(log.directory, 2)
    for _ in _flipped(path, range(0, 256, 3), bit):
        records, damages = log.scan()
        assert records == log.records
        assert [(damage.segment, damage.offset) for damage in damages] == [(2, 0)]


def test_a_turned_bit_in_the_last_record_is_a_tail(log: _Log) -> None:
    """Nothing sound follows: it may as well be a record that is being written."""
    hit = log.records[-1]
    for _ in _flipped(log.path(hit), log.bytes_of(hit), bit=2):
        records, (damage,) = log.scan()
        assert damage.tail
        assert damage.ordinal == hit.ordinal
        assert records == log.records[:-1]


def test_a_record_that_is_cut_off_is_told_without_reading_on(log: _Log) -> None:
    """Lengths beyond the end of the file are never believed."""
    hit = log.records[-1]
    data = log.path(hit).read_bytes()
    log.path(hit).write_bytes(data[:-1])
    _, (damage,) = log.scan()
    assert damage.reason == "the record is cut off"


def test_damage_is_no_tail_where_more_segments_follow(log: _Log) -> None:
    """Even if the next one cannot say what came before it."""
    second = next(index for index, r in enumerate(log.records) if r.place.segment == 2)
    for record, offset in ((log.records[second - 1], -1), (log.records[second], 40)):
        span = log.bytes_of(record)
        data = bytearray(log.path(record).read_bytes())
        data[span[offset]] ^= 1
        if record.place.segment == 2:
            data[5] ^= 1
        log.path(record).write_bytes(data)
    records, damages = log.scan()
    assert len(damages) == 3
    assert not any(damage.tail for damage in damages)
    assert len(records) == len(log.records) - 2


def test_two_damaged_neighbours_are_told_apart(log: _Log) -> None:
    """Each is named by itself where their frames still tell where they end."""
    first, second = log.records[1:3]
    data = bytearray(log.path(first).read_bytes())
    for record in (first, second):
        data[log.bytes_of(record)[-1]] ^= 1
    log.path(first).write_bytes(data)
    records, damages = log.scan()
    assert [(damage.ordinal, damage.name) for damage in damages] == [(2, "a"), (3, "b")]
    assert len(records) == len(log.records) - 2


def test_a_lost_stretch_is_told_with_the_number_of_its_records(log: _Log) -> None:
    """Zeros over several records: how many are lost is known from the record behind."""
    first, last = log.records[2], log.records[4]
    data = bytearray(log.path(first).read_bytes())
    start, end = log.bytes_of(first).start, log.bytes_of(last).stop
    data[start:end] = bytes(end - start)
    log.path(first).write_bytes(data)
    records, (damage,) = log.scan()
    assert (damage.ordinal, damage.count, damage.end) == (3, 3, end)
    assert len(records) == len(log.records) - 3


def test_a_changed_header_breaks_the_chain(log: _Log) -> None:
    """Who rewrites a header, its checksum too, is found out by the record behind it."""
    hit = log.records[5]
    path = log.path(hit)
    data = bytearray(path.read_bytes())
    span = log.bytes_of(hit)
    frame = unpack_frame(bytes(data[span.start : span.start + FRAME_BYTES]))
    middle = span.start + FRAME_BYTES + frame.header_length
    header = bytes(data[span.start + FRAME_BYTES : middle]).replace(b'"seq":1', b'"seq":2')
    stored = bytes(data[middle : span.stop])
    made = pack_frame(header, stored, frame.encoding, frame.number, frame.base)
    data[span.start : span.stop] = made + header + stored
    path.write_bytes(data)
    records, (damage,) = log.scan()
    assert (damage.ordinal, damage.name) == (hit.ordinal, hit.name)
    assert "vouches for another header" in damage.reason
    assert len(records) == len(log.records)


def test_a_missing_segment_is_told(log: _Log) -> None:
    """The segments behind it are read all the same."""
    segment_path(log.directory, 2).unlink()
    records, (damage,) = log.scan()
    assert (damage.segment, damage.reason) == (2, "the segment is missing")
    assert records == [record for record in log.records if record.place.segment != 2]


def test_a_missing_first_segment_is_told(log: _Log) -> None:
    """A log that does not begin at its beginning is not taken for a whole one."""
    segment_path(log.directory, 1).unlink()
    records, damages = log.scan()
    assert (damages[0].segment, damages[0].ordinal) == (1, 1)
    assert records == [record for record in log.records if record.place.segment != 1]


def test_a_record_forged_inside_a_document_is_not_taken_for_one(tmp_path: Path) -> None:
    """Where a frame's lengths are damaged the next record is searched for, and this is none."""
    forged = pack_record(records.mark(AT, cursor=666), ordinal=3, at=AT, prev="0" * 64)
    dice = random.Random(1)
    raw = dice.randbytes(3_000) + b"".join(forged.parts) + dice.randbytes(3_000)
    history = History.at(tmp_path)
    history.capture("evil", raw)
    history.mark()
    history.capture("good", document(3))
    found = list(history.reader.scan())
    history.close()
    path = segment_path(tmp_path, 1)
    assert b"".join(forged.parts) in path.read_bytes()
    data = bytearray(path.read_bytes())
    data[history.documents[0][0].place.offset + 12] ^= 1
    path.write_bytes(data)
    with CaptureReader(tmp_path) as reader:
        first, damage, *rest = reader.scan()
    assert isinstance(damage, Damage)
    assert (damage.ordinal, damage.name) == (2, "evil")
    assert [first, *rest] == [found[0], *found[2:]]


def test_reading_a_damaged_record_names_it(log: _Log) -> None:
    """Segment, ordinal and package stand in the error, found from the records around."""
    hit = log.records[5]
    with CaptureReader(log.directory) as reader:
        for offset in _flipped(log.path(hit), log.bytes_of(hit), bit=7):
            with pytest.raises(CaptureDamagedError) as caught:
                reader.record(hit.place)
            assert (caught.value.ordinal, caught.value.name) == (6, hit.name), offset
            assert f"record 6 ({hit.name})" in str(caught.value)


def test_a_document_whose_base_is_damaged_names_the_base(log: _Log) -> None:
    """What is broken is told, not what could not be read because of it."""
    revision = next(record for record in log.records if record.base is not None)
    base = next(record for record in log.records if record.place == revision.base)
    data = bytearray(log.path(base).read_bytes())
    data[log.bytes_of(base)[-1]] ^= 1
    log.path(base).write_bytes(data)
    with CaptureReader(log.directory) as reader:
        with pytest.raises(CaptureDamagedError) as caught:
            reader.document(revision.place)
        assert (caught.value.ordinal, caught.value.name) == (base.ordinal, base.name)


def test_documents_beside_a_damage_are_read(log: _Log) -> None:
    """A damaged record takes no other package with it."""
    hit = log.records[4]
    data = bytearray(log.path(hit).read_bytes())
    data[log.bytes_of(hit)[-1]] ^= 1
    log.path(hit).write_bytes(data)
    with CaptureReader(log.directory) as reader:
        for record in log.records:
            if record.ordinal in log.documents and record.name != hit.name:
                assert reader.document(record.place) == log.documents[record.ordinal]


@pytest.mark.parametrize("place", [Location(1, 5), Location(1, 10**9), Location(77, 256)])
def test_a_place_without_a_record_is_refused(log: _Log, place: Location) -> None:
    """An index of another log is told from damage by nothing: it is an error all the same."""
    with CaptureReader(log.directory) as reader, pytest.raises(CaptureDamagedError):
        reader.record(place)


def test_an_erased_document_is_told_from_a_damaged_one(log: _Log) -> None:
    """Blanked bytes leave the chain as it is; the document, and its deltas, raise ErasedError."""
    revision = next(record for record in log.records if record.base is not None)
    base = next(record for record in log.records if record.place == revision.base)
    path, span = log.path(base), log.bytes_of(base)
    data = bytearray(path.read_bytes())
    frame = unpack_frame(bytes(data[span.start : span.start + FRAME_BYTES]))
    middle = span.start + FRAME_BYTES + frame.header_length
    header, blank = bytes(data[span.start + FRAME_BYTES : middle]), bytes(frame.stored_length)
    data[span.start : span.stop] = (
        pack_frame(header, blank, Encoding.ERASED, 0, None) + header + blank
    )
    path.write_bytes(data)
    records, damages = log.scan()
    assert not damages
    assert [record.ordinal for record in records if record.erased] == [base.ordinal]
    with CaptureReader(log.directory) as reader:
        with pytest.raises(ErasedError, match=f"Record {base.ordinal}"):
            reader.document(base.place)
        with pytest.raises(ErasedError, match="delta"):
            reader.document(revision.place)


def test_a_document_that_is_not_what_its_header_tells_is_refused(tmp_path: Path) -> None:
    """A payload that was exchanged, its checksum too, is found out by the SHA-256."""
    history = History.at(tmp_path)
    payload = ENCODER.encode(document(3), None, history.reader)
    wrong = replace(payload, sha256=hashlib.sha256(b"another").hexdigest())
    place = history.log.append(records.packument(AT, "a", wrong)).place
    history.log.write()
    with pytest.raises(CaptureDamagedError, match=r"record 2 \(a\): its document has another"):
        history.reader.document(place)
    history.close()


def test_a_chain_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    """Nine frames are none of ours, and a circle of bases would have no end."""
    history = History.at(tmp_path)
    places: list[Location] = []
    for number in range(9):
        chain = Chain(0, {0: places[-1]}) if places else None
        payload = ENCODER.encode(document(20 + number), chain, history.reader)
        places.append(history.log.append(records.packument(AT, "a", payload)).place)
        history.log.write()
    assert history.reader.document(places[7]) == document(27)
    with pytest.raises(CaptureDamagedError, match="more than 8 frames"):
        history.reader.document(places[8])
    history.close()


def test_a_record_without_a_document_has_none(log: _Log) -> None:
    """Asking a mark for its document is a mistake of the caller."""
    mark = next(record for record in log.records if record.kind == "mark")
    with CaptureReader(log.directory) as reader, pytest.raises(LookupError):
        reader.document(mark.place)
