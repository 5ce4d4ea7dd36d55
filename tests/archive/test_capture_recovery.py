import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.archive import MAX_FRAMES, CaptureLog, CaptureReader, Damage, records
from npmmirror.archive.segments import segment_path
from npmmirror.capture import Record
from tests.archive.history import AT, History, document


def _flip(path: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def _groups(directory: Path, count: int) -> list[Record]:
    """A log of so many groups of three records each; its records."""
    history = History.at(directory)
    for number in range(count):
        history.capture("a", document(number + 3))
        history.capture("b", document(number + 3, seed=7))
        history.mark()
    found = [item for item in history.reader.scan() if isinstance(item, Record)]
    history.close()
    return found


_DOCUMENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "B", "@s/c"]),
        st.integers(0, 12),
        st.integers(0, 2),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(story=_DOCUMENTS, segment_bytes=st.integers(500, 30_000), cut=st.floats(0, 1))
def test_any_history_cut_anywhere(
    story: list[tuple[str, int, int, bool, bool]], segment_bytes: int, cut: float
) -> None:
    """Every revision is read back from eight frames at most, and what was cut off is set aside.

    After the last segment is cut at any byte, a reopened log holds exactly the complete records.
    """
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        history = History.at(directory, segment_bytes)
        for name, versions, seed, stale, marked in story:
            history.capture(name, document(versions, seed=seed), stale=stale)
            if marked:
                history.mark()
        _check_documents(history)
        _check_cut(directory, segment_bytes, cut)
        history.close()


def _check_documents(history: History) -> None:
    for appended, raw in history.documents:
        before = history.reader.frames_read
        assert history.reader.document(appended.place) == raw
        assert history.reader.frames_read - before <= MAX_FRAMES
    found = list(history.reader.scan())
    assert not [item for item in found if isinstance(item, Damage)]
    assert len(found) == history.log.tip.ordinal


def _check_cut(directory: Path, segment_bytes: int, cut: float) -> None:
    with CaptureReader(directory) as reader:
        records_before = [item for item in reader.scan() if isinstance(item, Record)]
    last = max(directory.glob("*.log"))
    whole = last.read_bytes()
    length = round(cut * len(whole))
    last.write_bytes(whole[:length])
    number = int(last.stem)
    kept = [
        record
        for record in records_before
        if record.place.segment < number or _end(record, whole) <= length
    ]
    with CaptureLog.open(directory, segment_bytes=segment_bytes) as log:
        assert log.tip.ordinal == (kept[-1].ordinal if kept else 0)
        assert sum(aside.length for aside in log.set_aside) + last.stat().st_size == length
        for aside in log.set_aside:
            assert aside.path.read_bytes() == whole[aside.offset : length]
        log.append(records.mark(AT, cursor=1))
        log.write()
        log.sync()
    with CaptureReader(directory) as reader:
        found = list(reader.scan())
    assert [item for item in found if isinstance(item, Record)][: len(kept)] == kept
    assert not [item for item in found if isinstance(item, Damage)]


def _end(record: Record, segment: bytes) -> int:
    start = record.place.offset
    header = int.from_bytes(segment[start + 8 : start + 12], "little")
    return start + 32 + header + record.stored_length


@pytest.mark.parametrize("length", [0, 1, 255])
def test_a_segment_whose_head_was_cut_is_begun_again(tmp_path: Path, length: int) -> None:
    """A kill while a segment was begun leaves no trace but the bytes set aside."""
    with CaptureLog.open(tmp_path, segment_bytes=450) as log:
        log.append(records.mark(AT, cursor=1))
        log.write()
        log.sync()
    second = segment_path(tmp_path, 2)
    second.write_bytes(second.read_bytes()[:length])
    with CaptureLog.open(tmp_path, segment_bytes=450) as log:
        assert log.tip.ordinal == 1
        assert [aside.length for aside in log.set_aside] == ([length] if length else [])
        assert log.append(records.mark(AT, cursor=2)).place.segment == 2
        log.write()
        log.sync()
    with CaptureReader(tmp_path) as reader:
        assert [item.ordinal for item in reader.scan()] == [1, 2]


def test_a_segment_with_nothing_but_its_head_goes_on(tmp_path: Path) -> None:
    """A head alone is a segment that was begun."""
    with CaptureLog.open(tmp_path, segment_bytes=450) as log:
        log.append(records.mark(AT, cursor=1))
        log.write()
        log.sync()
    second = segment_path(tmp_path, 2)
    second.write_bytes(second.read_bytes()[:256])
    with CaptureLog.open(tmp_path, segment_bytes=450) as log:
        assert log.tip.ordinal == 1
        assert not log.set_aside
        assert log.append(records.mark(AT, cursor=2)).place.offset == 256


def test_a_torn_last_group_is_cut_where_it_is_torn(tmp_path: Path) -> None:
    """Lost power may leave later pages of a group and not earlier ones: all behind goes aside."""
    groups = _groups(tmp_path, 3)
    path = segment_path(tmp_path, 1)
    torn = groups[-2]
    data = bytearray(path.read_bytes())
    data[torn.place.offset + 40 : torn.place.offset + 80] = bytes(40)
    path.write_bytes(data)
    with CaptureLog.open(tmp_path) as log:
        assert log.tip.ordinal == torn.ordinal - 1
        assert [aside.offset for aside in log.set_aside] == [torn.place.offset]
        assert not log.damages


def test_damage_before_a_finished_group_is_left_where_it_is(tmp_path: Path) -> None:
    """What a later group follows was synced once: its damage is told, and nothing is cut off."""
    groups = _groups(tmp_path, 3)
    hit = groups[2]
    _flip(segment_path(tmp_path, 1), hit.place.offset + 60)
    with CaptureLog.open(tmp_path) as log:
        assert log.tip.ordinal == groups[-1].ordinal
        assert not log.set_aside
        assert [(damage.ordinal, damage.name) for damage in log.damages] == [(hit.ordinal, "b")]


def test_damage_that_the_index_vouches_for_is_left_where_it_is(tmp_path: Path) -> None:
    """With the index's last mark, damage in the last group is known to be no torn write."""
    groups = _groups(tmp_path, 2)
    path = segment_path(tmp_path, 1)
    _flip(path, groups[-2].place.offset + 60)
    # Behind the mark the walk begins: what is before it is left to `verify`.
    with CaptureLog.open(tmp_path, committed=groups[-1].place) as log:
        assert log.tip.ordinal == groups[-1].ordinal
        assert not log.set_aside
    with CaptureLog.open(tmp_path) as log:
        assert log.tip.ordinal == groups[-3].ordinal


def test_what_was_committed_is_not_read_again(tmp_path: Path) -> None:
    """Opening begins at the index's last mark, and finds the records behind it."""
    groups = _groups(tmp_path, 3)
    marks = [record for record in groups if record.kind == "mark"]
    with CaptureLog.open(tmp_path, committed=marks[1].place) as log:
        assert log.tip.ordinal == groups[-1].ordinal
        assert log.tip.mark == marks[2].ordinal


def test_what_was_not_synced_is_synced_when_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that a kill left unsynced are indexed next: they are made durable before."""
    log = CaptureLog.open(tmp_path)
    log.append(records.mark(AT, cursor=1))
    log.write()
    log.close()
    synced: list[str] = []
    for name in ("fdatasync", "fsync"):
        monkeypatch.setattr(
            os, name, lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        )
    CaptureLog.open(tmp_path).close()
    assert synced[-2:] == ["000001.log", tmp_path.name]


def test_two_tails_of_the_same_place_are_both_kept(tmp_path: Path) -> None:
    """What was set aside once is never overwritten."""
    groups = _groups(tmp_path, 1)
    path = segment_path(tmp_path, 1)
    whole = path.read_bytes()
    for junk in (b"first", b"second"):
        path.write_bytes(whole + junk)
        CaptureLog.open(tmp_path).close()
    assert path.read_bytes() == whole
    kept = sorted(each.read_bytes() for each in (tmp_path / "damaged").iterdir())
    assert kept == [b"first", b"second"]
    assert len(groups) == 4
