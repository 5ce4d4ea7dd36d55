"""What is in stock: packages as the index and the archive have them, for the parts that answer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from npmmirror.archive import CaptureReader
from npmmirror.capture import Location
from npmmirror.index import IndexReader, serving
from npmmirror.index.rounds import Rounds
from npmmirror.server.stand import HeldTarball, Revision, Stand
from npmmirror.sqlite import Transaction
from npmmirror.worker_threads import WorkerThreads

TARBALLS: Final = 64
"""Tarballs that are looked up in one passage through the index's thread."""
_BETWEEN: Final = "\n"
"""No name and no file name that is looked up has a line break in it."""

_Found = tuple[serving.HeldRow, str]


class Stock:
    """Reads packages. `packages` is the directory of tarballs.

    `index` is a callable, because a rebuilt index is another file with other connections.
    """

    def __init__(
        self,
        index: Callable[[], IndexReader],
        captures: CaptureReader,
        packages: Path,
        threads: WorkerThreads,
    ) -> None:
        self._index = index
        self._captures = captures
        self._threads = threads
        self._tarballs = Rounds(self._tarballs_of, TARBALLS)
        self.packages = packages

    @property
    def index(self) -> IndexReader:
        """The index as it is now."""
        return self._index()

    async def stand(self, name: str) -> Stand | None:
        """A package as it is now; None where no document of it was captured.

        Raises:
            IndexUnavailableError: the index cannot be read now.
        """

        async def question(now: Transaction) -> Stand | None:
            return await standing_of(now, name)

        return await self.index.ask(question)

    async def tarball(self, name: str, file: str, *, gone: bool = False) -> HeldTarball | None:
        """The held tarball that a file name means; None where there is none.

        `gone`: also where upstream no longer has the version.

        Raises:
            IndexUnavailableError: the index cannot be read now.
        """
        found = await self._tarballs.ask(f"{name}{_BETWEEN}{file}")
        if found is None:
            return None
        row, state = found
        if not gone and (not row.present or state in {"removed", "erased"}):
            return None
        return HeldTarball(row.version, row.path, row.size, row.sha512)

    async def _tarballs_of(self, asked: Sequence[str]) -> dict[str, _Found]:
        async def question(now: Transaction) -> dict[str, _Found]:
            return {about: row for about in asked if (row := await _tarball(now, about))}

        return await self.index.ask(question)

    async def document(self, place: Location) -> bytes:
        """The raw document of a revision.

        Raises:
            CaptureDamagedError, ErasedError: it cannot be had.
        """
        return await self._threads.run(self._captures.document, place)

    def read(self, place: Location) -> bytes:
        """The same, for whoever is in a thread already."""
        return self._captures.document(place)


async def _tarball(now: Transaction, about: str) -> _Found | None:
    name, _, file = about.partition(_BETWEEN)
    return await serving.tarball(now, name, version_of_file(name, file), file)


def version_of_file(name: str, file: str) -> str:
    """The version that a file name tells, as `packuments.tarball_name` writes it; else empty."""
    stem = file.removesuffix(".tgz")
    beginning = f"{name.rpartition('/')[2]}-"
    return stem.removeprefix(beginning) if stem != file and stem.startswith(beginning) else ""


async def standing_of(now: Transaction, name: str) -> Stand | None:
    """A package as it is now."""
    row = await serving.standing(now, name)
    if row is None:
        return None
    place = Location(row.segment, row.offset)
    revision = Revision(row.ordinal, row.sha256, row.length, place, row.erased == 1)
    return Stand(name, row.state, revision, await held_tarballs(now, name))


async def held_tarballs(now: Transaction, name: str) -> dict[str, HeldTarball]:
    """The tarballs of a package that are held now, by version; those gone upstream among them."""
    return {
        row.version: HeldTarball(row.version, row.path, row.size, row.sha512)
        for row in await serving.held(now, name)
    }
