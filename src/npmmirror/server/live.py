"""The registry of now; what it does not hold is fetched, where somebody does that."""

from functools import partial

from aiohttp import web

from npmmirror.index import serving
from npmmirror.pulled import Pulling, Refused
from npmmirror.server.answers import error
from npmmirror.server.asked import Asked
from npmmirror.server.pulled_tarballs import TYPE, RefusedError, refusal, send_on
from npmmirror.server.resources import Resources
from npmmirror.server.stand import HeldTarball, Stand
from npmmirror.server.stock import version_of_file
from npmmirror.server.tarballs import TarballPart
from npmmirror.server.visibility import Verdict


class LiveStock:
    """Packages as they are now."""

    def __init__(self, resources: Resources) -> None:
        self._stock = resources.stock
        self._pulling = resources.pulling
        self._visibility = resources.visibility

    async def stand(self, asked: Asked) -> Stand | None:
        """A package; None where nobody knows of it.

        Raises:
            RefusedError: it was to be fetched, and could not be; or it is withheld.
        """
        name = asked.name
        found = await self._stock.stand(name)
        if found is None and self._visibility.withholds(name):
            raise RefusedError(Refused(451, "withheld"))
        if found is not None or self._pulling is None:
            return found
        refused = await self._pulling.package(name)
        if refused is not None:
            raise RefusedError(refused)
        return await self._stock.stand(name)

    async def tarball(self, asked: Asked) -> HeldTarball | None:
        """The held tarball that a file name means; None where there is none."""
        return await self._stock.tarball(asked.name, asked.rest)

    async def fetchable(self, asked: Asked) -> str | None:
        """The version that a file name means, where upstream has it; None: it means none.

        Raises:
            RefusedError: as `stand`.
        """
        stand = await self.stand(asked)
        if stand is None or not stand.is_there:
            return None
        version = version_of_file(asked.name, asked.rest)
        question = partial(serving.meant, name=asked.name, version=version, file=asked.rest)
        found = await self._stock.index.ask(question)
        return None if found is None else found[0]


class LiveTarballPart(TarballPart):
    """`/<pkg>/-/<file>.tgz` of now."""

    def __init__(self, resources: Resources, stock: LiveStock) -> None:
        super().__init__(resources, stock.tarball)
        self._stock = stock
        self._pulling = resources.pulling

    async def _missing(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        if self._pulling is None:
            return await super()._missing(request, asked)
        version = await self._stock.fetchable(asked)
        if version is None:
            return error(404, "Not found")
        if self._visibility.of(asked.name, version, ()) is Verdict.WITHHELD:
            return self.withheld()
        if request.method == "HEAD":  # nothing is fetched for that, and its length is not known
            return web.Response(headers={"Accept-Ranges": "none"}, content_type=TYPE)
        return await self._pulled(self._pulling, request, asked, version)

    async def _pulled(
        self, pulling: Pulling, request: web.BaseRequest, asked: Asked, version: str
    ) -> web.StreamResponse:
        found = await pulling.tarball(asked.name, version)
        if isinstance(found, Refused):
            return refusal(found)
        if found is not None:
            return await send_on(request, found, {"Cache-Control": "no-store"})
        held = await self._finding(asked)
        if held is None:
            return refusal(Refused(503, "busy", 1.0))
        return await self._sent(request, asked, held)
