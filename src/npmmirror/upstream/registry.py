"""What a registry says of a package."""

from dataclasses import dataclass
from pathlib import Path

from npmmirror.upstream.body import SMALL, Caps, Spool, excerpt, read_body, refuse_no_json
from npmmirror.upstream.errors import TOO_LARGE, BadAnswer, UpstreamError, shown
from npmmirror.upstream.session import Answer
from npmmirror.worker_threads import WorkerThreads

MISSING = frozenset({404, 410, 451})


@dataclass(frozen=True, slots=True)
class Found:
    """A packument, exactly as its content encoding held it.

    `raw` is the file given as spool where the document is large; the caller deletes it.
    """

    raw: bytes | Path
    length: int
    etag: str | None


@dataclass(frozen=True, slots=True)
class NotModified:
    """The document still has the ETag that was sent. An optimisation, never a proof."""


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such document now: 404, 410 or 451, with up to 64 KiB of what was said."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Outsized:
    """A document of more bytes than the caller takes."""


Packument = Found | NotModified | Missing | Outsized


async def read_packument(
    answer: Answer, caps: Caps, threads: WorkerThreads, spool: Spool, *, conditional: bool
) -> Packument:
    """What the answer to a request for a packument means; `conditional` if it had an ETag.

    Raises:
        UpstreamError: nothing that could be used.
        OSError: the spool cannot be written.
    """
    status = answer.status
    if status == 304 and conditional:
        return NotModified()
    if status in MISSING:
        return Missing(status, await _said(answer))
    if status != 200:
        raise await unexpected(answer)
    try:
        body = await read_body(answer, caps, threads, spool)
    except BadAnswer as error:
        if caps.by_choice and error.reason == TOO_LARGE:
            return Outsized()
        raise
    try:
        refuse_no_json(body, answer)
    except BadAnswer:
        if isinstance(body.content, Path):
            body.content.unlink(missing_ok=True)
        raise
    return Found(body.content, body.length, _ascii(answer.response.headers.get("ETag")))


async def unexpected(answer: Answer) -> BadAnswer:
    """The error for a status that nobody asked for."""
    where = shown(answer.response.url)
    said = await excerpt(answer)
    return BadAnswer(f"http_{answer.status}", f"{where}: {said}" if said else where)


async def _said(answer: Answer) -> bytes:
    """What comes with a 404, as it arrives; its end, its encoding and its faults do not matter."""
    said = b""
    try:
        while len(said) < SMALL and (data := await answer.some()):
            said += data
    except UpstreamError:
        pass
    return said[:SMALL]


def _ascii(etag: str | None) -> str | None:
    """An ETag that can be sent back; None for one that could not."""
    return etag if etag and etag.isascii() and etag.isprintable() else None
