"""Content encodings, undone piece by piece: a bomb is met by the caller's cap, never whole."""

from collections.abc import Callable, Iterator
from typing import Protocol

from npmmirror import zstd
from npmmirror.inflate import DEFLATE, GZIP, ZLIB, BrokenError, inflating
from npmmirror.upstream.errors import BadAnswer, ServerFault

try:
    import brotli  # type: ignore[import-untyped, unused-ignore]  # ships no types
except ImportError:  # pragma: no cover - a dependency that some distributions leave out
    brotli = None

PIECE = 256 * 1024
"""About how many bytes are decoded at a time."""
MOST_MEMBERS = 1024
"""Concatenated members or frames in one body; each costs a copy of what follows it."""
LARGEST_WINDOW_LOG = 23
"""8 MiB, what RFC 9659 allows for zstd in HTTP."""

ACCEPTED = "zstd, br, gzip, deflate" if brotli is not None else "zstd, gzip, deflate"
"""The value of `Accept-Encoding` for documents."""

_BROKEN: tuple[type[Exception], ...] = (*BrokenError, zstd.ZstdError, EOFError)
if brotli is not None:
    _BROKEN += (brotli.error,)


class Member(Protocol):
    """One gzip member, zstd frame or brotli stream. After its end, `unused` is what followed."""

    ended: bool
    unused: bytes

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode some more; `ended` and `unused` are right when the iterator is exhausted."""
        ...


class _Inflated:
    def __init__(self, head: bytes, wrapped: int) -> None:
        self._inflate = inflating(head, wrapped)
        self.ended = False
        self.unused = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        inflate = self._inflate
        more = True
        while more:
            piece = inflate.decompress(data, PIECE)
            data = inflate.unconsumed_tail
            # A full piece may leave output behind though all input is consumed.
            more = not inflate.eof and (bool(data) or len(piece) == PIECE)
            yield piece
        self.ended, self.unused = inflate.eof, inflate.unused_data


class _Frame:
    def __init__(self) -> None:
        options = {int(zstd.DecompressionParameter.window_log_max): LARGEST_WINDOW_LOG}
        self._decompressor = zstd.ZstdDecompressor(options=options)
        self.ended = False
        self.unused = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        decompressor = self._decompressor
        yield decompressor.decompress(data, PIECE)
        while not decompressor.eof and not decompressor.needs_input:
            yield decompressor.decompress(b"", PIECE)
        self.ended, self.unused = decompressor.eof, decompressor.unused_data


class _Brotli:
    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()
        self.ended = False
        self.unused = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        decompressor = self._decompressor
        more = True
        while more:
            piece = decompressor.process(data, output_buffer_limit=PIECE)
            data = b""
            # It may be ready for more input and yet hold output back, when a piece was full.
            more = len(piece) >= PIECE or not decompressor.can_accept_more_data()
            yield piece
        self.ended = decompressor.is_finished()


class Decoder:
    """Undoes one content encoding: `decode` what arrives, in order, then `finish`."""

    def __init__(
        self, start: Callable[[bytes], Member | None], head_bytes: int, *, chained: bool = True
    ) -> None:
        self._start = start
        self._head_bytes = head_bytes
        self._chained = chained
        self._head = b""
        self._member: Member | None = None
        self._members = 0
        self._over = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        """The decoded pieces (some may be empty), each of about `PIECE` bytes at most.

        Raises:
            BadAnswer: (`wrong_encoding`) it is not encoded as the header says.
        """
        while data and not self._over:
            if self._member is None:
                data = self._begin(data)
            if self._member is None:
                return
            try:
                yield from self._member.feed(data)
            except _BROKEN as error:
                raise BadAnswer("wrong_encoding", str(error)) from error
            if not self._member.ended:
                return
            data, self._member = self._member.unused, None
            self._over = not self._chained

    def finish(self) -> None:
        """Say that nothing follows. An empty body is whole, whatever its encoding.

        Raises:
            ServerFault: (`truncated`) the encoded stream has no end.
        """
        if self._member is not None or (self._head and not self._members):
            raise ServerFault("truncated", "the compressed body has no end")

    def _begin(self, data: bytes) -> bytes:
        head = self._head + data
        self._head = b""
        if len(head) < self._head_bytes:
            self._head = head
            return b""
        self._member = self._start(head)
        if self._member is None:
            if not self._members:
                raise BadAnswer("wrong_encoding", f"a body that begins {head[:16]!r}")
            self._over = True  # what trails the last member is no part of the document
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise BadAnswer("wrong_encoding", f"more than {MOST_MEMBERS} members")
        return head


def decoder(encoding: str) -> Decoder:
    """A decoder for the value of a `Content-Encoding` header.

    Raises:
        BadAnswer: (`wrong_encoding`) an encoding, or several, that were not asked for.
    """
    match encoding.strip().lower():
        case "gzip" | "x-gzip":
            return Decoder(_gzip, 2)
        case "deflate":
            return Decoder(_deflate, 2, chained=False)
        case "zstd":
            return Decoder(_zstd, 4)
        case "br" if brotli is not None:
            return Decoder(lambda _: _Brotli(), 1, chained=False)
    raise BadAnswer("wrong_encoding", f"Content-Encoding: {encoding:.100}")


def _gzip(head: bytes) -> Member | None:
    return _Inflated(head, GZIP) if head.startswith(b"\x1f\x8b") else None


def _deflate(head: bytes) -> Member:
    # By the standard it is a zlib stream; some servers send the bare stream inside it.
    wrapped = head[0] & 0x0F == 8 and int.from_bytes(head[:2]) % 31 == 0
    return _Inflated(head, ZLIB if wrapped else DEFLATE)


def _zstd(head: bytes) -> Member | None:
    skippable = head[0] & 0xF0 == 0x50 and head[1:4] == b"\x2a\x4d\x18"
    return _Frame() if skippable or head.startswith(b"\x28\xb5\x2f\xfd") else None
