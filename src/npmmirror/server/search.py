"""`/-/v1/search`: packages by their names. What is shown of each comes from its document."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs

import orjson
import structlog
from aiohttp import web

from npmmirror.archive import CaptureDamagedError, ErasedError
from npmmirror.clock import SystemClock, timestamp
from npmmirror.index.searching import NamesFound
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.policy.order import place
from npmmirror.server.answers import Ready, encoded, error, ready, send
from npmmirror.server.asked import Asked
from npmmirror.server.negotiation import encoding_of
from npmmirror.server.packuments import Shown
from npmmirror.server.resources import Part, Resources
from npmmirror.server.stand import Stand

SIZE: Final = 20
MOST: Final = 250
DEEPEST: Final = 10_000
"""How far into its results a search can be asked."""
WORDS: Final = 8
WAITING: Final = 16
"""Searches that wait for the one that goes on; more are told to come again."""
LARGEST: Final = 2 << 20
"""Documents up to this many bytes are read for a result; of larger ones the name is all it has."""
_SCORES: Final = {0: 1.0, 1: 0.9, 2: 0.6, 3: 0.3}
_WORDS_KEPT: Final = 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for. `words` are in small letters; none: nothing is found."""

    words: tuple[str, ...]
    size: int
    start: int

    @classmethod
    def parse(cls, query: str) -> "Query":
        """Read a query string, tolerantly, as npm's registry does.

        `scope:` counts; a qualifier that only popularity or people could answer (`author:`,
        `keywords:`) finds nothing, rather than something else.
        """
        told = parse_qs(query, max_num_fields=50)
        texts = " ".join(told.get("text", ())).lower().split()
        words = [_word(text) for text in texts if not text.startswith("boost-exact:")]
        size = _number(told, "size", SIZE, MOST)
        start = _number(told, "from", 0, DEEPEST)
        known = [word for word in words if word]
        return cls(tuple(known[:WORDS]) if len(known) == len(words) else (), size, start)


def _word(text: str) -> str:
    qualifier, colon, rest = text.partition(":")
    if not colon:
        return text
    return f"@{rest.removeprefix('@')}/" if qualifier == "scope" and rest else ""


def _number(told: Mapping[str, list[str]], key: str, usual: int, most: int) -> int:
    text = told.get(key, [""])[-1]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return usual
    return min(int(text), most)


class SearchPart(Part):
    """Answers searches one after the other, on a thread of their own."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._search = resources.search
        self._thread = resources.searching
        self._waiting = 0

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        try:
            query = Query.parse(asked.query)
        except ValueError:
            return error(400, "Bad request")
        encoding = encoding_of(request.headers.get("Accept-Encoding", ""))
        key = (asked.route, query, encoding)
        found = self._resources.ready.known(key)
        if found is None:
            if self._waiting >= WAITING:
                return error(503, "Too many searches at once", Retry_After="5")
            self._waiting += 1
            try:
                found = await self._resources.ready.made(key, partial(self._make, query, encoding))
            finally:
                self._waiting -= 1
        return send(request, found)

    async def _make(self, query: Query, encoding: str) -> Ready:
        found = NamesFound((), 0, whole=True)
        if query.words and query.size:
            find = partial(self._search.find, start=query.start, count=query.size)
            found = await self._thread.run(find, query.words)
        objects = [one for rank, name in found.names if (one := await self._object(rank, name))]
        answer = {
            "objects": objects,
            # What matches by name and cannot be shown is not counted, as far as it was looked at.
            "total": found.total - (len(found.names) - len(objects)),
            "time": timestamp(SystemClock().now()),
        }
        body, encoding = encoded(orjson.dumps(answer), encoding)
        return ready(body, encoding=encoding, cache_control="no-cache")

    async def _object(self, rank: int, name: str) -> dict[str, Any] | None:
        """A result; None where clients see no version of the package."""
        stand = await self._resources.stock.stand(name)
        if stand is None or not stand.is_there:
            return None
        package: dict[str, Any] | None = {"name": name, **_scope(name)}
        if stand.revision.length <= LARGEST:
            package = await self._resources.threads.run(self._described, stand)
        if package is None:
            return None
        score = {
            "final": _SCORES[rank],
            "detail": {"quality": 0, "popularity": 0, "maintenance": 0},
        }
        return {"package": package, "score": score, "searchScore": _SCORES[rank]}

    def _described(self, stand: Stand) -> dict[str, Any] | None:
        """In a thread: what npm shows of a package."""
        try:
            raw = self._resources.stock.read(stand.revision.place)
            document = Packument.parse(raw, name=stand.name)
        except (ErasedError, NotAPackumentError):
            return None
        except CaptureDamagedError as fault:
            log.error("document_damaged", package=stand.name, error=str(fault))  # noqa: TRY400 - no bug of ours
            return None
        shown = self._resources.visibility.live(document, stand)
        version = _newest(shown)
        return None if version is None else described(document, version)


def described(document: Packument, version: str) -> dict[str, Any]:
    """A package as search results tell it, by one of its versions."""
    manifest = document.manifest(version)
    body = manifest.body
    keywords = body.get("keywords")
    publisher = manifest.publisher
    told = {
        "name": document.name,
        **_scope(document.name),
        "version": version,
        "description": _text(body.get("description")),
        "keywords": [each for each in keywords if isinstance(each, str)][:_WORDS_KEPT]
        if isinstance(keywords, list)
        else None,
        "date": document.times.get(version),
        "license": manifest.license,
        "links": {"homepage": home} if (home := _text(body.get("homepage"))) else {},
        "author": {"name": manifest.author.name} if manifest.author else None,
        "publisher": _person(publisher.name, publisher.email) if publisher else None,
        "maintainers": [_person(one.name, one.email) for one in document.maintainers],
    }
    return {key: value for key, value in told.items() if value is not None}


def _newest(shown: Shown) -> str | None:
    latest = shown.tags.get("latest")
    if latest in shown.versions:
        return latest
    placed = ((at, version) for version in shown.versions if (at := place(version)) is not None)
    return max(placed, default=(None, None))[1] or next(iter(shown.versions), None)


def _scope(name: str) -> dict[str, str]:
    return {"scope": name[1:].partition("/")[0] if name.startswith("@") else "unscoped"}


def _person(name: str, email: str | None) -> dict[str, str]:
    return {"username": name} | ({"email": email} if email else {})


def _text(found: Any) -> str | None:
    return found if isinstance(found, str) and found else None
