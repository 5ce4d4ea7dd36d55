"""The `package.json` of a tarball, taken out of its bytes as they stream by.

What counts is what npm would unpack (pacote and node-tar; `docs/captures.md` has the rules): the
first directory of a path may have any name, links are passed over, names may stand in pax or GNU
headers. Nothing is kept but the file itself, and nothing goes to disk. Reading ends with it: were
there another one behind it, npm would take that, but to look would take twice as long.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Final

from npmmirror.inflate import BrokenError, Inflating, inflating

MOST_BYTES: Final = 1 << 20
"""A larger `package.json` is not looked at."""
MOST_UNPACKED: Final = 1 << 27
"""So far into the archive it is looked for: a bomb takes a tenth of a second."""
MOST_ENTRIES: Final = 50_000

_BLOCK: Final = 512
_EMPTY: Final = bytes(_BLOCK)
_GZIP: Final = b"\x1f\x8b"
_IN_BYTES: Final = 1 << 15
_FIRST_OUT_BYTES: Final = 1 << 14
"""The file mostly comes early: what is unpacked behind it was for nothing."""
_OUT_BYTES: Final = 1 << 17
_OCTAL: Final = re.compile(rb"[\s]*([0-7]+)")
_FILES: Final = b"07\0"
_PAX: Final = b"xXg"
_LONG_NAME: Final = b"LN"
_META: Final = _PAX + _LONG_NAME
_DIRECTORY: Final = b"5"


class Tarred:
    """Takes in a tarball and finds its `package.json`.

    `problem` is None as long as there is none. Then it is `too_large` (the file), `too_far` (where
    it might be), `damaged` (the gzip stream), `not_an_archive` or `no_package_json`.
    """

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.problem: str | None = None
        self._head = b""
        self._gzip: Inflating | None = None
        self._is_plain = False
        self._piece = _FIRST_OUT_BYTES
        self._unpacked = 0
        self._entries = 0
        self._is_tar = False
        self._empty_before = False
        self._skip = 0
        self._wanted = 0
        self._kind = b""
        self._gathered = bytearray()
        self._path: bytes | None = None
        self._size: int | None = None
        self._every_size: int | None = None

    def is_done(self) -> bool:
        """Whether there is nothing more to find out."""
        return self.content is not None or self.problem is not None

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take in the next bytes; never raises."""
        if self.is_done():
            return
        if self._gzip is None and not self._is_plain:
            chunk = self._head = self._head + bytes(chunk)
            if len(chunk) < len(_GZIP):
                return
            self._begin(chunk)
        try:
            for piece in self._pieces(memoryview(chunk)):
                self._take(piece)
                if self.is_done():
                    return
        except BrokenError:
            self._give_up("damaged")

    def end(self) -> None:
        """There are no more bytes."""
        if not self.is_done():
            self._give_up("no_package_json" if self._is_tar else "not_an_archive")

    def _give_up(self, problem: str) -> None:
        self.problem = problem
        self._gathered.clear()

    def _begin(self, head: bytes) -> None:
        self._head = b""
        if head.startswith(_GZIP):
            self._gzip = inflating(head)
        else:
            self._is_plain = True

    def _pieces(self, chunk: memoryview) -> Iterator[bytes | memoryview]:
        """The archive's bytes, a few at a time."""
        for start in range(0, len(chunk), _IN_BYTES):
            data: bytes | memoryview = chunk[start : start + _IN_BYTES]
            if self._is_plain:
                yield data
            else:
                yield from self._inflated(data)

    def _inflated(self, data: bytes | memoryview) -> Iterator[bytes]:
        while self._gzip is not None:
            most = self._piece
            self._piece = min(2 * most, _OUT_BYTES)
            piece = self._gzip.decompress(data, most)
            yield piece
            data = self._gzip.unconsumed_tail
            if self._gzip.eof:
                data = self._next_member(self._gzip.unused_data)
            if not data and len(piece) < most:
                return

    def _next_member(self, rest: bytes) -> bytes:
        """Behind the end of a gzip stream: another one, or what npm does not look at."""
        if not rest or rest.startswith(_GZIP):
            self._gzip = inflating(rest)
        else:
            self.end()
        return rest

    def _take(self, piece: bytes | memoryview) -> None:
        self._unpacked += len(piece)
        view, at = memoryview(piece), 0
        while at < len(view) and not self.is_done():
            if self._skip:
                step = min(self._skip, len(view) - at)
                self._skip -= step
            else:
                step = min((self._wanted or _BLOCK) - len(self._gathered), len(view) - at)
                self._gathered += view[at : at + step]
                if len(self._gathered) == (self._wanted or _BLOCK):
                    self._gathered_all()
            at += step
        if self._unpacked > MOST_UNPACKED and not self.is_done():
            self._give_up("too_far")

    def _gathered_all(self) -> None:
        """A header is complete, or a body that is looked at."""
        found = bytes(self._gathered)
        self._gathered.clear()
        if not self._wanted:
            self._header(found)
            return
        self._skip, self._wanted = -self._wanted % _BLOCK, 0
        if self._kind in _META:
            self._meta(found)
        else:
            self.content = found

    def _header(self, block: bytes) -> None:
        if block == _EMPTY:
            if self._empty_before:
                self.end()
            self._empty_before = True
            return
        self._empty_before = False
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            self._give_up("too_far")
        elif _is_sound(block):  # npm passes over a block that is not, and tries the next one
            self._is_tar = True
            self._entry(block)

    def _entry(self, block: bytes) -> None:
        kind = block[156:157]
        size = _number(block[124:136])
        if kind in _META:
            self._body(kind, size)
            return
        size = self._size if self._size is not None else (self._every_size or size)
        path = self._path if self._path is not None else _path(block)
        self._path = self._size = None
        if kind == _DIRECTORY or (kind == b"0" and path.endswith(b"/")):
            return  # some programs write the size that a directory has on disk
        if kind not in _FILES or not _is_package_json(path):
            self._skip = size + -size % _BLOCK
        elif size > MOST_BYTES:
            self._give_up("too_large")
        elif size:
            self._body(kind, size)
        else:
            self.content = b""

    def _body(self, kind: bytes, size: int) -> None:
        """Have what follows gathered; a header of names that is too large is passed over."""
        if size > MOST_BYTES:
            self._skip = size + -size % _BLOCK
        else:
            self._kind, self._wanted = kind, size

    def _meta(self, body: bytes) -> None:
        if self._kind in _LONG_NAME:
            self._path = body.partition(b"\0")[0]
            return
        told = _pax(body)
        size = _decimal(told.get(b"size"))
        if self._kind == b"g":
            self._every_size = size
        else:
            self._path, self._size = told.get(b"path"), size


def _is_sound(block: bytes) -> bool:
    """Whether a header's checksum is right: the sum of its bytes, its own taken for spaces."""
    claimed = _number(block[148:156])
    # Adler-32 holds the sum, modulo 65521, and takes a tenth of the time.
    blanked = block[:148] + b"        " + block[156:]
    return ((zlib.adler32(blanked) & 0xFFFF) - 1 - claimed) % 65521 == 0


def _number(field: bytes) -> int:
    """Octal digits, or binary where the first bit is set; nonsense is 0, as node-tar takes it."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 else 0
    found = _OCTAL.match(field)
    return int(found[1], 8) if found else 0


def _path(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    if block[257:265] != b"ustar\x0000":
        return name
    long = block[475] != 0
    prefix = block[345 : 500 if long else 475].partition(b"\0")[0]
    return prefix + b"/" + name if prefix or long else name


def _is_package_json(path: bytes) -> bool:
    """Whether npm unpacks it as the package's own `package.json`."""
    if not path.endswith(b"package.json"):
        return False
    parts = path.split(b"/")[1:]
    return [part for part in parts if part not in {b"", b"."}] == [b"package.json"]


def _pax(body: bytes) -> dict[bytes, bytes]:
    """The lines `<length> <key>=<value>` whose length is right."""
    told = {}
    for line in body.removesuffix(b"\n").split(b"\n"):
        length, _, rest = line.partition(b" ")
        if _decimal(length) == len(line) + 1:
            key, _, value = rest.partition(b"=")
            told[key] = value
    return told


def _decimal(text: bytes | None) -> int | None:
    return int(text) if text and len(text) <= 15 and text.isdigit() else None
