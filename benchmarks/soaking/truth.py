"""What upstream ever told, revision by revision: a journal that the soak's comparisons read.

It is a SQLite file, so that days of it need no memory; what was compared is pruned.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from npmmirror.testing.registry import ScriptedRegistry
from npmmirror.testing.revision import Revision

NEWS_BEGIN = "2100-01-01T00:00:00Z"
"""Upstream's clock from the first storm on: what happens then is news to a mirror that follows."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS told (
    name TEXT, generation INTEGER, rev TEXT, sha256 TEXT, summary BLOB,
    PRIMARY KEY (name, generation)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS retired (name TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class Version(NamedTuple):
    """A version in a document: digests of its manifest, whole and without `deprecated`.

    `is_news`: published since `NEWS_BEGIN`.
    """

    digest: str
    rest: str
    deprecated: str | None
    is_news: bool


@dataclass(frozen=True, slots=True)
class Told:
    """A revision of a package. `sha256` (hex) is None where it has no document (`removed`)."""

    generation: int
    rev: str
    sha256: str | None
    state: str
    versions: dict[str, Version]
    tags: dict[str, str]
    maintainers: tuple[str, ...]
    created_since: bool


class Journal:
    """The journal's file. Written by the upstream's process, read and pruned by the driver's."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = OFF")  # it ends with the soak
        self._file.executescript(SCHEMA)

    def note(self, registry: ScriptedRegistry, name: str) -> None:
        """Keep a package's newest revision."""
        revision = registry.revision(name)
        sha256 = hashlib.sha256(revision.full.raw).hexdigest() if revision.full else None
        self._file.execute(
            "INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?, ?)",
            (name, generation(revision.rev), revision.rev, sha256, orjson.dumps(summary(revision))),
        )

    def revisions(self, name: str) -> dict[int, Told]:
        """What a package was, by generation, as far as it was not pruned."""
        found = self._file.execute(
            "SELECT generation, rev, sha256, summary FROM told WHERE name = ? ORDER BY generation",
            (name,),
        )
        return {row[0]: _told(*row) for row in found}

    def names(self) -> Iterator[str]:
        """The packages that it tells of."""
        return (name for (name,) in self._file.execute("SELECT DISTINCT name FROM told").fetchall())

    def prune(self, name: str, before: int) -> None:
        """Forget the revisions of a package before a generation."""
        self._file.execute("DELETE FROM told WHERE name = ? AND generation < ?", (name, before))

    def retire(self, name: str) -> None:
        """Forget a package that will not change any more; its name is kept."""
        self._file.execute("DELETE FROM told WHERE name = ?", (name,))
        self._file.execute("INSERT OR IGNORE INTO retired VALUES (?)", (name,))

    def is_retired(self, name: str) -> bool:
        """Whether it was compared for the last time."""
        found = self._file.execute("SELECT 1 FROM retired WHERE name = ?", (name,))
        return found.fetchone() is not None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def generation(rev: str) -> int:
    """The number in front of a rev."""
    return int(rev.partition("-")[0])


def summary(revision: Revision) -> dict[str, Any]:
    """What a revision's events depend on, ready for JSON."""
    times = revision.times
    return {
        "state": revision.state,
        "versions": {
            version: [*_digests(manifest), str(times.get(version, "")) >= NEWS_BEGIN]
            for version, manifest in revision.versions.items()
        },
        "tags": dict(revision.tags),
        "maintainers": [one["name"] for one in revision.maintainers],
        "created_since": str(times.get("created", "")) >= NEWS_BEGIN,
    }


@lru_cache(8_000)
def _digests(manifest: bytes) -> tuple[str, str, str | None]:
    said = orjson.loads(manifest)
    deprecated = said.pop("deprecated", None)
    rest = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    return _digest(manifest), _digest(rest), deprecated


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]


def _told(generation: int, rev: str, sha256: str | None, summary: bytes) -> Told:
    said = orjson.loads(summary)
    return Told(
        generation,
        rev,
        sha256,
        said["state"],
        {version: Version(*found) for version, found in said["versions"].items()},
        said["tags"],
        tuple(said["maintainers"]),
        said["created_since"],
    )
