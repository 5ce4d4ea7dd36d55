"""The schema of index.db: made anew, brought up to date, or refused."""

import os
import re
import sqlite3
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import anyio
import structlog

from npmmirror import __version__
from npmmirror.errors import NpmmirrorError, StorageError
from npmmirror.sqlite import Database, FileKind

log = structlog.get_logger(__name__)

_STEP = re.compile(r"(\d{4})_\w+\.sql")


class IndexUnavailableError(StorageError):
    """The index cannot be used now (disk full or broken, file locked); it may work later."""


KIND = FileKind(
    title="The index",
    application_id=0x6E706D69,
    remedy="move it away and run `npmmirror reindex`.",
    unavailable=IndexUnavailableError,
)


class Schema:
    """The newest schema and the steps that lead to it.

    `directory` holds `schema.sql` and `migrations/`; it is another one in tests only.
    """

    def __init__(self, directory: Traversable | None = None) -> None:
        directory = directory or files(__package__)
        self._script = directory.joinpath("schema.sql").read_text("utf-8")
        self._steps = dict(_steps(directory.joinpath("migrations")))
        self.version = max(self._steps, default=1)

    async def check(self, database: Database, path: Path) -> None:
        """Refuse a file whose schema is not this program's.

        Raises:
            StorageError: it is older or newer.
        """
        found = await _version(database)
        self._refuse_newer(found, path)
        if found < self.version:
            raise StorageError(
                f"The index {path} has the older schema {found}, this program needs "
                f"{self.version}; start `npmmirror run` once to bring it up to date."
            )

    async def prepare(self, database: Database, path: Path) -> None:
        """Make the tables of a new file, or bring an old file up to date, all or nothing.

        Raises:
            StorageError: its schema is newer than this program, or a step failed.
        """
        found = await _version(database)
        self._refuse_newer(found, path)
        if found == 0:
            await self._create(database)
        elif found < self.version:
            await self._migrate(database, path, found)

    def _refuse_newer(self, found: int, path: Path) -> None:
        if found > self.version:
            raise StorageError(
                f"The index {path} was made by a newer npmmirror (schema {found}, this program "
                f"knows {self.version}); install that version, or run `npmmirror reindex` with "
                f"this one."
            )

    async def _create(self, database: Database) -> None:
        await _run(database, self._script, self.version)
        async with database.transaction() as now:
            await now.run(
                "INSERT INTO meta VALUES ('created_at', strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), "
                "('created_by', ?)",
                (f"npmmirror {__version__}",),
            )

    async def _migrate(self, database: Database, path: Path, found: int) -> None:
        copy = path.with_name(f"{path.name}.version-{found}.copy")
        await _copy(database, copy)
        steps = [self._steps.get(number) for number in range(found + 1, self.version + 1)]
        if None in steps:
            raise StorageError(
                f"The index {path} has schema {found}, from which this program knows no way to "
                f"{self.version}; run `npmmirror reindex`."
            )
        try:
            await _run(database, ";\n".join(step for step in steps if step), self.version)
        except (sqlite3.Error, NpmmirrorError) as error:
            raise StorageError(
                f"The index {path} could not be brought from schema {found} to {self.version} "
                f"({error}); it is unchanged."
            ) from error
        log.info("index_migrated", path=str(path), before=found, now=self.version, copy=str(copy))


@cache
def own() -> Schema:
    """This program's schema, read once: a daemon without a free descriptor opens readers, too."""
    return Schema()


def _steps(directory: Traversable) -> list[tuple[int, str]]:
    found = [(_STEP.fullmatch(entry.name), entry) for entry in directory.iterdir()]
    return [(int(match[1]), entry.read_text("utf-8")) for match, entry in found if match]


async def _version(database: Database) -> int:
    async with database.moment() as now:
        [(version,)] = await now.rows("PRAGMA user_version")
    return int(version)


async def _run(database: Database, script: str, version: int) -> None:
    # A script ends the transaction that it finds; so it holds its own, which fails as a whole.
    async with database.bare() as now:
        await now.script(f"BEGIN IMMEDIATE;\n{script};\nPRAGMA user_version = {version};\nCOMMIT;")


async def _copy(database: Database, copy: Path) -> None:
    """Copy the file, durable under its name only when it is whole."""
    partial = copy.with_name(f"{copy.name}.partial")
    await anyio.Path(partial).unlink(missing_ok=True)
    async with database.moment() as now:
        await now.run("VACUUM INTO ?", (str(partial),))
    await anyio.to_thread.run_sync(_publish, partial, copy)


def _publish(partial: Path, copy: Path) -> None:
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(copy)
    directory = os.open(copy.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
