"""What a data directory holds at the end, read without any of the mirror's own code.

Times of our own, ordinals, numbers of rows and encodings are left out: a mirror that was killed
and one that was not must agree in all the rest.
"""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

PACKAGE = (
    "state, seq, rev, created_at, modified_at, latest, latest_author, license, version_count, "
    "modification_count, problems, revision IS NOT NULL, stale_revision IS NOT NULL"
)
VERSION = (
    "version, digest, present, published_at, tarball, shasum, integrity, file_count, "
    "unpacked_size, license, publisher, deprecated, has_install_script, state, reason, path, size, "
    "sha512, signature, attested"
)
TABLES = {
    "versions": (VERSION, "version"),
    "dist_tags": ("tag, version", "tag"),
    "people": ("role, position, name, email", "role, position"),
    "dependencies": ("version, kind, name, requirement", "version, kind, name"),
    "revisions": ("seq, rev, announced_rev, stale, sha256, length", "ordinal"),
    "attestations": ("version, sha256, length", "version"),
    "events": ("seq, kind, version, tag, happened_at, publisher, detail", "id"),
    "skips": ("version, reason, detail", "version"),
    "finished": ("seq, rev, deleted", "seq"),
    "work_list": ("item, reason, not_before IS NULL", "item"),
}
"""For each table: what is compared of a package's rows, and in what order."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class PackageState:
    """All rows of a package. The lists of revisions and events are in the order of their coming."""

    package: Row
    versions: tuple[Row, ...] = ()
    dist_tags: tuple[Row, ...] = ()
    people: tuple[Row, ...] = ()
    dependencies: tuple[Row, ...] = ()
    revisions: tuple[Row, ...] = ()
    attestations: tuple[Row, ...] = ()
    events: tuple[Row, ...] = ()
    skips: tuple[Row, ...] = ()
    finished: tuple[Row, ...] = ()
    work_list: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class EndState:
    """Packages by name, and the tarballs on disk: paths with their SHA-512 (hex)."""

    packages: Mapping[str, PackageState]
    files: Mapping[str, str] = field(default_factory=dict)


def read(data_dir: Path) -> EndState:
    """Read the index and hash every file under `packages/`."""
    with closing(connect(data_dir)) as index:
        names = dict(index.execute("SELECT id, name FROM packages ORDER BY name").fetchall())
        packages = {name: package(index, number) for number, name in names.items()}
    return EndState(packages, dict(files(data_dir / "packages")))


def package(index: sqlite3.Connection, number: int) -> PackageState:
    """All rows of the package that has this number."""
    row = index.execute(f"SELECT {PACKAGE} FROM packages WHERE id = ?", (number,)).fetchone()  # noqa: S608 - constants
    tables = {
        table: tuple(
            index.execute(
                f"SELECT {columns} FROM {table} WHERE package_id = ? ORDER BY {order}",  # noqa: S608 - constants
                (number,),
            ).fetchall()
        )
        for table, (columns, order) in TABLES.items()
    }
    tables["events"] = tuple((*row[:-1], _normal(row[-1])) for row in tables["events"])
    return PackageState(row, **tables)


def files(packages: Path) -> Iterator[tuple[str, str]]:
    """Every file under a directory: path in it, and SHA-512 (hex). The marker is none of them."""
    for path in _all_files(packages):
        if path == packages / ".npmmirror":
            continue
        with path.open("rb") as file:
            yield str(path.relative_to(packages)), hashlib.file_digest(file, "sha512").hexdigest()


def connect(data_dir: Path, *, writable: bool = False) -> sqlite3.Connection:
    """A connection to the index, also beside a running daemon.

    It reads only, unless it has to recover what a loss of power left: for that it is `writable`.
    """
    mode = "rw" if writable else "ro"
    return sqlite3.connect(f"{(data_dir / 'index.db').as_uri()}?mode={mode}", uri=True, timeout=10)


def differences(one: EndState, other: EndState) -> list[str]:
    """How two end states differ, a sentence each; nothing where they are alike."""
    found = [
        f"{name}: only {'the first' if name in one.packages else 'the second'} has it"
        for name in sorted(one.packages.keys() ^ other.packages.keys())
    ]
    for name in sorted(one.packages.keys() & other.packages.keys()):
        found += _package_differences(name, one.packages[name], other.packages[name])
    for path in sorted(one.files.keys() | other.files.keys()):
        if one.files.get(path) != other.files.get(path):
            found.append(f"{path}: {one.files.get(path)} and {other.files.get(path)}")
    return found


def untruths(state: EndState, truth: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Where a mirror does not hold what the scripted registry's `state()` says is there."""
    found = []
    for name, told in truth.items():
        if (package := state.packages.get(name)) is None:
            found.append(f"{name}: not mirrored")
        else:
            found += [f"{name}: {one}" for one in _package_untruths(package, told)]
    return found


def leftovers(data_dir: Path, state: EndState) -> list[str]:
    """What must not be there: temp files, files and rows without each other, doubled events."""
    found = [f"left in staging: {path.name}" for path in _all_files(data_dir / "staging")]
    stored = {
        row[15]: row[17] for one in state.packages.values() for row in one.versions if row[15]
    }
    found += [f"no row for {path}" for path in state.files.keys() - stored.keys()]
    found += [f"no file for {path}" for path in stored.keys() - state.files.keys()]
    found += [
        f"other bytes than recorded: {path}"
        for path in stored.keys() & state.files.keys()
        if stored[path].hex() != state.files[path]
    ]
    for name, package in state.packages.items():
        doubled = [row for row, times in Counter(package.events).items() if times > 1]
        found += [f"{name}: more than once: {row}" for row in doubled]
    return found


def _normal(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)


def _all_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _package_differences(name: str, one: PackageState, other: PackageState) -> Iterator[str]:
    for part in fields(PackageState):
        mine, theirs = getattr(one, part.name), getattr(other, part.name)
        if mine != theirs:
            yield f"{name}: {part.name}: {_apart(mine, theirs)}"


def _apart(one: Row, other: Row) -> str:
    only = [row for row in one if row not in other], [row for row in other if row not in one]
    return (
        f"{only[0]} and {only[1]}" if any(only) else f"in another order or number: {one}, {other}"
    )


def _package_untruths(package: PackageState, told: Mapping[str, Any]) -> Iterator[str]:
    if package.package[0] != told["state"]:
        yield f"{package.package[0]}, not {told['state']}"
    if told["state"] == "removed":
        return
    if package.package[2] != told["rev"]:
        yield f"at {package.package[2]}, not {told['rev']}"
    # A cache that lags may give whoever asks an older one afterwards: it is kept as stale.
    documents = [row[4].hex() for row in package.revisions if not row[3]]
    newest = documents[-1] if documents else None
    if newest != told["sha256"]:
        yield f"the newest document has digest {newest}, not {told['sha256']}"
    if dict(package.dist_tags) != told["dist_tags"]:
        yield f"tags {dict(package.dist_tags)}, not {told['dist_tags']}"
    present = {row[0]: row for row in package.versions if row[2]}
    if present.keys() != told["versions"].keys():
        yield f"versions {sorted(present)}, not {sorted(told['versions'])}"
    for version, row in present.items():
        if row[13] == "held" and row[17].hex() != told["versions"].get(version):
            yield f"{version} has other bytes than upstream's"
