"""Reports of long commands, as files under `<data_dir>/reports/`: JSON, a finding a line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import anyio
import orjson

from npmmirror.errors import StorageError

Report = dict[str, Any]


class ReportFile:
    """A report that is written while it is made: findings first, then everything else.

    Made by `ReportFile.begin`. It has its name only when it is whole; two of the same second get
    two names. All methods raise `StorageError` where the file cannot be written.
    """

    def __init__(self, directory: Path, stem: str, file: anyio.AsyncFile[bytes]) -> None:
        self._directory = directory
        self._stem = stem
        self._file = file
        self._first = True

    @classmethod
    async def begin(cls, data_dir: Path, what: str, at: str) -> Self:
        """A report about something, begun at a time."""
        directory = data_dir / "reports"
        stem = f"{what}-{at[:19].replace('-', '').replace(':', '')}Z"
        with _translated(directory):
            await anyio.Path(directory).mkdir(exist_ok=True)
            file = await anyio.open_file(directory / f"{what}.partial", "wb")
            await file.write(b'{"findings": [')
        return cls(directory, stem, file)

    async def add(self, found: list[Report]) -> None:
        """Findings, in their order."""
        lines = b",\n".join(orjson.dumps(one) for one in found)
        if lines:
            with _translated(self._directory):
                await self._file.write((b"\n" if self._first else b",\n") + lines)
            self._first = False

    async def end(self, report: Report) -> Path:
        """Write the rest, durable; the file's path."""
        rest = orjson.dumps(report, option=orjson.OPT_INDENT_2).removeprefix(b"{")
        with _translated(self._directory):
            await self._file.write(b"\n],\n" + rest.lstrip() + b"\n")
            await self._file.flush()
            await anyio.to_thread.run_sync(os.fsync, self._file.wrapped.fileno())
            await self._file.aclose()
            return await anyio.to_thread.run_sync(self._publish)

    async def abandon(self) -> None:
        """Leave no file."""
        with suppress(OSError):
            await self._file.aclose()
        with suppress(OSError):
            await anyio.Path(str(self._file.name)).unlink(missing_ok=True)

    def _publish(self) -> Path:
        path = self._directory / f"{self._stem}.json"
        number = 2
        while path.exists():
            path = self._directory / f"{self._stem}-{number}.json"
            number += 1
        Path(str(self._file.name)).rename(path)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return path


@contextmanager
def _translated(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"the report in {directory} cannot be written: {error.strerror}"
        ) from error
