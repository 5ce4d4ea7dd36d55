"""What changed in the index since it was last looked at, whichever process committed it.

`PRAGMA data_version`, on a connection that does nothing else, tells in microseconds that there was a
commit; the order of our own feed tells which packages it changed.
"""

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOST: Final = 1000
"""Packages that are told one by one; a commit has fewer, a long while without a look may have more."""

_CHANGED: Final = (
    "SELECT touched, name FROM packages WHERE touched > ? ORDER BY touched DESC LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Changed:
    """A commit, or several. `packages` are those that they changed; None: too many, or not known."""

    packages: tuple[str, ...] | None


class DataVersion:
    """Tells whether anybody committed to the index since it was last asked."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=0.0
        )
        self._last = self._read()

    def has_changed(self) -> bool:
        """Whether there was a commit since the last question; also where that cannot be told."""
        now = self._read()
        changed = now is None or now != self._last
        self._last = now
        return changed

    def rows(self, sql: str, parameters: tuple[int, ...]) -> list[tuple[int, str]] | None:
        """The rows of a query; None where the file cannot be read now."""
        with suppress(sqlite3.Error):
            return self._connection.execute(sql, parameters).fetchall()
        return None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _read(self) -> int | None:
        with suppress(sqlite3.Error):
            found: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
            return found
        return None


class Changes:
    """Tells of commits and the packages that they changed; meant for the event loop.

    A look without a commit takes some microseconds; one with a commit reads its packages' rows, which
    were written just before.
    """

    def __init__(self, version: DataVersion) -> None:
        self._version = version
        self._touched = 0
        self._changed()

    def look(self) -> Changed | None:
        """What was committed since the last look; None: nothing."""
        return Changed(self._changed()) if self._version.has_changed() else None

    def _changed(self) -> tuple[str, ...] | None:
        rows = self._version.rows(_CHANGED, (self._touched, MOST + 1))
        if rows:
            self._touched = rows[0][0]
        return None if rows is None or len(rows) > MOST else tuple(name for _, name in rows)
