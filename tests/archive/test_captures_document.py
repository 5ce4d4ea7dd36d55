"""`docs/captures.md` is held against the log that the mirror writes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from npmmirror.archive import framing, records
from npmmirror.archive.segments import segment_path
from npmmirror.capture import Kind, Payload
from npmmirror.outcome import Digests, HeldTarball
from tests.archive.history import AT, History, document

PAGE = (Path(__file__).parents[2] / "docs" / "captures.md").read_text()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader of the page, as a program."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert program.count("\n") <= 40
    path = tmp_path_factory.mktemp("reader") / "reader.py"
    path.write_text(program)
    return path


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A log of several segments, deltas and stale documents in it."""
    history = History.at(tmp_path_factory.mktemp("log") / "captures", segment_bytes=6_000)
    for versions in range(1, 20):
        history.capture("@scope/a", document(versions))
        history.capture("b", document(versions, seed=5))
        history.mark()
    history.capture("b", document(3, seed=5), stale=True)
    history.mark()
    history.close()
    return history


def _run(reader: Path, history: History, *ordinals: int) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(reader), str(_directory(history)), *map(str, ordinals)]
    return subprocess.run(command, check=False, capture_output=True)


def _directory(history: History) -> Path:
    return history.reader._segments.directory


def test_the_reader_lists_all_records(reader: Path, history: History) -> None:
    """Every ordinal, with its kind and name, out of all segments."""
    done = _run(reader, history)
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert [int(line[0]) for line in lines] == list(range(1, history.log.tip.ordinal + 1))
    assert lines[1][1:] == [AT, "packument", '"@scope/a"']
    assert done.returncode == 0


def test_the_reader_gives_any_document(reader: Path, history: History) -> None:
    """Whole, delta, deep delta and stale: byte for byte."""
    for appended, raw in history.documents[::7] + history.documents[-1:]:
        assert _run(reader, history, appended.ordinal).stdout == raw


def test_the_reader_finds_a_changed_header(reader: Path, history: History, tmp_path: Path) -> None:
    """A header that was rewritten with a right checksum breaks the chain."""
    copy = tmp_path / "captures"
    copy.mkdir()
    for path in _directory(history).glob("*.log"):
        (copy / path.name).write_bytes(path.read_bytes())
    path = segment_path(copy, 1)
    data = bytearray(path.read_bytes())
    frame = framing.unpack_frame(bytes(data[256 : 256 + framing.FRAME_BYTES]))
    start = 256 + framing.FRAME_BYTES
    header = bytes(data[start : start + frame.header_length]).replace(b'"format":1', b'"format":2')
    made = framing.pack_frame(header, b"", framing.Encoding.NONE, 0, None)
    data[256 : 256 + frame.length] = made + header
    path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, str(reader), str(copy)], check=False, capture_output=True
    )
    assert done.returncode == 1
    assert b"the chain is broken before record 2" in done.stderr


def test_the_page_lists_every_kind() -> None:
    """No kind of record is undocumented."""
    for kind in Kind:
        assert f"`{kind}`" in PAGE


def test_the_page_lists_every_fact() -> None:
    """What the constructors put into a record stands in the row of its kind."""
    payload = Payload(b"", 0, "")
    held = HeldTarball("1.0.0", "a", 1, Digests("00"), "sha1-", None, unverifiable=True)
    for record in (
        records.genesis(AT),
        records.following(AT, feed="f", registry="r", since=1),
        records.packument(
            AT, "a", payload, seq=1, announced="2-b", rev="1-a", etag="e", stale=True
        ),
        records.gone(AT, "a", reason="removed", evidence={}, event={}, seq=1),
        records.tarball(AT, "a", held),
        records.dropped(AT, "a", version="1.0.0", path="p", reason="pruned"),
        records.decision(AT, what="noted", detail={}),
        records.mark(AT, cursor=1),
    ):
        (row,) = re.findall(rf"^\| `{record.kind}` \| (.*) \|$", PAGE, re.MULTILINE)
        assert not [fact for fact in record.facts if f"`{fact}`" not in row], record.kind


def test_the_page_tells_the_numbers_of_the_format() -> None:
    """Sizes, magic and name of the format are those of the code."""
    assert f"first {framing.SEGMENT_HEADER_BYTES} bytes" in PAGE
    assert f"frame of {framing.FRAME_BYTES} bytes" in PAGE
    assert f"`{framing.MAGIC.hex(' ')}`" in PAGE
    assert f'`"{framing.FORMAT}"`' in PAGE
