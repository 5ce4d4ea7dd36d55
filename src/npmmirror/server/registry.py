"""Packuments, manifests and dist-tags: the parts that are made of documents."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

import orjson
import structlog
from aiohttp import web

from npmmirror.archive import CaptureDamagedError, ErasedError
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.policy.specs import resolve
from npmmirror.server.answers import Ready, encoded, ready, send, weak_etag
from npmmirror.server.asked import Asked
from npmmirror.server.negotiation import ABBREVIATED_TYPE, FULL_TYPE, encoding_of, form_of
from npmmirror.server.packuments import Form, Shown, body, manifest_body
from npmmirror.server.resources import Part, Resources
from npmmirror.server.stand import Stand

FRESH_SECONDS: Final = 60
"""How long clients and caches need not ask again."""
MISSING_SECONDS: Final = 5
LARGE: Final = 4 << 20
"""Documents of more bytes pass one at a time: an answer takes several times its document in memory."""
WITHHELD: Final = b'{"error":"Withheld by this mirror"}'

Standing = Callable[[Asked], Awaitable[Stand | None]]
"""How a package stands in the view that is asked; None: the view does not have it."""
Visible = Callable[[Packument, Stand], Shown]
"""What of its document is shown."""

log = structlog.get_logger(__name__)


class _OfDocument(Part):
    """A part whose answers are made of one document."""

    def __init__(self, resources: Resources, standing: Standing, visible: Visible) -> None:
        self._ready = resources.ready
        self._threads = resources.threads
        self._stock = resources.stock
        self._turn = resources.turn
        self._standing = standing
        self._visible = visible
        self._fresh = f"{resources.shared}, max-age={FRESH_SECONDS}"
        self._missing = f"{resources.shared}, max-age={MISSING_SECONDS}"

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        headers = request.headers
        form = self._form(headers.get("Accept", ""))
        encoding = encoding_of(headers.get("Accept-Encoding", ""))
        view = asked.view
        # The kind, too: a proxy may tell of a prefix that looks like another view.
        key = (asked.route, view.kind, view.base, asked.name, asked.rest, form, encoding)
        found = self._ready.known(key)
        if found is None:
            found = await self._ready.made(
                key, partial(self._make, asked, form, encoding), asked.name
            )
        return send(request, found)

    def _form(self, accept: str) -> Form:
        del accept
        return Form.FULL

    def _write(self, asked: Asked, form: Form, document: Packument, shown: Shown) -> bytes | None:
        raise NotImplementedError

    async def _make(self, asked: Asked, form: Form, encoding: str) -> Ready:
        stand = await self._standing(asked)
        if stand is None or not stand.is_there:
            return self._not_found()
        if stand.revision.length < LARGE:
            return await self._threads.run(self._built, stand, asked, form, encoding)
        async with self._turn:
            return await self._threads.run(self._built, stand, asked, form, encoding)

    def _built(self, stand: Stand, asked: Asked, form: Form, encoding: str) -> Ready:
        """In a thread: the answer, from the captured bytes on."""
        try:
            document = Packument.parse(self._stock.read(stand.revision.place), name=stand.name)
        except (ErasedError, NotAPackumentError):
            return self._not_found()
        except CaptureDamagedError as error:
            log.error("document_damaged", package=stand.name, error=str(error))  # noqa: TRY400 - no bug of ours
            return ready(orjson.dumps({"error": "The document is damaged"}), status=500)
        shown = self._visible(document, stand)
        if self._is_withheld(asked, document, shown):
            return ready(WITHHELD, status=451, cache_control=self._missing)
        written = None
        if shown.versions or not document.versions:
            written = self._write(asked, form, document, shown)
        if written is None:
            return self._not_found()
        view = asked.view
        made_of = (form.value, view.kind.value, view.base, asked.rest, asked.route.value)
        revision = bytes.fromhex(stand.revision.sha256)
        etag = weak_etag(revision, shown.mark, *(part.encode() for part in made_of))
        content, encoding = encoded(written, encoding)
        return ready(
            content,
            content_type=ABBREVIATED_TYPE if form is Form.ABBREVIATED else FULL_TYPE,
            etag=etag,
            encoding=encoding,
            cache_control=self._fresh,
        )

    @staticmethod
    def _is_withheld(asked: Asked, document: Packument, shown: Shown) -> bool:
        """Whether all of the package is withheld, or the very version that is asked for."""
        if shown.withheld and asked.rest in shown.withheld:
            return True
        return bool(document.versions) and document.versions.keys() <= shown.withheld

    def _not_found(self) -> Ready:
        return ready(b'{"error":"Not found"}', status=404, cache_control=self._missing)


class PackumentPart(_OfDocument):
    """`/<pkg>`: the document, full or abbreviated."""

    def _form(self, accept: str) -> Form:
        return form_of(accept)

    def _write(self, asked: Asked, form: Form, document: Packument, shown: Shown) -> bytes:
        return body(document, shown, asked.view.base, form)


class ManifestPart(_OfDocument):
    """`/<pkg>/<version, tag or range>`: the manifest of the version that npm would choose."""

    def _write(self, asked: Asked, form: Form, document: Packument, shown: Shown) -> bytes | None:
        del form
        versions = {version: document.versions[version] for version in shown.versions}
        visible = replace(document, versions=versions, tags=dict(shown.tags))
        chosen = resolve(asked.rest, visible)
        if not chosen:
            return None
        return manifest_body(document, chosen[0], asked.view.base)


class DistTagsPart(_OfDocument):
    """`/-/package/<pkg>/dist-tags`."""

    def _write(self, asked: Asked, form: Form, document: Packument, shown: Shown) -> bytes:
        del asked, form, document
        return orjson.dumps(dict(shown.tags))
