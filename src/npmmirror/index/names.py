"""Names of packages by their beginnings, for whoever types them."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from npmmirror.sqlite import storable

BEHIND: Final = "\U0010ffff"
"""Sorts behind whatever a name goes on with."""
STARTING: Final = (
    "SELECT name FROM packages WHERE name >= ?1 AND name < ?2 AND state <> '' "
    "ORDER BY name LIMIT ?3"
)
AMONG: Final = "SELECT name FROM packages WHERE state <> '' AND name IN ({list})"


def starting_with(path: Path, beginning: str, limit: int) -> list[str]:
    """Captured packages whose names begin so, without any event loop; none where that fails.

    For a shell that waits for completions: it cannot be told of errors.
    """
    prefix = storable(beginning)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as index:
            rows = index.execute(STARTING, (prefix, prefix + BEHIND, limit)).fetchall()
    except sqlite3.Error:
        return []
    return [name for (name,) in rows]
