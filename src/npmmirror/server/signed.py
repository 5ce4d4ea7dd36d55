"""The registry's keys and the attestations of versions, byte for byte as upstream served them.

The same in each view, but that the past knows only what was captured by then.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog
from aiohttp import web

from npmmirror.archive import CaptureDamagedError, ErasedError
from npmmirror.capture import Location
from npmmirror.index import signing
from npmmirror.server.answers import encoded, error, ready, send, weak_etag
from npmmirror.server.asked import Asked
from npmmirror.server.negotiation import encoding_of
from npmmirror.server.past import Moments, Refusal
from npmmirror.server.resources import Part, Resources

FRESH_SECONDS: Final = 60
MISSING_SECONDS: Final = 5

Until = Callable[[Asked], Awaitable[int | None]]
"""The last record that the view which is asked knows of; None: it knows all."""

log = structlog.get_logger(__name__)


async def now(asked: Asked) -> None:
    """The views that know all."""
    del asked


def then(moments: Moments) -> Until:
    """The past: as far as the record that its moment means."""

    async def until(asked: Asked) -> int:
        moment = await moments.of(asked.view.bound)
        return 0 if isinstance(moment, Refusal) else moment.ordinal

    return until


class _Captured(Part):
    """A part that answers with captured bytes."""

    def __init__(self, resources: Resources, until: Until) -> None:
        self._stock = resources.stock
        self._threads = resources.threads
        self._until = until
        self._fresh = f"{resources.shared}, max-age={FRESH_SECONDS}"
        self._missing = f"{resources.shared}, max-age={MISSING_SECONDS}"

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        try:
            content = await self._content(asked)
        except ErasedError:
            content = None
        except CaptureDamagedError as fault:
            log.error("document_damaged", package=asked.name, error=str(fault))  # noqa: TRY400 - no bug of ours
            return error(500, "The document is damaged")
        if content is None:
            answer = ready(b'{"error":"Not found"}', status=404, cache_control=self._missing)
            return send(request, answer)
        etag = weak_etag(b"signed", content)
        encoding = encoding_of(request.headers.get("Accept-Encoding", ""))
        body, encoding = await self._threads.run(encoded, content, encoding)
        answer = ready(body, etag=etag, encoding=encoding, cache_control=self._fresh)
        return send(request, answer)

    async def _content(self, asked: Asked) -> bytes | None:
        raise NotImplementedError


class KeysPart(_Captured):
    """`/-/npm/v1/keys`; 404 where upstream served none."""

    async def _content(self, asked: Asked) -> bytes | None:
        question = partial(signing.keys_at, ordinal=await self._until(asked))
        found = await self._stock.index.ask(question)
        return found.document if found is not None else None


class AttestationsPart(_Captured):
    """`/-/npm/v1/attestations/<pkg>@<version>`; 404 where none were captured."""

    async def _content(self, asked: Asked) -> bytes | None:
        question = partial(signing.bundle, name=asked.name, version=asked.rest)
        found, until = await self._stock.index.ask(question), await self._until(asked)
        if found is None or found.sha256 is None or (until is not None and found.ordinal > until):
            return None
        place: Location = found.place
        return await self._stock.document(place)
