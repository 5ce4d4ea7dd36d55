"""The manifest: every held file in a line, and the head of the capture chain beside them.

The same archive gives the same bytes. `docs/coverage.md` describes the format.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from npmmirror.daemon.coverage.tally import Report
from npmmirror.daemon.verification.bench import Ticker
from npmmirror.errors import NpmmirrorError, StorageError
from npmmirror.index import IndexReader, Mark, coverage
from npmmirror.index.coverage import ListedFile

FORMAT: Final = "npmmirror manifest 1"
PAGE: Final = 1000
LONGEST_LINE: Final = 1 << 20
_END_BYTES: Final = 4096
_NEITHER: Final = "it has something else than texts and a size"


class ManifestError(NpmmirrorError):
    """A file that is no manifest, or cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Head:
    """The mark that the manifest goes up to. `sha256` is hex, of the mark's header."""

    ordinal: int
    sha256: str
    committed_at: str


@dataclass(frozen=True, slots=True)
class End:
    """The last line: how many files, of how many bytes, and the SHA-256 of all before it."""

    files: int
    bytes: int
    sha256: str


async def write_manifest(reader: IndexReader, file: Path, ticker: Ticker) -> Report:
    """Write a manifest of what is held, whole or not at all; what it says, in short.

    A daemon may work meanwhile: files that it stores are left out, those that it drops may be.

    Raises:
        StorageError: nothing was captured yet.
        ManifestError: the file cannot be written.
    """
    mark = await reader.last_mark()
    if mark is None:
        raise StorageError("nothing was captured yet: there is nothing to write a manifest of")
    partial_file = file.with_name(f".{file.name}.partial")
    try:
        with partial_file.open("wb") as stream:
            end = await _write(reader, mark, stream, ticker)
            stream.flush()
            os.fsync(stream.fileno())
        partial_file.replace(file)
        _sync_directory(file.parent)
    except OSError as error:
        raise ManifestError(f"cannot write {file}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial_file.unlink(missing_ok=True)
    return {"file": str(file), "head": asdict(_head(mark)), **asdict(end)}


async def _write(reader: IndexReader, mark: Mark, stream: BinaryIO, ticker: Ticker) -> End:
    total = await reader.ask(coverage.held_count)
    digest, files, size = hashlib.sha256(), 0, 0

    def put(data: bytes) -> None:
        digest.update(data)
        stream.write(data)

    put(_line({"format": FORMAT, "head": asdict(_head(mark))}))
    after = ("", "")
    while rows := await reader.ask(
        partial(coverage.held_up_to, after=after, ordinal=mark.ordinal, limit=PAGE)
    ):
        after = (rows[-1].package, rows[-1].version)
        files += len(rows)
        size += sum(row.size for row in rows)
        put(b"".join(map(_line, rows)))
        ticker.tick("manifest", files, total)
    end = End(files, size, digest.hexdigest())
    stream.write(_line(end))
    return end


def _head(mark: Mark) -> Head:
    return Head(mark.ordinal, mark.header_sha256, mark.committed_at)


def _line(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class ManifestFile:
    """A manifest being read. What is wrong with a line is told by its number, the first is 1.

    `ended` tells whether the last line was met, and `altered` whether it says another SHA-256 than
    the lines before it have; both once all lines were read.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._place = ("", "")
        self.number = 0
        self.ended = False
        self.altered = False
        self.expected = _end_of(stream)
        self.head = self._read_head()

    def _read_head(self) -> Head:
        try:
            told = orjson.loads(self._next())
            if told["format"] != FORMAT:
                raise ManifestError(f"it is of another format: {told['format']!r}")
            head = Head(**told["head"])
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError("it is no manifest of npmmirror") from error
        if type(head.ordinal) is not int or not _are_texts(head.sha256, head.committed_at):
            raise ManifestError("it is no manifest of npmmirror")
        return head

    def lines(self) -> Iterator[ListedFile | str]:
        """The files, in their order; a sentence where a line cannot be understood."""
        while line := self._stream.readline(LONGEST_LINE):
            self.number += 1
            told = _understood(line)
            if isinstance(told, End):
                self._close(told)
                return
            self._digest.update(line)
            yield told if isinstance(told, str) else self._in_order(told)

    def _in_order(self, file: ListedFile) -> ListedFile | str:
        place = (file.package, file.version)
        if _key(place) <= _key(self._place):
            return f"{file.package}@{file.version} is not in its place"
        self._place = place
        return file

    def _close(self, end: End) -> None:
        self.ended = not self._stream.read(1)
        self.altered = end.sha256 != self._digest.hexdigest()

    def _next(self) -> bytes:
        line = self._stream.readline(LONGEST_LINE)
        self.number += 1
        self._digest.update(line)
        return line


def _key(place: tuple[str, str]) -> tuple[bytes, bytes]:
    return place[0].encode(), place[1].encode()


def _understood(line: bytes) -> ListedFile | End | str:
    try:
        told = orjson.loads(line)
        if "sha256" in told:
            end = End(**told)
            well = type(end.files) is type(end.bytes) is int and _are_texts(end.sha256)
            return end if well else _NEITHER
        file = ListedFile(**told)
        texts = (file.package, file.version, file.sha512, file.captured_at, file.path)
        if not _are_texts(*texts) or not isinstance(file.size, int):
            return _NEITHER
    except (ValueError, TypeError):
        return "it cannot be understood"
    return file


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _end_of(stream: BinaryIO) -> End | None:
    """The last line, found from the file's end; None where it is none."""
    stream.seek(0, os.SEEK_END)
    stream.seek(max(stream.tell() - _END_BYTES, 0))
    last = stream.read().splitlines()[-1:]
    stream.seek(0)
    told = _understood(last[0]) if last else ""
    return told if isinstance(told, End) else None
