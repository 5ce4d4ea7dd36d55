"""The derived tables of an index, as far as they are not the file's own: to compare two."""

import sqlite3
from contextlib import closing
from pathlib import Path

Tables = dict[str, list[tuple[object, ...]]]

OF_PACKAGES = ("versions", "dependencies", "people", "dist_tags", "revisions", "events")
QUERIES = {
    "packages": "SELECT {columns} FROM packages WHERE state <> '' OR stale_revision IS NOT NULL",
    "marks": "SELECT * FROM marks",
    "followings": "SELECT * FROM followings",
    "totals": "SELECT * FROM totals WHERE number <> 0",
    **{
        table: f"SELECT p.name, {{columns}} FROM {table} AS t JOIN packages AS p ON p.id = package_id"  # noqa: S608 - constants
        for table in OF_PACKAGES
    },
}
"""Every derived table; numbers of packages are left out, for each file gives its own."""


def derived(path: Path) -> Tables:
    """All rows of all derived tables, sorted."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as index:
        return {table: _rows(index, table, query) for table, query in QUERIES.items()}


def differences(one: Tables, other: Tables) -> list[str]:
    """Rows that only one of them has, a sentence each."""
    return [
        f"{table}: only the {which} has {row}"
        for table in QUERIES
        for which, rows, others in (
            ("first", one[table], other[table]),
            ("second", other[table], one[table]),
        )
        for row in rows
        if row not in others
    ]


def _rows(index: sqlite3.Connection, table: str, query: str) -> list[tuple[object, ...]]:
    names = [row[1] for row in index.execute(f"PRAGMA table_info({table})")]
    keys = {"package_id"} | ({"id"} if table == "packages" else set())
    columns = ", ".join(
        f'{"p" if table == "packages" else "t"}."{name}"' for name in names if name not in keys
    )
    sql = query.replace("FROM packages WHERE", "FROM packages AS p WHERE")
    return sorted(index.execute(sql.format(columns=columns)).fetchall(), key=repr)
