"""The registry as it stood at a moment of the past: `/-/at/<time or seq:N>/`.

Its parts are those of the registry of now, over what was known then. What is held or withheld is
judged as of now.
"""

from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

from aiohttp import web

from npmmirror.archive import CaptureDamagedError, ErasedError
from npmmirror.index.past import PastPackage, bound, package_at
from npmmirror.past import Bound, Outside, parse_when
from npmmirror.server.answers import error, json_response
from npmmirror.server.asked import Asked, Route
from npmmirror.server.claims import Claims, is_meant
from npmmirror.server.resources import Part
from npmmirror.server.stand import HeldTarball, Revision, Stand
from npmmirror.server.stock import Stock, held_tarballs
from npmmirror.sqlite import Transaction

MOMENTS: Final = 10_000
"""Moments that are remembered: they never change."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a moment cannot be told of."""

    sentence: str


class Moments:
    """Which moment an address means."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._known: OrderedDict[str, Bound] = OrderedDict()

    async def of(self, text: str) -> Bound | Refusal:
        """The moment; or why it is none, which the next commit may change."""
        found = self._known.get(text)
        if found is not None:
            return found
        try:
            when = parse_when(text)
        except ValueError as fault:
            return Refusal(str(fault))
        told = await self._stock.index.ask(partial(bound, when=when))
        if isinstance(told, Outside):
            return Refusal(told.sentence)
        self._known[text] = told
        if len(self._known) > MOMENTS:
            self._known.popitem(last=False)
        return told


class PastStock:
    """Packages as they stood at the moment that a request's address names."""

    def __init__(self, stock: Stock, moments: Moments, claims: Claims) -> None:
        self._stock = stock
        self._moments = moments
        self._claims = claims

    async def stand(self, asked: Asked) -> Stand | None:
        """A package; None where no document of it was captured by then.

        Of its tarballs those alone that its document of then meant: an answer must not change
        with what came later.
        """
        found = await self._found(asked)
        if found is None:
            return None
        if not _is_there(found):
            return _stand(found, {})

        async def question(now: Transaction) -> dict[str, HeldTarball]:
            return await held_tarballs(now, found.name)

        held = await self._stock.index.ask(question)
        with suppress(CaptureDamagedError, ErasedError):  # whoever reads the document will say so
            held = await self._claims.meant(found.name, _revision(found), held)
        return _stand(found, held)

    async def tarball(self, asked: Asked) -> HeldTarball | None:
        """The tarball that a file name meant then; None where it was not there, or is not held."""
        held = await self._stock.tarball(asked.name, asked.rest, gone=True)
        found = await self._found(asked) if held is not None else None
        if held is None or found is None or not _is_there(found):
            return None
        try:
            claims = await self._claims.of(found.name, _revision(found))
        except (CaptureDamagedError, ErasedError):
            return None
        claim = claims.get(held.version)
        return held if claim is not None and is_meant(claim, held) else None

    async def why(self, asked: Asked) -> tuple[int, str] | None:
        """Why the registry of then does not have a package: status and word; None: it has it."""
        moment = await self._moments.of(asked.view.bound)
        if isinstance(moment, Refusal):
            return 400, moment.sentence
        found = await self._found(asked)
        if found is None:
            return 404, f"{asked.name} was not captured by {moment.committed_at}"
        if found.erased:
            return 410, f"what was captured of {asked.name} by {moment.committed_at} was erased"
        if found.removed is not None:
            return 404, f"{asked.name} was gone upstream at {moment.committed_at}"
        if asked.route is Route.PACKUMENT:
            return 404, f"no version that {asked.name} had at {moment.committed_at} is held"
        return None

    async def _found(self, asked: Asked) -> PastPackage | None:
        moment = await self._moments.of(asked.view.bound)
        if isinstance(moment, Refusal):
            return None
        question = partial(package_at, name=asked.name, ordinal=moment.ordinal)
        return await self._stock.index.ask(question)


def _is_there(found: PastPackage) -> bool:
    return found.removed is None and not found.erased


def _revision(found: PastPackage) -> Revision:
    row = found.revision
    return Revision(row.ordinal, row.sha256, row.length, row.place, found.erased)


def _stand(found: PastPackage, held: dict[str, HeldTarball]) -> Stand:
    state = "removed" if found.removed is not None else "live"
    return Stand(found.name, "erased" if found.erased else state, _revision(found), held)


class MomentPart(Part):
    """`/-/at/<moment>/`: which record, and which time of a commit, a moment means."""

    def __init__(self, moments: Moments) -> None:
        self._moments = moments

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        del request
        moment = await self._moments.of(asked.view.bound)
        if isinstance(moment, Refusal):
            return error(400, moment.sentence)
        return json_response(asdict(moment))


class PastPart(Part):
    """A part of the registry of then; where it has nothing, the answer says why."""

    def __init__(self, part: Part, past: PastStock, moments: Moments) -> None:
        self._part = part
        self._past = past
        self._moments = moments

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        moment = await self._moments.of(asked.view.bound)
        if isinstance(moment, Refusal):
            return error(400, moment.sentence)
        answer = await self._part.answer(request, asked)
        if answer.status != 404 or not asked.name:
            return answer
        why = await self._past.why(asked)
        return answer if why is None else error(why[0], why[1])
