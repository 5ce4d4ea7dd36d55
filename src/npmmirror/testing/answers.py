"""The registry's answers over HTTP, from bytes that are rendered once."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from npmmirror.testing import feed_answers
from npmmirror.testing.asked import Asked
from npmmirror.testing.faults import Answer
from npmmirror.testing.feed import BadQueryError
from npmmirror.testing.registry import ScriptedRegistry
from npmmirror.testing.revision import Body

ABBREVIATED = "application/vnd.npm.install-v1+json"
_CACHED = {"Cache-Control": "public, max-age=300", "Vary": "accept-encoding, accept"}
_MODIFIED = "Thu, 01 Jan 2026 00:00:00 GMT"
_FEED: Mapping[str, Callable[[ScriptedRegistry, Mapping[str, str]], dict[str, Any]]] = {
    "feed": feed_answers.changes,
    "all_docs": feed_answers.all_docs,
    "root": lambda registry, _query: feed_answers.root(registry),
}


def answer(registry: ScriptedRegistry, asked: Asked, encodings: Iterable[str]) -> Answer:
    """What a registry without faults answers. `encodings` are those that it can speak."""
    if asked.method not in {"GET", "HEAD"}:
        return json_answer(405, {"error": "method not allowed"})
    if asked.scope in _FEED:
        return _feed(registry, asked)
    if asked.scope == "packument":
        return _packument(registry, asked, encodings)
    if asked.file is not None and (file := registry.file(asked.file, asked.host)) is not None:
        return _tarball(file, asked)
    return _other(registry, asked)


def json_answer(status: int, said: Any) -> Answer:
    """An answer of JSON."""
    return Answer(status, {"Content-Type": "application/json"}, _dumps(said))


def _dumps(said: Any) -> bytes:
    try:
        return orjson.dumps(said)
    except TypeError:
        # Names in the feed may hold lone surrogates, which only escapes can spell.
        return json.dumps(said).encode()


def _feed(registry: ScriptedRegistry, asked: Asked) -> Answer:
    try:
        return json_answer(200, _FEED[asked.scope](registry, asked.query or {}))
    except BadQueryError as error:
        return json_answer(400, {"error": "bad_request", "reason": str(error)})


def _packument(registry: ScriptedRegistry, asked: Asked, encodings: Iterable[str]) -> Answer:
    revision = registry.read(asked.name or "", query=bool(asked.query))
    if revision is None or revision.full is None:
        return _not_found()
    short = _wants_abbreviated(asked.headers.get("Accept", "*/*"))
    body = revision.abbreviated if short else revision.full
    kind = ABBREVIATED if short else "application/json"
    return _document(body or revision.full, kind, asked, encodings)


def _document(body: Body, kind: str, asked: Asked, encodings: Iterable[str]) -> Answer:
    headers = {**_CACHED, "ETag": body.etag, "Last-Modified": _MODIFIED}
    if asked.headers.get("If-None-Match") in {body.etag, f"W/{body.etag}"}:
        return Answer(304, headers)
    headers["Content-Type"] = kind
    encoding = _chosen(asked.headers.get("Accept-Encoding", ""), encodings)
    if encoding != "identity":
        headers["Content-Encoding"] = encoding
    return Answer(200, headers, body.encoded(encoding))


def _wants_abbreviated(accept: str) -> bool:
    """Npm's rule as far as known: named, or hinted at by `*/*` beside the full type."""
    both = "application/json" in accept and "*/*" in accept
    return ABBREVIATED in accept or both


def _chosen(accept: str, encodings: Iterable[str]) -> str:
    wanted = {part.partition(";")[0].strip() for part in accept.split(",")}
    return next((encoding for encoding in encodings if encoding in wanted), "identity")


def _tarball(file: Body, asked: Asked) -> Answer:
    body = file.raw
    headers = {
        "Content-Type": "application/octet-stream",
        "Cache-Control": "public, immutable, max-age=31557600",
        "ETag": file.etag,
        "Last-Modified": _MODIFIED,
        "Accept-Ranges": "bytes",
    }
    span = _range(asked.headers.get("Range", ""), len(body))
    if span is None:
        return Answer(200, headers, body)
    first, last = span
    headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
    return Answer(206, headers, body[first : last + 1])


def _range(said: str, length: int) -> tuple[int, int] | None:
    unit, _, span = said.partition("=")
    first, dash, last = span.partition("-")
    if unit != "bytes" or not dash or not first.isdigit() or int(first) >= length:
        return None
    return int(first), min(int(last), length - 1) if last.isdigit() else length - 1


def _other(registry: ScriptedRegistry, asked: Asked) -> Answer:
    if asked.path == "/-/ping":
        return json_answer(200, {})
    if asked.file is not None and (served := registry.beside(asked.file)) is not None:
        return Answer(200, {"Content-Type": "application/json"}, served)
    if asked.path == "/-/whoami":
        return json_answer(401, {"error": "unauthorized"})
    if asked.version is not None and (revision := registry.read(asked.name or "")):
        manifest = revision.manifest(asked.version)
        if manifest is not None:
            return Answer(200, {"Content-Type": "application/json"}, manifest)
    return _not_found()


def _not_found() -> Answer:
    return json_answer(404, {"error": "Not found"})
