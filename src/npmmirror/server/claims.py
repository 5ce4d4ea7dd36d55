"""What captured documents claim of their versions' tarballs, remembered for a while."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from npmmirror.integrity import may_be, sri
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.server.stand import HeldTarball, Revision
from npmmirror.server.stock import Stock
from npmmirror.worker_threads import WorkerThreads

VERSIONS: Final = 50_000
"""So many versions' claims are remembered, about 25 MB; those of the largest document are."""

_FEW: Final = 50
"""So many are compared at once; to compare one takes some microseconds."""

Claim = tuple[str | None, str | None]
"""`dist.integrity` and `dist.shasum`."""


def is_meant(claim: Claim, held: HeldTarball) -> bool:
    """Whether a file that is held can be the one that a document meant.

    A version that was withdrawn may have come again with other bytes.
    """
    integrity, shasum = claim
    if integrity == sri(held.sha512):  # nearly always, and ten times as quick
        return True
    return may_be(integrity, shasum, sha512=held.sha512, verified=None)


def claims_of(document: Packument) -> dict[str, Claim]:
    """By version. Takes about 6 us for each."""
    facts = (document.facts(version) for version in document.versions)
    return {each.version: (each.integrity, each.shasum) for each in facts}


def _meant(claims: Mapping[str, Claim], held: Mapping[str, HeldTarball]) -> dict[str, HeldTarball]:
    return {
        version: tarball
        for version, tarball in held.items()
        if version in claims and is_meant(claims[version], tarball)
    }


class Claims:
    """The claims of documents by their ordinals. Used from one event loop."""

    def __init__(self, stock: Stock, threads: WorkerThreads, most: int = VERSIONS) -> None:
        self._stock = stock
        self._threads = threads
        self._most = most
        self._known: OrderedDict[int, Mapping[str, Claim]] = OrderedDict()
        self._count = 0

    async def of(self, name: str, revision: Revision) -> Mapping[str, Claim]:
        """Those of a document, by version.

        Raises:
            CaptureDamagedError, ErasedError: it cannot be had.
        """
        found = self._known.get(revision.ordinal)
        if found is None:
            found = await self._threads.run(self._read, name, revision)
            self._keep(revision.ordinal, found)
        else:
            self._known.move_to_end(revision.ordinal)
        return found

    async def meant(
        self, name: str, revision: Revision, held: Mapping[str, HeldTarball]
    ) -> dict[str, HeldTarball]:
        """Those of some held tarballs that a document can have meant, by version.

        Raises:
            CaptureDamagedError, ErasedError: it cannot be had.
        """
        claims = await self.of(name, revision)
        if len(held) < _FEW:
            return _meant(claims, held)
        return await self._threads.run(_meant, claims, held)

    def _read(self, name: str, revision: Revision) -> Mapping[str, Claim]:
        try:
            return claims_of(Packument.parse(self._stock.read(revision.place), name=name))
        except NotAPackumentError:
            return {}

    def _keep(self, ordinal: int, found: Mapping[str, Claim]) -> None:
        if ordinal in self._known:  # somebody else asked meanwhile
            return
        self._known[ordinal] = found
        self._count += len(found) + 1
        while self._count > self._most and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._count -= len(oldest) + 1
