"""The part that answers other mirrors: `/-/replicate/registry/`, as npm's feed does."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import anyio
from aiohttp import web

from npmmirror.index import replication
from npmmirror.index.replication import FeedHead, FeedRows, Names
from npmmirror.server.answers import JSON, encoded, error, json_response
from npmmirror.server.asked import Asked
from npmmirror.server.negotiation import encoding_of
from npmmirror.server.replication import question
from npmmirror.server.replication.question import BadQuery, Changes, Docs
from npmmirror.server.resources import Part, Resources

WAITING_SHARE: Final = 4
"""Of the requests that are answered at the same time, one in so many may be one that waits."""
LOOK_SECONDS: Final = 1.0
"""How often it is looked at whether a client that waits is still there."""
_INLINE_BYTES: Final = 16 * 1024
"""Answers up to this size are compressed on the loop: a thread costs as much."""

_NOT_HERE: Final = "the feed has _changes and _all_docs; documents and tarballs are under /-/raw/"


class ReplicationPart(Part):
    """`/-/replicate/registry/`, `_changes` and `_all_docs` beneath it.

    Many rows are read by one request at a time: the others' questions to the index come between.
    """

    def __init__(self, resources: Resources, is_draining: Callable[[], bool]) -> None:
        self._stock = resources.stock
        self._threads = resources.threads
        self._news = resources.news
        self._is_draining = is_draining
        self._most = max(1, resources.section.max_requests // WAITING_SHARE)
        self._turn = anyio.Lock()
        self._known: tuple[int, FeedHead] | None = None
        self.waiting = 0
        """How many requests wait for a change."""

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        match asked.rest.split("/"):
            case [""] | ["registry"]:
                return _root(await self._stock.index.ask(replication.head))
            case ["registry", "_changes"]:
                return await self._answered(request, question.changes(asked.query))
            case ["registry", "_all_docs"]:
                return await self._answered(request, question.docs(asked.query))
        return json_response({"error": "not_found", "reason": _NOT_HERE}, status=404)

    async def _answered(
        self, request: web.BaseRequest, told: Changes | Docs | BadQuery
    ) -> web.StreamResponse:
        match told:
            case BadQuery():
                return json_response({"error": "bad_request", "reason": told.reason}, status=400)
            case Docs():
                return await self._sent(request, _listing(told, await self._docs(told)))
            case Changes():
                found = await self._changes(request, told)
                if found is None:
                    return error(503, "Too many requests wait for a change", Retry_After="5")
                return await self._sent(request, _page(told, found))

    async def _docs(self, told: Docs) -> FeedRows:
        if told.keys is not None:
            ask = partial(replication.listed, names=told.keys, limit=told.limit)
        else:
            ask = partial(
                replication.listing,
                stretch=told.stretch,
                limit=told.limit,
                descending=told.descending,
            )
        async with self._turn:
            return await self._stock.index.ask(ask)

    async def _changes(self, request: web.BaseRequest, told: Changes) -> FeedRows | None:
        """The rows, as soon as there are some or it was waited long enough.

        None where too many wait already.
        """
        heard = self._news.count
        if told.since is None:
            told = replace(told, since=(await self._stock.index.ask(replication.head)).update_seq)
        found = await self._rows(told)
        if not told.wait or found.count or (told.since or 0) > found.head.update_seq:
            return found
        if self.waiting >= self._most:
            return None
        self.waiting += 1
        try:
            return await self._waited(request, told, found, heard)
        finally:
            self.waiting -= 1

    async def _waited(
        self, request: web.BaseRequest, told: Changes, found: FeedRows, heard: int
    ) -> FeedRows:
        end = anyio.current_time() + told.wait
        while not found.count and (left := end - anyio.current_time()) > 0:
            if self._is_draining() or _has_left(request):
                break
            if not await self._news.behind(heard, min(left, LOOK_SECONDS)):
                continue
            heard = self._news.count
            if (await self._head(heard)).update_seq != found.head.update_seq:
                found = await self._rows(told)
        return found

    async def _head(self, heard: int) -> FeedHead:
        """Where the feed ends; asked once for each news, however many wait."""
        async with self._turn:
            if self._known is None or self._known[0] != heard:
                self._known = (heard, await self._stock.index.ask(replication.head))
            return self._known[1]

    async def _rows(self, told: Changes) -> FeedRows:
        ask = partial(
            replication.changes,
            after=told.since or 0,
            limit=told.limit,
            descending=told.descending,
            names=told.names,
        )
        async with self._turn:
            return await self._stock.index.ask(ask)

    async def _sent(self, request: web.BaseRequest, body: bytes) -> web.Response:
        encoding = encoding_of(request.headers.get("Accept-Encoding", ""))
        if len(body) > _INLINE_BYTES:
            body, encoding = await self._threads.run(encoded, body, encoding)
        else:
            body, encoding = encoded(body, encoding)
        headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
        if encoding:
            headers["Content-Encoding"] = encoding
        return web.Response(body=body, headers=headers, content_type=JSON)


def _root(head: FeedHead) -> web.Response:
    return json_response(
        {
            "db_name": "registry",
            "engine": "npmmirror",
            "doc_count": head.doc_count,
            "update_seq": head.update_seq,
        }
    )


def _page(told: Changes, found: FeedRows) -> bytes:
    """A full page ends at its last row; any other one where the feed ends."""
    end = found.head.update_seq
    if found.count >= told.limit and not told.descending and found.last is not None:
        end = found.last
    return b'{"results":[%b],"last_seq":%d}' % (found.json, end)


def _listing(told: Docs, found: FeedRows) -> bytes:
    """To know how many rows come before a name all of them would have to be counted."""
    is_first = told.keys is None and told.stretch == Names()
    return b'{"total_rows":%d,"offset":%b,"rows":[%b]}' % (
        found.head.doc_count,
        b"0" if is_first else b"null",
        found.json,
    )


def _has_left(request: web.BaseRequest) -> bool:
    return request.transport is None or request.transport.is_closing()
