"""Answers: their headers, and how a ready one is sent."""

import gzip
import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web
from multidict import CIMultiDict

from npmmirror.zstd import compress

JSON: Final = "application/json"
NAME: Final = "npmmirror"
"""What answers call the server; of its parts and versions they tell nothing."""
_LEAST_COMPRESSED: Final = 256
_LARGE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Ready:
    """An answer that is made: sent as often as it is asked for.

    Attributes:
        body: The bytes, in the encoding that `headers` names.
        headers: All headers but those of the connection, `ETag` among them.
        etag: As in `headers`; empty where there is none.
        status: HTTP's.
    """

    body: bytes
    headers: CIMultiDict[str] = field(repr=False)
    etag: str = ""
    status: int = 200

    @property
    def size(self) -> int:
        """About the bytes of memory that it takes."""
        return len(self.body) + 1024


def weak_etag(*parts: bytes) -> str:
    """An ETag of what an answer is made of, 26 bytes long; bun drops those of 64 and more."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return f'W/"{urlsafe_b64encode(digest.digest()).decode().rstrip("=")}"'


def encoded(body: bytes, encoding: str) -> tuple[bytes, str]:
    """A body in an encoding, and the encoding's name; as it is where that is not worth it."""
    if len(body) < _LEAST_COMPRESSED or not encoding:
        return body, ""
    if encoding == "zstd":
        return compress(body, 3), encoding
    return gzip.compress(body, 4 if len(body) >= _LARGE else 6, mtime=0), encoding


def ready(
    body: bytes,
    *,
    content_type: str = JSON,
    etag: str = "",
    encoding: str = "",
    cache_control: str = "",
    status: int = 200,
) -> Ready:
    """A ready answer; `encoding` is what the body is already in."""
    headers = CIMultiDict({"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"})
    if etag:
        headers["ETag"] = etag
    if encoding:
        headers["Content-Encoding"] = encoding
    if cache_control:
        headers["Cache-Control"] = cache_control
    return Ready(body, headers, etag, status)


def send(request: web.BaseRequest, answer: Ready) -> web.Response:
    """The response: 304 where the client has it already."""
    if answer.etag and answer.status == 200:
        known = request.headers.get("If-None-Match")
        if known is not None and matches(known, answer.etag):
            headers = answer.headers.copy()
            for name in ("Content-Type", "Content-Encoding"):
                headers.popall(name, None)
            return web.Response(status=304, headers=headers)
    return web.Response(body=answer.body, status=answer.status, headers=answer.headers)


def matches(if_none_match: str, etag: str) -> bool:
    """Whether an `If-None-Match` header names an ETag, compared weakly."""
    if if_none_match == etag:
        return True
    opaque = etag.removeprefix("W/")
    told = (each.strip().removeprefix("W/") for each in if_none_match.split(","))
    return any(each in {opaque, "*"} for each in told)


def json_response(
    value: Any, *, status: int = 200, cache_control: str = "no-store", **headers: str
) -> web.Response:
    """A small answer that is made each time."""
    told = {"Cache-Control": cache_control} | {
        key.replace("_", "-"): text for key, text in headers.items()
    }
    return web.Response(body=orjson.dumps(value), status=status, content_type=JSON, headers=told)


def error(status: int, text: str, **headers: str) -> web.Response:
    """A refusal as npm's clients read it."""
    return json_response({"error": text}, status=status, **headers)
