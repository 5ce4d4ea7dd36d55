"""The derived tables of an index, as far as they are not the file's own: to compare two."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

Tables = dict[str, list[tuple[object, ...]]]

OF_PACKAGES = (
    *("versions", "dependencies", "people", "dist_tags", "revisions", "events"),
    *("latencies", "unknown_signers", "attestations", "manifest_confusions"),
)
QUERIES = {
    "packages": (
        "SELECT {columns} FROM {schema}packages AS p "
        "WHERE state <> '' OR stale_revision IS NOT NULL"
    ),
    "marks": "SELECT * FROM {schema}marks",
    "followings": "SELECT * FROM {schema}followings",
    "keys": "SELECT * FROM {schema}keys",
    "latency_counts": "SELECT * FROM {schema}latency_counts",
    "totals": "SELECT * FROM {schema}totals WHERE number <> 0",
    **{
        table: (
            f"SELECT p.name, {{columns}} FROM {{schema}}{table} AS t "  # noqa: S608 - constants
            "JOIN {schema}packages AS p ON p.id = package_id"
        )
        for table in OF_PACKAGES
    },
}
"""Every derived table; numbers of packages are left out, for each file gives its own."""
SHOWN = 20


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
        for row in (Counter(rows) - Counter(others)).elements()
    ]


def compare(one: Path, other: Path) -> list[str]:
    """The same of two files, without having their rows in memory: a few of each table's."""
    found = []
    with closing(sqlite3.connect(f"{one.as_uri()}?mode=ro", uri=True)) as index:
        index.execute("ATTACH ? AS other", (f"{other.as_uri()}?mode=ro",))
        for table, query in QUERIES.items():
            mine, theirs = _sql(index, table, query), _sql(index, table, query, "other.")
            for which, sql in (("first", (mine, theirs)), ("second", (theirs, mine))):
                rows = index.execute(" EXCEPT ".join(sql)).fetchmany(SHOWN)
                found += [f"{table}: only the {which} has {row}" for row in rows]
    return found


def _rows(index: sqlite3.Connection, table: str, query: str) -> list[tuple[object, ...]]:
    return sorted(index.execute(_sql(index, table, query)).fetchall(), key=repr)


def _sql(index: sqlite3.Connection, table: str, query: str, schema: str = "main.") -> str:
    names = [row[1] for row in index.execute(f"PRAGMA table_info({table})")]
    keys = {"package_id"} | ({"id"} if table == "packages" else set())
    columns = ", ".join(
        f'{"p" if table == "packages" else "t"}."{name}"' for name in names if name not in keys
    )
    return query.format(columns=columns, schema=schema)
