"""The server: guard, parse, part, answer. One handler, no tables of routes to walk."""

from collections.abc import Mapping
from time import perf_counter
from typing import Final

import structlog
from aiohttp import web

from npmmirror.errors import NpmmirrorError
from npmmirror.server.answers import NAME, error
from npmmirror.server.asked import NOT_FOUND, Asked, Refused, Route, ViewKind, parse, without_origin
from npmmirror.server.fixed import PingPart, WhoamiPart, advisories, audits
from npmmirror.server.guard import POSTING, READING, Tokens, only_posted, read_only
from npmmirror.server.live import LiveStock, LiveTarballPart
from npmmirror.server.pulled_tarballs import RefusedError, refusal
from npmmirror.server.registry import DistTagsPart, ManifestPart, PackumentPart
from npmmirror.server.replication.part import ReplicationPart
from npmmirror.server.resources import Part, Resources
from npmmirror.server.search import SearchPart
from npmmirror.server.signed import AttestationsPart, KeysPart, now
from npmmirror.server.views import past_parts, raw_parts

MEMO: Final = 20_000
"""Requests whose meaning is remembered: at most so many paths of up to 4 KiB, mostly of 50 bytes."""
MEMO_PATH: Final = 256
"""Longer paths are read each time."""
POSTED: Final = frozenset({Route.ADVISORIES, Route.AUDIT})
"""The routes that are asked by POST."""

Parts = Mapping[tuple[ViewKind, Route], Part]

log = structlog.get_logger(__name__)


class App:
    """Answers requests. `parts` are those of `table`, and whatever else is hung in."""

    def __init__(self, resources: Resources) -> None:
        self._section = resources.section
        self._addresses = resources.addresses
        self._tokens = Tokens(resources.section.tokens)
        self.replication = ReplicationPart(resources, lambda: self.draining)
        self._parts = table(resources, self)
        self._memo: dict[tuple[str, str], Asked | Refused] = {}
        self._answering = 0
        self.draining = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to a request; never raises for what a client can do."""
        start = perf_counter()
        answer = await self._answer(request)
        if not answer.prepared:
            answer.headers["Server"] = NAME
        if self._section.access_log:
            self._tell(request, answer, perf_counter() - start)
        return answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        refusal = self._tokens.refusal(request)
        if refusal is not None:
            return refusal
        asked = self._asked(request)
        if isinstance(asked, Refused):
            return error(asked.status, asked.error)
        if request.method not in (POSTING if asked.route in POSTED else READING):
            return (only_posted if asked.route in POSTED else read_only)(request.method)
        part = self._parts.get((asked.view.kind, asked.route))
        if part is None:
            return error(NOT_FOUND.status, NOT_FOUND.error)
        if self._answering >= self._section.max_requests:
            return error(503, "Too many requests at once", Retry_After="1")
        self._answering += 1
        try:
            return await self._of_part(part, request, asked)
        finally:
            self._answering -= 1

    async def _of_part(
        self, part: Part, request: web.BaseRequest, asked: Asked
    ) -> web.StreamResponse:
        try:
            answer = await part.answer(request, asked)
        except RefusedError as refused:
            answer = refusal(refused.refused)
        except NpmmirrorError as fault:
            # What it says has paths of the disk in it.
            log.warning("request_failed", route=asked.route.value, error=str(fault))
            return error(503, "The mirror cannot answer now", Retry_After="10")
        if self.draining:
            answer.force_close()
        return answer

    def _asked(self, request: web.BaseRequest) -> Asked | Refused:
        base = self._addresses.of(request)
        key = (request.raw_path, base)
        found = self._memo.get(key)
        if found is None:
            found = parse(*key) if base else Refused(400, "The Host header names no host")
            if len(key[0]) <= MEMO_PATH:
                if len(self._memo) >= MEMO:
                    self._memo.clear()
                self._memo[key] = found
        return found

    def _tell(self, request: web.BaseRequest, answer: web.StreamResponse, seconds: float) -> None:
        log.info(
            "request",
            peer=self._addresses.peer(request),
            method=request.method,
            path=without_origin(request.raw_path).partition("?")[0],
            status=answer.status,
            bytes=answer.content_length,
            milliseconds=round(seconds * 1000, 3),
            agent=request.headers.get("User-Agent"),
        )


def table(resources: Resources, app: App) -> dict[tuple[ViewKind, Route], Part]:
    """Which part answers which route of which view. Here other parts are hung in."""
    parts: dict[tuple[ViewKind, Route], Part] = {}
    parts |= _live(resources)
    shared: dict[Route, Part] = {
        Route.SEARCH: SearchPart(resources),
        Route.PING: PingPart(lambda: app.draining),
        Route.WHOAMI: WhoamiPart(),
        Route.ADVISORIES: advisories(resources.section.client_seconds),
        Route.AUDIT: audits(resources.section.client_seconds),
    }
    parts |= past_parts(resources, resources.visibility.past, shared) | raw_parts(resources)
    for view in (ViewKind.LIVE, ViewKind.RAW):
        parts |= {(view, route): part for route, part in shared.items()}
    parts[ViewKind.LIVE, Route.REPLICATE] = app.replication
    return parts


def _live(resources: Resources) -> dict[tuple[ViewKind, Route], Part]:
    live, visible, stock = ViewKind.LIVE, resources.visibility.live, LiveStock(resources)
    return {
        (live, Route.PACKUMENT): PackumentPart(resources, stock.stand, visible),
        (live, Route.MANIFEST): ManifestPart(resources, stock.stand, visible),
        (live, Route.DIST_TAGS): DistTagsPart(resources, stock.stand, visible),
        (live, Route.TARBALL): LiveTarballPart(resources, stock),
        (live, Route.KEYS): KeysPart(resources, now),
        (live, Route.ATTESTATIONS): AttestationsPart(resources, now),
    }
