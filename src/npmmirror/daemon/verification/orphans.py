"""Files under `packages/` that the index does not know."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import PurePosixPath

from npmmirror.archive import DiskFaultError, OutOfMeansError, TarballsAwayError
from npmmirror.daemon.verification.bench import Bench, Ticker
from npmmirror.daemon.verification.tally import Tally, What
from npmmirror.index import StoredRow
from npmmirror.integrity import Expected, Hasher
from npmmirror.layout import split_path, tarball_path
from npmmirror.outcome import LOST

BATCH = 500

Key = tuple[str, str]


class OrphanCheck:
    """Walks through the directory and looks up each file. Temp files are none of them."""

    def __init__(self, bench: Bench, tally: Tally, ticker: Ticker) -> None:
        self._bench = bench
        self._tally = tally
        self._ticker = ticker

    async def run(self, packages: Sequence[str] | None) -> list[Key]:
        """Do it; the versions whose files are there and may be adopted."""
        suspects: list[str] = []
        for directory in await self._directories(packages):
            walk = self._bench.store.walk(directory)
            while batch := await self._bench.threads.run(_some, walk):
                suspects += await self._unknown(batch)
                self._tally.files += len(batch)
                self._ticker.tick("files", self._tally.files, None)
        if not suspects:
            return []
        # A file has its final name a moment before the index knows it.
        await self._bench.settle()
        return [key for path in await self._unknown(suspects) if (key := await self._judged(path))]

    async def _directories(self, packages: Sequence[str] | None) -> list[str]:
        """Where to look: everywhere, or where these packages' files are or would be."""
        if packages is None:
            return [""]
        found: dict[str, None] = {}
        for name in packages:
            rows = await self._bench.reader.held((name, ""), 1, name)
            paths = [row.path for row in rows]
            paths.append(tarball_path(name, "0.0.0", self._bench.hash_length))
            found |= dict.fromkeys(str(PurePosixPath(path).parent) for path in paths)
        return list(found)

    async def _unknown(self, paths: Sequence[str]) -> list[str]:
        """Those of these paths that no version has."""
        unknown: list[str] = []
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            keys = {path: key for path in batch if (key := split_path(path)) is not None}
            rows = await self._bench.reader.stored(list(keys.values()))
            # A name that was too long stands in its path as a digest alone.
            others = [path for path in batch if path not in keys]
            known = await self._bench.reader.known_paths(others)
            known |= {path for path, key in keys.items() if key in rows and rows[key].path == path}
            unknown += [path for path in batch if path not in known]
        return unknown

    async def _judged(self, path: str) -> Key | None:
        """Note what an unknown file is; its version, where it may be adopted."""
        key = split_path(path)
        if key is None:
            self._tally.find(What.STRAY, path=path, detail="its name is no tarball's")
            return None
        row = (await self._bench.reader.stored([key])).get(key)
        detail, right = await self._compared(path, row)
        if detail is None:
            return None
        self._tally.find(What.ORPHAN, package=key[0], version=key[1], path=path, detail=detail)
        return key if right and path == tarball_path(*key, self._bench.hash_length) else None

    async def _compared(self, path: str, row: StoredRow | None) -> tuple[str | None, bool]:
        """What to say of a file, and whether its bytes are those that its version should have.

        None where the file is gone by now.
        """
        if (foreign := _foreign(row)) is not None or row is None:
            return foreign, False
        hasher = Hasher(Expected.of(row.integrity, row.shasum))
        try:
            size = await self._bench.store.hash_file(path, hasher)
        except (TarballsAwayError, OutOfMeansError):
            raise
        except DiskFaultError as fault:
            return str(fault), False
        if size is None:
            return None, False
        if hasher.matches and row.sha512 in {None, hasher.digests.sha512}:
            return "its bytes are those of its version", True
        return f"its bytes are not those of its version: {hasher.verdict()}", False


def _foreign(row: StoredRow | None) -> str | None:
    """Why a file is none that its version could have; None where its bytes decide."""
    if row is None:
        return "the mirror knows no such version"
    if row.held:
        return f"its version is held in {row.path}"
    if row.state == "dropped" and row.reason not in LOST:
        return f"its version was dropped: {row.reason}"
    if row.sha512 is None and Expected.of(row.integrity, row.shasum) is None:
        return "nothing tells what its bytes should be"
    return None


def _some(walk: Iterator[str]) -> list[str]:
    """In a thread: the next paths."""
    return list(islice(walk, BATCH))
