"""Bodies of documents: decoded, counted, and kept in memory or in a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from npmmirror.upstream.decoding import PIECE, decoder
from npmmirror.upstream.errors import TOO_LARGE, BadAnswer, UpstreamError, shown
from npmmirror.upstream.session import Answer
from npmmirror.worker_threads import WorkerThreads

SMALL = 64 * 1024
"""Bodies up to this size, as they arrive, are decoded on the loop."""
BATCH = 256 * 1024
"""Larger ones go to a thread in lumps of this size."""
HEAD = 64


@dataclass(frozen=True, slots=True)
class Caps:
    """Bytes that are taken at most: of the document, and of it as it arrives compressed.

    `by_choice`: what is larger is not wanted, rather than at fault.
    """

    decoded: int
    encoded: int
    by_choice: bool = False


@dataclass(frozen=True, slots=True)
class Spool:
    """Where documents larger than `over` bytes go."""

    path: Path
    over: int


@dataclass(frozen=True, slots=True)
class Body:
    """A document: its bytes, or the file that holds them; its length and its first bytes."""

    content: bytes | Path
    length: int
    head: bytes

    def in_memory(self) -> bytes:
        """The bytes of a document that was read without a spool."""
        if isinstance(self.content, bytes):
            return self.content
        raise TypeError("the document lies in a file")


async def read_body(
    answer: Answer, caps: Caps, threads: WorkerThreads, spool: Spool | None = None
) -> Body:
    """Read a body to its end and undo its content encoding.

    Raises:
        UpstreamError: it is too large, cut off, or not encoded as it says.
        OSError: the spool cannot be written.
    """
    length = answer.response.content_length
    encoding = answer.encoding
    if length is not None:
        _announced(answer, length, caps.decoded if encoding is None else caps.encoded)
        if encoding is None and length <= SMALL and (spool is None or length <= spool.over):
            data = await answer.whole()
            return Body(data, len(data), data[:HEAD])
    sink = _Sink(encoding, caps, spool)
    try:
        await _fill(sink, answer, threads)
    except BaseException:
        sink.abandon()
        raise
    return sink.body()


async def excerpt(answer: Answer) -> str:
    """The beginning of a small plain body, for an error's detail; "" where there is none."""
    if answer.encoding is not None:
        return ""
    try:
        data = await answer.some()
    except UpstreamError:
        return ""
    return " ".join(data[:200].decode("utf-8", "replace").split())


def refuse_no_json(body: Body, answer: Answer) -> None:
    """See that a body may be a JSON object.

    Raises:
        BadAnswer: `html`, `empty` or `not_json`.
    """
    head = body.head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"{") or (not head and body.length > HEAD):
        return
    reason = "html" if head.startswith(b"<") else "not_json" if body.length else "empty"
    raise BadAnswer(reason, f"{shown(answer.response.url)} begins {head[:32]!r}")


def _announced(answer: Answer, length: int, most: int) -> None:
    if length > most:
        raise BadAnswer(TOO_LARGE, f"{shown(answer.response.url)}: {length} bytes announced")


async def _fill(sink: "_Sink", answer: Answer, threads: WorkerThreads) -> None:
    lump = bytearray()
    while data := await answer.some():
        sink.arrived(len(data))
        lump += data
        if len(lump) >= BATCH:
            await _take(sink, bytes(lump), threads)
            lump.clear()
    await _take(sink, bytes(lump), threads)
    await threads.run(sink.finish) if sink.spooled else sink.finish()


async def _take(sink: "_Sink", lump: bytes, threads: WorkerThreads) -> None:
    """Take a lump on the loop where that costs next to nothing, else in a thread."""
    pieces = sink.pieces(lump)
    small = len(lump) <= SMALL or sink.only_keeps(len(lump))
    if not (small and sink.take_some(pieces)):
        await threads.run(sink.take_all, pieces)


class _Sink:
    """Takes what arrives and keeps what it decodes to. Used by one thread at a time."""

    def __init__(self, encoding: str | None, caps: Caps, spool: Spool | None) -> None:
        self._decoder = None if encoding is None else decoder(encoding)
        self._caps = caps
        self._spool = spool
        self._arrived = 0
        self._length = 0
        self._kept: list[bytes] = []
        self._head = b""
        self._file: BinaryIO | None = None
        self._abandoned = False

    @property
    def spooled(self) -> bool:
        """Whether the document goes to the file."""
        return self._file is not None

    def only_keeps(self, length: int) -> bool:
        """Whether this much more is neither decoded nor written."""
        spills = self._spool is not None and self._length + length > self._spool.over
        return self._decoder is None and not spills

    def arrived(self, length: int) -> None:
        """Count what came over the wire."""
        self._arrived += length
        if self._decoder is not None and self._arrived > self._caps.encoded:
            raise BadAnswer(TOO_LARGE, f"more than {self._caps.encoded} bytes compressed")

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What this data decodes to, lazily."""
        return iter((data,)) if self._decoder is None else self._decoder.decode(data)

    def take_some(self, pieces: Iterator[bytes]) -> bool:
        """Take a few pieces; whether that was all of them."""
        taken = 0
        for piece in pieces:
            self._take(piece)
            taken += len(piece)
            if taken >= 2 * PIECE:
                return False
        return True

    def take_all(self, pieces: Iterator[bytes]) -> None:
        """Take every piece."""
        for piece in pieces:
            self._take(piece)

    def finish(self) -> None:
        """Nothing follows: see that the document is whole."""
        if self._decoder is not None:
            self._decoder.finish()
        if self._file is not None:
            self._file.close()

    def body(self) -> Body:
        """The finished document."""
        if self._spool is not None and self._file is not None:
            return Body(self._spool.path, self._length, self._head)
        content = b"".join(self._kept)
        return Body(content, self._length, content[:HEAD])

    def abandon(self) -> None:
        """Leave no file behind. A thread that still works on it (cancellation) stops."""
        self._abandoned = True
        if self._spool is not None and self._file is not None:
            self._file.close()
            self._spool.path.unlink(missing_ok=True)

    def _take(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > self._caps.decoded:
            raise BadAnswer(TOO_LARGE, f"more than {self._caps.decoded} bytes")
        if self._abandoned:
            raise BadAnswer("abandoned")
        if self._file is not None:
            self._file.write(piece)
            return
        self._kept.append(piece)
        if self._spool is not None and self._length > self._spool.over:
            self._unload(self._spool.path)

    def _unload(self, path: Path) -> None:
        self._file = path.open("wb")
        for piece in self._kept:
            self._head += piece[: HEAD - len(self._head)]
            self._file.write(piece)
        self._kept.clear()
