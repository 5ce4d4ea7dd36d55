"""What captured documents say of versions whose tarballs are fetched without a document at hand."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol

from npmmirror.archive import CaptureDamagedError, CaptureReader, DiskFaultError, ErasedError
from npmmirror.capture import Location
from npmmirror.effects import Known
from npmmirror.outcome import HELD
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.worker_threads import WorkerThreads

READ_BYTES = 4 << 20
"""Of a document so much is kept for the package's next jobs: its tarballs come a few at a time."""
KEPT_BYTES = 8 << 20
"""Of all documents."""

Manifests = dict[str, bytes]


class Turns(Protocol):
    """Lets large documents into memory one at a time (`PackumentFetcher.turn`)."""

    def __call__(self, length: int, /) -> Awaitable[Callable[[], None] | None]:
        """Wait until a document of this length may be in memory; what to call afterwards."""
        ...


class CapturedManifests:
    """Reads manifests out of the newest document of a package, and keeps some for a while.

    Not for who has a large document in memory: it would wait for its own turn.
    """

    def __init__(self, captures: CaptureReader, threads: WorkerThreads, turn: Turns) -> None:
        self._captures = captures
        self._threads = threads
        self._turn = turn
        self._kept: OrderedDict[Location, Manifests] = OrderedDict()
        self._bytes = 0

    async def of(self, package: str, known: Known | None, versions: Sequence[str]) -> Manifests:
        """The manifests of these versions in JSON, as far as the document can be read and has them."""
        if known is None or known.place is None or not versions:
            return {}
        found = self._take(known.place, versions)
        if len(found) < len(versions):
            found = await self._read(package, known, known.place, versions)
        return {version: found[version] for version in versions if version in found}

    async def _read(
        self, package: str, known: Known, place: Location, versions: Sequence[str]
    ) -> Manifests:
        release = None
        try:
            record = await self._threads.run(self._captures.record, place)
            release = await self._turn(record.length or 0)
            found = await self._threads.run(self._parse, package, known, place, versions)
        except (CaptureDamagedError, ErasedError, DiskFaultError, NotAPackumentError):
            return {}
        finally:
            if release is not None:
                release()
        self._keep(place, {v: raw for v, raw in found.items() if v not in set(versions)})
        return found

    def _parse(
        self, package: str, known: Known, place: Location, versions: Sequence[str]
    ) -> Manifests:
        document = Packument.parse(self._captures.document(place), name=package)
        return dict(_some(document, versions, _to_come(document, known, versions)))

    def _take(self, place: Location, versions: Iterable[str]) -> Manifests:
        """What is kept of these; each is asked for once."""
        kept = self._kept.get(place, {})
        found = {version: kept.pop(version) for version in versions if version in kept}
        self._bytes -= _size(found)
        if not kept:
            self._kept.pop(place, None)
        return found

    def _keep(self, place: Location, manifests: Manifests) -> None:
        self._bytes -= _size(self._kept.pop(place, {}))
        if manifests:
            self._kept[place] = manifests
            self._bytes += _size(manifests)
        while self._bytes > KEPT_BYTES:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


def _to_come(document: Packument, known: Known, versions: Sequence[str]) -> Iterator[str]:
    """Versions that may be asked for next: those behind the first of these, then those before."""
    order = list(document.versions)
    start = order.index(versions[0]) if versions[0] in document.versions else 0
    for version in chain(order[start:], order[:start]):
        one = known.versions.get(version)
        if one is None or one.state not in HELD:
            yield version


def _some(
    document: Packument, versions: Iterable[str], to_come: Iterable[str]
) -> Iterator[tuple[str, bytes]]:
    """These, and as many to come as are kept."""
    for version in versions:
        if version in document.versions:
            yield version, bytes(document.versions[version])
    left = READ_BYTES
    for version in to_come:
        raw = bytes(document.versions[version])
        left -= len(raw)
        if left < 0:
            return
        yield version, raw


def _size(manifests: Manifests) -> int:
    return sum(map(len, manifests.values()))
