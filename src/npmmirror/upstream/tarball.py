"""Tarballs as streams."""

from collections.abc import AsyncIterator

from npmmirror.upstream.decoding import Decoder, decoder
from npmmirror.upstream.errors import BadAnswer, ServerFault, shown
from npmmirror.upstream.session import Answer

GZIP = b"\x1f\x8b"
SMALL = 1 << 20
"""Files up to this length are taken from the connection in one piece."""
PROBE = 4096
"""Bytes that suffice to see what a compressed body decodes to."""


class TarballBody:
    """A tarball that is arriving. Valid within the context that gave it.

    `url` is where it was found, `length` how many bytes are announced; None: not told.
    """

    __slots__ = ("_answer", "_is_small", "_limit", "content_type", "length", "url")

    def __init__(self, answer: Answer, limit: int | None) -> None:
        length = answer.response.content_length
        if limit is not None and length is not None and length > limit:
            raise BadAnswer("too_large", f"{length} bytes announced")
        self._answer = answer
        self._limit = limit
        self.length = length if answer.encoding is None else None
        self._is_small = self.length is not None and self.length <= SMALL
        self.content_type = answer.response.headers.get("Content-Type", "")
        self.url = shown(answer.response.url)

    async def chunks(self, *, eager: bool = False) -> AsyncIterator[bytes]:
        """The file's bytes, in pieces of any size but none empty; to be read once.

        `eager` has them as they come, where a small file would be one piece.

        Raises:
            ServerFault: `truncated`, `timeout` or `reset`: they do not all arrive.
            BadAnswer: `too_large`, `html`, `wrong_encoding`.
        """
        if self._is_small and not eager:
            if chunk := await self._answer.whole():
                self._refuse_html(chunk)
                yield chunk
            return
        received = 0
        async for chunk in self._plain():
            if not received:
                self._refuse_html(chunk)
            received += len(chunk)
            if self._limit is not None and received > self._limit:
                raise BadAnswer("too_large", f"more than {self._limit} bytes")
            yield chunk

    def _plain(self) -> AsyncIterator[bytes]:
        encoding = self._answer.encoding
        return self._raw() if encoding is None else self._decoded(decoder(encoding))

    async def _raw(self) -> AsyncIterator[bytes]:
        while chunk := await self._answer.some():
            yield chunk

    async def _decoded(self, decoding: Decoder) -> AsyncIterator[bytes]:
        # None was asked for. Some servers say "gzip" of a .tgz just because of its name: what
        # they send is then the file itself, which its first bytes tell.
        head = b""
        while len(head) < PROBE and (chunk := await self._answer.some()):
            head += chunk
        if head.startswith(GZIP) and not _holds_gzip(head, self._answer.encoding or ""):
            yield head
            async for chunk in self._raw():
                yield chunk
            return
        data = head
        while data:
            for piece in decoding.decode(data):
                if piece:
                    yield piece
            data = await self._answer.some()
        decoding.finish()

    def _refuse_html(self, chunk: bytes) -> None:
        start = chunk[:256].lstrip().lower()
        page = start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml"))
        if page or ("html" in self.content_type.lower() and not chunk.startswith(GZIP[:1])):
            raise BadAnswer("html", f"{self.url} begins {chunk[:32]!r}")


def _holds_gzip(head: bytes, encoding: str) -> bool:
    """Whether this beginning of an encoded body decodes to the beginning of a gzip file."""
    start = b""
    try:
        for piece in decoder(encoding).decode(head):
            start += piece
            if len(start) >= len(GZIP):
                break
    except (BadAnswer, ServerFault):
        return False
    return start.startswith(GZIP)
