"""A file of names that a backfill works off, kept until it is done: whoever gave it may go."""

import os
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from npmmirror.errors import StorageError
from npmmirror.failpoints import reach


class NamesFile:
    """Names, one a line; empty lines and those that begin with # say nothing.

    All methods raise `StorageError` where the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def keep(self, chunks: AsyncIterable[bytes]) -> int:
        """Write the file, durable under its name only when it is whole; how many lines it has."""
        with self._translated("written"):
            return await self._keep(chunks)

    async def _keep(self, chunks: AsyncIterable[bytes]) -> int:
        partial = self._path.with_name(f"{self._path.name}.partial")
        lines, last = 0, b"\n"
        async with await anyio.open_file(partial, "wb") as file:
            async for chunk in chunks:
                await file.write(chunk)
                lines += chunk.count(b"\n")
                last = chunk[-1:] or last
            await file.flush()
            await anyio.to_thread.run_sync(os.fsync, file.wrapped.fileno())
        await anyio.to_thread.run_sync(_publish, partial, self._path)
        reach("backfill.names_kept")
        return lines + (last != b"\n")

    async def read(self, offset: int, lines: int) -> tuple[list[str], int, int]:
        """Names from a byte on, of so many lines at most.

        Returns:
            The names, how many lines they were read of, and the byte behind those. No lines: the
            end of the file.
        """
        with self._translated("read"):
            return await anyio.to_thread.run_sync(self._read, offset, lines)

    def _read(self, offset: int, most: int) -> tuple[list[str], int, int]:
        names: list[str] = []
        lines = 0
        with self._path.open("rb") as file:
            file.seek(offset)
            while lines < most and (line := file.readline()):
                lines += 1
                name = line.decode("utf-8", "replace").strip()
                if name and not name.startswith("#"):
                    names.append(name)
            return names, lines, file.tell()

    async def remove(self) -> None:
        """Have no file."""
        with self._translated("deleted"):
            await anyio.Path(self._path).unlink(missing_ok=True)

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"the names in {self._path} cannot be {what}: {error.strerror}"
            ) from error


def _publish(partial: Path, path: Path) -> None:
    partial.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
