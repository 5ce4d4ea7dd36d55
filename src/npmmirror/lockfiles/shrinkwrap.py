"""Finding `npm-shrinkwrap.json` in a tarball while its bytes stream by; nothing is unpacked."""

import zlib
from enum import Enum, auto
from typing import Final

NAME: Final = "npm-shrinkwrap.json"
_BLOCK: Final = 512
_MOST_UNPACKED: Final = 2 << 30
"""What is not found within so many bytes is not looked for any further: a bomb has no end."""
_PIECE: Final = 1 << 18
_GZIP: Final = 31


class _At(Enum):
    HEADER = auto()
    WANTED = auto()
    OTHER = auto()
    END = auto()


class ShrinkwrapFinder:
    """Takes in a gzipped tar piece by piece; `found` is the file's content once it is whole.

    Holds no more than that file, of at most `most_bytes`; what is no gzipped tar ends the search.
    """

    def __init__(self, most_bytes: int) -> None:
        self.found: bytes | None = None
        self._most = most_bytes
        self._unpacker = zlib.decompressobj(_GZIP)
        self._unpacked = 0
        self._at = _At.HEADER
        self._left = _BLOCK
        self._content = 0
        self._kept = bytearray()

    def update(self, chunk: bytes) -> None:
        """Take in the next bytes of the file."""
        rest = chunk
        while rest and self._at is not _At.END:
            try:
                piece = self._unpacker.decompress(rest, _PIECE)
            except zlib.error:
                self._at = _At.END
                return
            rest = self._unpacker.unconsumed_tail
            self._unpacked += len(piece)
            if self._unpacked > _MOST_UNPACKED or self._unpacker.eof:
                rest = b""
            self._read(piece)

    def _read(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view and self._at is not _At.END:
            taken = view[: self._left]
            view = view[len(taken) :]
            self._left -= len(taken)
            if self._at is not _At.OTHER:
                self._kept += taken
            if not self._left:
                self._turn()

    def _turn(self) -> None:
        """A header or a member's content is whole."""
        if self._at is _At.HEADER:
            self._enter(bytes(self._kept))
        elif self._at is _At.WANTED:
            self.found = bytes(self._kept[: self._content])
            self._at = _At.END
        else:
            self._at, self._left = _At.HEADER, _BLOCK
        self._kept.clear()

    def _enter(self, header: bytes) -> None:
        size = _number(header[124:136])
        if size is None or not any(header):
            self._at = _At.END
            return
        self._content = size
        self._left = -(-size // _BLOCK) * _BLOCK
        wanted = header[156:157] in {b"0", b"\0"} and _is_wanted(header)
        self._at = _At.WANTED if wanted and size <= self._most else _At.OTHER
        if not self._left:
            self._turn()


def _number(field: bytes) -> int | None:
    try:
        number = int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None
    return number if number >= 0 else None


def _is_wanted(header: bytes) -> bool:
    """Whether it is the file in the top directory, whatever that is called."""
    name = header[:100].partition(b"\0")[0]
    _, slash, file = name.partition(b"/")
    return bool(slash) and file == NAME.encode()
