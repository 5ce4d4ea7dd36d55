import errno
import os
from pathlib import Path

import pytest

from npmmirror.archive import CaptureLog, CaptureReader, Damage, DiskFaultError, records
from npmmirror.archive.segments import segment_path
from npmmirror.capture import Kind, Record
from tests.archive.history import AT, History, document


def _scan(directory: Path) -> list[Record]:
    with CaptureReader(directory) as reader:
        found = list(reader.scan())
    assert not [item for item in found if isinstance(item, Damage)]
    return [item for item in found if isinstance(item, Record)]


def _mark(log: CaptureLog, at: str = AT, cursor: int = 0) -> str:
    appended = log.append(records.mark(at, cursor=cursor))
    log.write()
    log.sync()
    return appended.at


def test_a_new_log_begins_with_a_genesis_record(tmp_path: Path) -> None:
    """Ordinal 1 names the format and a random identity, whoever writes first."""
    with CaptureLog.open(tmp_path / "captures") as log:
        assert log.tip.ordinal == 0
        _mark(log)
    first, mark = _scan(tmp_path / "captures")
    assert (first.ordinal, first.kind, first.facts["format"]) == (1, Kind.GENESIS, 1)
    assert len(first.facts["mirror"]) == 32
    assert (mark.ordinal, mark.kind) == (2, Kind.MARK)


def test_records_come_back_as_they_were_appended(tmp_path: Path) -> None:
    """Kind, time, name, facts and payload of a record are those of the header."""
    history = History.at(tmp_path)
    appended = history.capture("@scope/näme\ud800", document(3))
    record = history.reader.record(appended.place)
    assert (record.ordinal, record.kind, record.at) == (2, Kind.PACKUMENT, AT)
    assert record.name == "@scope/näme\ud800"
    assert record.facts["seq"] == 123_456_789
    assert "announced" not in record.facts
    assert record.length == len(document(3))
    history.close()


def test_nothing_is_on_disk_before_write(tmp_path: Path) -> None:
    """Appending gathers in memory."""
    with CaptureLog.open(tmp_path) as log:
        log.append(records.mark(AT, cursor=1))
        assert not list(tmp_path.iterdir())


def test_the_time_of_a_mark_never_goes_back(tmp_path: Path) -> None:
    """A clock that jumps back leaves the time of the mark before, also over a restart."""
    with CaptureLog.open(tmp_path) as log:
        assert _mark(log, "2026-11-20T10:00:05.000000Z") == "2026-11-20T10:00:05.000000Z"
        assert _mark(log, "2026-11-20T09:00:00.000000Z") == "2026-11-20T10:00:05.000000Z"
    with CaptureLog.open(tmp_path) as log:
        assert log.committed_at == "2026-11-20T10:00:05.000000Z"
        assert _mark(log, "2026-11-19T00:00:00.000000Z") == "2026-11-20T10:00:05.000000Z"
        assert _mark(log, "2026-11-21T00:00:00.000000Z") == "2026-11-21T00:00:00.000000Z"


def test_the_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    """A reopened log has the same tip, and the chain holds across."""
    with CaptureLog.open(tmp_path) as log:
        _mark(log)
        tip = log.tip
    with CaptureLog.open(tmp_path) as log:
        assert log.tip == tip
        _mark(log)
    assert [record.ordinal for record in _scan(tmp_path)] == [1, 2, 3]


def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    """Segments stay within their size, and the chain goes from one into the next."""
    history = History.at(tmp_path, segment_bytes=8_192)
    for versions in range(1, 40):
        history.capture("a", document(versions))
        history.mark()
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("*.log"))]
    assert len(sizes) > 4
    assert max(sizes) <= 8_192
    assert [record.ordinal for record in _scan(tmp_path)] == list(range(1, 80))
    for appended, raw in history.documents:
        assert history.reader.document(appended.place) == raw
    history.close()


def test_a_group_may_go_over_several_segments(tmp_path: Path) -> None:
    """One write takes a group into as many segments as it needs."""
    with CaptureLog.open(tmp_path, segment_bytes=1_000) as log:
        for cursor in range(30):
            log.append(records.mark(AT, cursor=cursor))
        log.write()
        log.sync()
    assert len(list(tmp_path.glob("*.log"))) > 3
    assert [record.facts.get("cursor") for record in _scan(tmp_path)] == [None, *range(30)]


def test_a_record_larger_than_a_segment_has_one_for_itself(tmp_path: Path) -> None:
    """The limit decides where a segment ends, not what it can hold."""
    history = History.at(tmp_path, segment_bytes=1_000)
    appended = history.capture("a", document(40))
    assert segment_path(tmp_path, appended.place.segment).stat().st_size > 1_000
    assert history.reader.document(appended.place) == document(40)
    history.close()


def test_the_time_of_the_last_mark_is_known_in_a_segment_without_one(tmp_path: Path) -> None:
    """The head of a segment tells the mark before it."""
    with CaptureLog.open(tmp_path, segment_bytes=600) as log:
        _mark(log, "2026-11-20T10:00:05.000000Z")
        log.append(records.decision(AT, what="noted", detail={"why": "x" * 600}))
        log.write()
        log.sync()
        tip = log.tip
    assert tip.end.segment > 1
    with CaptureLog.open(tmp_path) as log:
        assert log.tip == tip
        assert log.tip.mark == 2
        assert log.committed_at == "2026-11-20T10:00:05.000000Z"


def test_what_was_written_but_not_synced_is_kept_if_it_is_there(tmp_path: Path) -> None:
    """A kill between write and sync leaves complete records, which stand at the next start."""
    log = CaptureLog.open(tmp_path)
    log.append(records.mark(AT, cursor=7))
    log.write()
    log.close()
    with CaptureLog.open(tmp_path) as again:
        assert again.tip.ordinal == 2
        assert not again.set_aside


def test_rollback_forgets_everything_since_the_last_sync(tmp_path: Path) -> None:
    """The group can be appended again, and gets the same ordinals and places."""
    with CaptureLog.open(tmp_path, segment_bytes=600) as log:
        _mark(log)
        tip = log.tip
        first = [log.append(records.mark(AT, cursor=n)) for n in range(5)]
        log.write()
        log.rollback()
        assert log.tip == tip
        assert [log.append(records.mark(AT, cursor=n)) for n in range(5)] == first
        log.write()
        log.sync()
    assert [record.ordinal for record in _scan(tmp_path)] == list(range(1, 8))


def test_a_rolled_back_first_group_gets_its_genesis_again(tmp_path: Path) -> None:
    """Nothing of a new log's first group survives its rollback."""
    with CaptureLog.open(tmp_path) as log:
        log.append(records.mark(AT, cursor=1))
        log.write()
        log.rollback()
        assert log.tip.ordinal == 0
        _mark(log)
    assert [record.kind for record in _scan(tmp_path)] == [Kind.GENESIS, Kind.MARK]


def test_a_reader_survives_a_rollback(tmp_path: Path) -> None:
    """A reader that holds a segment open sees what is written there afterwards."""
    with CaptureLog.open(tmp_path, segment_bytes=300) as log, CaptureReader(tmp_path) as reader:
        _mark(log)
        place = log.append(records.mark(AT, cursor=1)).place
        log.write()
        assert reader.record(place).facts == {"cursor": 1}
        log.rollback()
        assert log.append(records.mark(AT, cursor=2)).place == place
        log.write()
        assert reader.record(place).facts == {"cursor": 2}


@pytest.mark.parametrize("call", ["pwritev", "fdatasync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_group_that_the_disk_refuses_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """A fault of write or sync is a DiskFaultError; after it the group goes in as if new."""

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with CaptureLog.open(tmp_path) as log:
        _mark(log)
        with monkeypatch.context() as broken:
            broken.setattr(os, call, refuse)
            with pytest.raises(DiskFaultError, match=os.strerror(code)):
                _mark(log)
        _mark(log)
    assert [record.ordinal for record in _scan(tmp_path)] == [1, 2, 3]


def test_a_failed_log_takes_no_write_before_it_is_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed sync nobody knows what is durable: a second sync must not claim it is."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    with CaptureLog.open(tmp_path) as log:
        log.append(records.mark(AT, cursor=1))
        log.write()
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", refuse)
            with pytest.raises(DiskFaultError):
                log.sync()
        with pytest.raises(RuntimeError, match="rolled back"):
            log.sync()


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    """On a file system that is really full, the group fails whole and goes in once there is room."""
    ballast = small_disk / "ballast"
    history = History.at(small_disk / "captures")
    history.capture("a", document(5))
    room = os.statvfs(small_disk)
    ballast.write_bytes(b"\0" * (room.f_bavail * room.f_frsize - 8_192))
    tip = history.log.tip
    with pytest.raises(DiskFaultError, match="No space left"):
        history.capture("b", os.urandom(100_000))
    history.log.rollback()
    assert history.log.tip == tip
    ballast.unlink()
    appended = history.capture("b", document(9))
    assert history.reader.document(appended.place) == document(9)
    history.close()


def test_a_log_that_another_program_wrote_to_is_refused(tmp_path: Path) -> None:
    """One writer: bytes that are not ours are never overwritten."""
    with CaptureLog.open(tmp_path) as log:
        _mark(log)
    with CaptureLog.open(tmp_path) as log, CaptureLog.open(tmp_path) as other:
        _mark(other)
        log.append(records.mark(AT, cursor=1))
        with pytest.raises(Exception, match="Another program"):
            log.write()


def test_the_order_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment is synced before the next is created, and each new name after its file."""
    done: list[str] = []
    real_open, real_sync, real_fsync = os.open, os.fdatasync, os.fsync

    def named(fd: int) -> str:
        return Path(f"/proc/self/fd/{fd}").readlink().name

    def opened(path: str | Path, flags: int, mode: int = 0o777) -> int:
        fd = real_open(path, flags, mode)
        if flags & os.O_CREAT:
            done.append(f"create {named(fd)}")
        return fd

    def synced(fd: int) -> None:
        done.append(f"sync {named(fd)}")
        real_sync(fd)

    def directory_synced(fd: int) -> None:
        done.append(f"sync {named(fd)}")
        real_fsync(fd)

    with CaptureLog.open(tmp_path / "captures", segment_bytes=450) as log:
        monkeypatch.setattr(os, "open", opened)
        monkeypatch.setattr(os, "fdatasync", synced)
        monkeypatch.setattr(os, "fsync", directory_synced)
        _mark(log)
    assert done == [
        "create 000001.log",
        "sync 000001.log",
        "sync captures",
        "create 000002.log",
        "sync 000002.log",
        "sync captures",
    ]


def test_a_record_tells_the_hash_that_the_next_one_vouches_with(tmp_path: Path) -> None:
    """The last record's hash is that of the tip."""
    with CaptureLog.open(tmp_path) as log:
        _mark(log)
        assert _scan(tmp_path)[-1].hash == log.tip.hash


def test_a_scan_goes_on_behind_a_place(tmp_path: Path) -> None:
    """`after` leaves out what is known, over segments too."""
    with CaptureLog.open(tmp_path, segment_bytes=900) as log:
        places = [log.append(records.mark(AT, cursor=n)).place for n in range(20)]
        log.write()
        with CaptureReader(tmp_path) as reader:
            for known in (0, 7, 19):
                found = [item for item in reader.scan(places[known]) if isinstance(item, Record)]
                assert [record.place for record in found] == places[known + 1 :]
