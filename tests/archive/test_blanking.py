"""What `npmmirror erase` does to the bytes of closed segments."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from npmmirror.archive import (
    CaptureDamagedError,
    CaptureLog,
    CaptureReader,
    Damage,
    ErasedError,
    blank,
    blanking,
)
from npmmirror.archive.disk import write_at
from npmmirror.archive.segments import Segments, segment_path
from npmmirror.capture import Kind, Location, Record
from tests.archive.history import AT, History, document


class _Log:
    """Documents of two packages over several segments; those of `a` name somebody."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        history = History.at(directory, segment_bytes=4_000)
        for number in range(1, 12):
            for name, seed in (("a", 1), ("b", 2)):
                history.capture(name, document(number, seed=seed, manifest_bytes=800))
            history.capture("a", document(1, seed=1), stale=True)
            history.mark()
        self.raw = {appended.ordinal: raw for appended, raw in history.documents}
        history.close()
        self.before = self.files()
        self.records = self.scan()
        self.theirs = [one for one in self.records if one.name == "a"]

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.directory.iterdir()}

    def scan(self) -> list[Record]:
        with CaptureReader(self.directory) as reader:
            found = list(reader.scan())
        assert not [one for one in found if isinstance(one, Damage)]
        return [one for one in found if isinstance(one, Record)]

    def reopen(self) -> None:
        """As the next start does."""
        with CaptureLog.open(self.directory) as log:
            assert log.set_aside == ()
            assert log.damages == ()

    def assert_blanked(self) -> None:
        """The chain holds, all of `a` is gone, all of `b` reads as it was."""
        assert self.scan() == [
            replace(one, erased=True) if one.name == "a" else one for one in self.records
        ]
        with CaptureReader(self.directory) as reader:
            for one in self.records:
                if one.name == "a":
                    with pytest.raises(ErasedError):
                        reader.document(one.place)
                elif one.kind is Kind.PACKUMENT:
                    assert reader.document(one.place) == self.raw[one.ordinal]


@pytest.fixture
def log(tmp_path: Path) -> _Log:
    return _Log(tmp_path / "captures")


def places(records: Sequence[Record]) -> list[Location]:
    return [record.place for record in records]


def test_documents_are_gone_and_the_chain_holds(log: _Log) -> None:
    """Whole frames, deltas and stale ones; headers, ordinals and places stay."""
    blank(log.directory, places(log.theirs))
    log.assert_blanked()
    assert log.files().keys() == log.before.keys()


def test_only_frames_and_payloads_change(log: _Log) -> None:
    """Byte by byte: what is not of those records is as it was."""
    blank(log.directory, places(log.theirs))
    for name, before in log.before.items():
        after, theirs = log.files()[name], bytearray(before)
        assert len(after) == len(before)
        for one in log.theirs:
            if segment_path(log.directory, one.place.segment).name == name:
                start = one.place.offset
                header = int.from_bytes(before[start + 8 : start + 12], "little")
                payload = start + 32 + header
                theirs[start : start + 32] = after[start : start + 32]
                theirs[payload : payload + one.stored_length] = bytes(one.stored_length)
        assert after == theirs


def test_blanking_again_changes_nothing(log: _Log) -> None:
    """And records without a document have nothing to blank."""
    mark = log.records[-1]
    assert mark.kind is Kind.MARK
    blank(log.directory, places([*log.theirs, mark]))
    once = log.files()
    blank(log.directory, places([*log.theirs, mark]))
    assert log.files() == once
    log.assert_blanked()


@pytest.mark.parametrize("writes", range(0, 44, 6))
def test_a_kill_is_made_good_when_the_log_is_opened(
    log: _Log, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever write was the last: some are done, one is half done, the rest is not."""
    done = 0

    def dying(fd: int, pieces: list[bytes], offset: int) -> int:
        nonlocal done
        done += 1
        if done > writes:
            write_at(fd, [pieces[0][: len(pieces[0]) // 2]], offset)
            raise KeyboardInterrupt
        return write_at(fd, pieces, offset)

    with monkeypatch.context() as patched:
        patched.setattr(f"{blanking.__name__}.write_at", dying)
        with pytest.raises(KeyboardInterrupt):
            blank(log.directory, places(log.theirs))
    log.reopen()
    log.assert_blanked()
    assert log.files().keys() == log.before.keys()


def test_a_kill_before_the_plan_is_whole_leaves_all_as_it_was(
    log: _Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a plan is none."""

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            blank(log.directory, places(log.theirs))
    log.reopen()
    assert log.files() == log.before


def test_the_plan_is_durable_before_the_first_document_goes(
    log: _Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its data, then its name; the segments are synced before it is removed."""
    steps: list[str] = []
    monkeypatch.setattr("os.fsync", lambda _: steps.append("plan"))
    monkeypatch.setattr(f"{blanking.__name__}.sync_directory", lambda _: steps.append("name"))
    monkeypatch.setattr("os.fdatasync", lambda _: steps.append("segment"))
    monkeypatch.setattr(f"{blanking.__name__}.write_at", lambda *_: steps.append("write"))
    blank(log.directory, places(log.theirs[:1]))
    assert steps == ["plan", "name", "write", "write", "segment", "name"]


def test_a_damaged_record_is_named_and_nothing_is_blanked(log: _Log) -> None:
    """What a record's bytes are cannot be told then."""
    hit = log.theirs[3].place
    path = segment_path(log.directory, hit.segment)
    data = bytearray(path.read_bytes())
    data[hit.offset + 40] ^= 1
    path.write_bytes(data)
    before = log.files()
    with pytest.raises(CaptureDamagedError) as caught:
        blank(log.directory, places(log.theirs))
    assert (caught.value.segment, caught.value.offset) == (hit.segment, hit.offset)
    assert log.files() == before


def test_a_plan_of_another_log_blanks_nothing(log: _Log, tmp_path: Path) -> None:
    """An older copy of the segments was put back beside a plan: no header fits, none is touched."""
    other = History.at(tmp_path / "other")
    for number in range(1, 30):
        other.capture("c", document(number, seed=9))
    other.mark()
    other.close()
    before = segment_path(tmp_path / "other", 1).read_bytes()
    plan = [blanking._plan(Segments(log.directory), one.place) for one in log.theirs]
    blanking._write_plan(tmp_path / "other", [one for one in plan if one is not None])
    with CaptureLog.open(tmp_path / "other") as opened:
        assert opened.damages == ()
    assert segment_path(tmp_path / "other", 1).read_bytes() == before


def test_the_log_goes_on_behind_blanked_records(log: _Log) -> None:
    """A later document of the package is a whole frame, and reads."""
    blank(log.directory, places(log.theirs))
    history = History.at(log.directory)
    appended = history.capture("a", document(3, seed=1))
    history.mark()
    assert history.reader.document(appended.place) == document(3, seed=1)
    assert history.reader.record(appended.place).base is None
    history.close()
    assert log.scan()[-1].at == AT
