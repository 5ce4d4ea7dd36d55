"""The registry byte for byte as it was captured: `/-/raw/`, for other mirrors and researchers.

Nothing of a document is hidden or rewritten. Tarballs are those that are held, of versions that are
gone upstream, too.
"""

from dataclasses import asdict
from functools import partial
from typing import Final

import orjson
import structlog
from aiohttp import web

from npmmirror.archive import CaptureDamagedError, ErasedError
from npmmirror.capture import Location
from npmmirror.index.captured import captured
from npmmirror.index.past import revision
from npmmirror.outcome import NOT_HELD
from npmmirror.packument import Packument
from npmmirror.policy.specs import resolve
from npmmirror.server.answers import (
    Ready,
    encoded,
    error,
    json_response,
    matches,
    ready,
    send,
    weak_etag,
)
from npmmirror.server.asked import Asked
from npmmirror.server.negotiation import encoding_of
from npmmirror.server.packuments import Form, Shown
from npmmirror.server.registry import ManifestPart
from npmmirror.server.resources import Part, Resources
from npmmirror.server.stand import Revision, Stand
from npmmirror.server.tarballs import WITHHELD, TarballPart

FRESH_SECONDS: Final = 60
CAPTURED_SECONDS: Final = 86_400
"""How long the document of a revision need not be asked for again: it never changes, but that it
may be erased."""
PAGE: Final = 1000
"""Revisions in an answer, unless fewer are asked for."""

log = structlog.get_logger(__name__)


def everything(document: Packument, stand: Stand) -> Shown:
    """All of a document, whatever is held."""
    del stand
    return Shown(tuple(document.versions), document.tags)


class RawDocumentPart(Part):
    """`/-/raw/<pkg>`: the newest document that is not stale."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._writing = _Writing(resources, FRESH_SECONDS)

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        encoding = encoding_of(request.headers.get("Accept-Encoding", ""))
        key = (asked.view.kind, asked.route, asked.name, encoding)
        found = self._resources.ready.known(key)
        if found is None and "If-None-Match" in request.headers:
            found = await self._unchanged(request, asked.name)
        if found is None:
            made = partial(self._make, asked.name, encoding)
            found = await self._resources.ready.made(key, made, asked.name)
        return send(request, found)

    async def _unchanged(self, request: web.BaseRequest, name: str) -> Ready | None:
        """The answer to who knows the document, which then need not be read."""
        stand = await self._resources.stock.stand(name)
        if stand is None or not stand.is_there:
            return None
        return self._writing.unchanged(request, stand.revision)

    async def _make(self, name: str, encoding: str) -> Ready:
        stand = await self._resources.stock.stand(name)
        if stand is None or not stand.is_there:
            return _refused(404, "Not found")
        return await self._writing.of(name, stand.revision, encoding)


class RawManifestPart(ManifestPart):
    """`/-/raw/<pkg>/<version, tag or range>`: a manifest as its document has it."""

    def _write(self, asked: Asked, form: Form, document: Packument, shown: Shown) -> bytes | None:
        del form, shown
        chosen = resolve(asked.rest, document)
        return bytes(document.versions[chosen[0]]) if chosen else None


class RawRevisionPart(Part):
    """`/-/raw/-/npmmirror/revision/<ordinal>`: a captured document, whichever it is."""

    def __init__(self, resources: Resources) -> None:
        self._stock = resources.stock
        self._writing = _Writing(resources, CAPTURED_SECONDS)

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        ordinal = _number(asked.rest)
        if ordinal is None:
            return error(400, "A revision is named by the number of its record")
        found = await self._stock.index.ask(partial(revision, ordinal=ordinal))
        if found is None:
            return error(404, f"Record {ordinal} is no captured document")
        name, row, erased = found
        encoding = encoding_of(request.headers.get("Accept-Encoding", ""))
        one = Revision(row.ordinal, row.sha256, row.length, row.place, erased)
        answer = self._writing.unchanged(request, one)
        return send(request, answer or await self._writing.of(name, one, encoding))


class RawRevisionsPart(Part):
    """`/-/raw/-/npmmirror/revisions/<pkg>`: its captured documents, `?after=` one, `limit=` many."""

    def __init__(self, resources: Resources) -> None:
        self._stock = resources.stock

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        told = request.query
        after, limit = _number(told.get("after", "0")), _number(told.get("limit", str(PAGE)))
        if after is None or limit is None or not 1 <= limit <= PAGE:
            return error(400, f"after is the number of a record, limit one from 1 to {PAGE}")
        question = partial(captured, name=asked.name, after=after, limit=limit)
        found = await self._stock.index.ask(question)
        if not found and not after:
            return error(404, "Not found")
        return json_response({"package": asked.name, "revisions": [asdict(each) for each in found]})


class RawTarballPart(TarballPart):
    """`/-/raw/<pkg>/-/<file>.tgz`; a mirror that asks for one that it cannot have is told so.

    To it that is no fault, and it asks again when the feed announces the package again.
    """

    @staticmethod
    def withheld() -> web.Response:
        """See `TarballPart`."""
        return error(451, WITHHELD, Npmmirror_Outcome=NOT_HELD)

    async def _missing(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        del request, asked
        return error(404, "Not held by this mirror", Npmmirror_Outcome=NOT_HELD)


class _Writing:
    """Makes answers of captured bytes."""

    def __init__(self, resources: Resources, fresh_seconds: int) -> None:
        self._stock = resources.stock
        self._threads = resources.threads
        self._fresh = f"{resources.shared}, max-age={fresh_seconds}"

    def unchanged(self, request: web.BaseRequest, found: Revision) -> Ready | None:
        """An answer without a body, for a client that has the document; None where it has not."""
        known, etag = request.headers.get("If-None-Match"), _etag(found)
        if known is None or found.erased or not matches(known, etag):
            return None
        return ready(b"", etag=etag, cache_control=self._fresh)

    async def of(self, name: str, found: Revision, encoding: str) -> Ready:
        """The answer of a document."""
        if found.erased:
            return _refused(410, f"The document of {name} was erased")
        try:
            content, encoding = await self._threads.run(self._read, found.place, encoding)
        except ErasedError:
            return _refused(410, f"The document of {name} was erased")
        except CaptureDamagedError as fault:
            log.error("document_damaged", package=name, error=str(fault))  # noqa: TRY400 - no bug of ours
            return _refused(500, "The document is damaged")
        return ready(content, etag=_etag(found), encoding=encoding, cache_control=self._fresh)

    def _read(self, place: Location, encoding: str) -> tuple[bytes, str]:
        return encoded(self._stock.read(place), encoding)


def _etag(found: Revision) -> str:
    return weak_etag(b"raw", bytes.fromhex(found.sha256))


def _refused(status: int, text: str) -> Ready:
    return ready(orjson.dumps({"error": text}), status=status, cache_control="no-store")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
