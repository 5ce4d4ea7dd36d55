"""What a mirror at the head must hold, package by package, whatever happened before.

It is read from disk without the mirror's own code, and held against what upstream says, and said
revision by revision (`soaking.truth`).
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.soaking.expected import HOLDER, Event, Mirror
from benchmarks.soaking.truth import Journal, Told, generation
from tests.kill import endstate

MOST_TOLD = 40
"""Deviations that are told one by one."""
EVENTS_EACH = 1_000_000
REVISIONS = """
SELECT ordinal, rev, stale, lower(hex(sha256)) FROM revisions
WHERE package_id = ? AND ordinal > ? ORDER BY ordinal
"""
EVENTS = f"""
SELECT id / {EVENTS_EACH}, kind, version, tag, json_extract(detail, '$.name') FROM events
WHERE package_id = ? AND id / {EVENTS_EACH} > ? ORDER BY id
"""  # noqa: S608 - a constant
ORPHAN = "no row for "
"""A file that a kill left before the log knew it, whose version was withdrawn before the next look,
stays where it is: whole, and found by `verify`."""
ALIENS = "SELECT name FROM packages WHERE state <> ''"
COUNTS = ("packages", "versions", "revisions", "events")

Truth = dict[str, Any]


@dataclass(slots=True)
class Followed:
    """How far a package's events were compared, and what the mirror knew then."""

    ordinal: int = 0
    generation: int = 0
    mirror: Mirror = field(default_factory=Mirror)


@dataclass(slots=True)
class Judge:
    """Compares again and again, each time what is new; `compared` counts what was."""

    data_dir: Path
    packages_dir: Path
    journal: Journal
    told: Callable[[str], Truth]
    served: Callable[[str, str], str | None]
    """The SHA-512 (hex) of what upstream serves, or served, as the tarball of a path."""
    compared: Counter[str] = field(default_factory=Counter)
    _followed: dict[str, Followed] = field(default_factory=dict)

    def deviations(self) -> list[str]:
        """How the mirror deviates from upstream; nothing where it does not."""
        with closing(endstate.connect(self.data_dir)) as index:
            found = list(self._found(index))
        shown = list(dict.fromkeys(found))
        if len(shown) > MOST_TOLD:
            shown[MOST_TOLD:] = [f"and {len(shown) - MOST_TOLD} more"]
        return shown

    def forget(self, names: Iterable[str]) -> None:
        """Of these nothing will change any more."""
        for name in names:
            self._followed.pop(name, None)

    def _found(self, index: sqlite3.Connection) -> Iterator[str]:
        self.compared.clear()
        numbers = dict(index.execute("SELECT name, id FROM packages").fetchall())
        for name in self.journal.names():
            told = self.told(name)
            if name in numbers:
                yield from self._package(index, name, numbers[name], told)
            elif told["state"] != "removed":
                yield f"{name}: not mirrored"
        for (name,) in index.execute(ALIENS):
            if name not in self._followed and not self.journal.is_retired(name):
                yield f"{name}: mirrored, and upstream never had it"
        yield from self._files(index)

    def _package(
        self, index: sqlite3.Connection, name: str, number: int, told: Truth
    ) -> Iterator[str]:
        followed = self._followed.setdefault(name, Followed())
        revisions = self.journal.revisions(name)
        package = endstate.package(index, number)
        if package.package[0] == "" and told["state"] == "removed":
            return  # born and gone between two looks
        files = dict(self._hashed(row[15] for row in package.versions if row[15]))
        state = endstate.EndState({name: package}, files)
        yield from endstate.untruths(state, {name: told})
        for leftover in endstate.leftovers(self.data_dir, state):
            path = leftover.removeprefix(ORPHAN)
            if path == leftover or self.served(name, path) != files[path]:
                yield leftover
            else:
                self.compared["orphans"] += 1
        newest = revisions[generation(told["rev"])]
        yield from _not_held(name, package, newest)
        yield from self._events(index, name, number, followed, revisions)
        self.compared.update(packages=1, versions=len(package.versions), files=len(files))
        self.journal.prune(name, followed.generation)

    def _events(
        self,
        index: sqlite3.Connection,
        name: str,
        number: int,
        followed: Followed,
        revisions: dict[int, Told],
    ) -> Iterator[str]:
        """Hold the new events, record by record, against those that upstream's words give."""
        after = followed.ordinal
        found: dict[int, Counter[Event]] = {}
        for ordinal, *event in index.execute(EVENTS, (number, after)):
            found.setdefault(ordinal, Counter())[tuple(event)] += 1
        captures = {row[0]: row[1:] for row in index.execute(REVISIONS, (number, after))}
        for ordinal in sorted({*found, *captures}):
            followed.ordinal = ordinal
            self.compared.update(records=1, events=found.get(ordinal, Counter()).total())
            expected: Counter[Event] = Counter()
            if ordinal in captures:
                rev, stale, sha256 = captures[ordinal]
                told = revisions.get(generation(rev))
                if told is None or told.sha256 != sha256:
                    yield f"{name}: record {ordinal} is no document of upstream's: {rev}, {sha256}"
                    continue
                if not stale:
                    if told.generation < followed.generation:
                        yield f"{name}: {rev} (record {ordinal}) was taken for newer"
                    followed.generation = told.generation
                    expected = followed.mirror.captured(told)
            else:
                if not _was_removed(revisions, followed.generation):
                    yield f"{name}: record {ordinal} says removed, and it never was"
                expected = followed.mirror.removed()
            if expected != found.get(ordinal, Counter()):
                yield f"{name}: record {ordinal}: {_apart(expected, found.get(ordinal, Counter()))}"

    def _hashed(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Every file in the directories of these, hashed."""
        for directory in {str(Path(path).parent) for path in paths}:
            for path, sha512 in endstate.files(self.packages_dir / directory):
                yield f"{directory}/{path}", sha512

    def _files(self, index: sqlite3.Connection) -> Iterator[str]:
        """As many files as rows, so that none lies where no package was looked for."""
        [(rows,)] = index.execute("SELECT count(*) FROM versions WHERE path IS NOT NULL")
        marker = self.packages_dir / ".npmmirror"
        found = self.packages_dir.rglob("*")
        there = sum(path.is_file() and path != marker for path in found)
        if rows + self.compared["orphans"] != there:
            yield f"{there} files in packages, and {rows} rows that name one"


def _not_held(name: str, package: endstate.PackageState, newest: Told) -> Iterator[str]:
    """Versions that are there and are news, and whose tarballs the mirror does not have."""
    held = {row[0] for row in package.versions if row[13] == "held"}
    for version, found in newest.versions.items():
        if found.is_news and version not in {HOLDER, *held}:
            yield f"{name}@{version}: not held"
    for row in package.work_list:
        yield f"{name}: left on the work list: {row}"


def _was_removed(revisions: dict[int, Told], since: int) -> bool:
    return any(one.state == "removed" for one in revisions.values() if one.generation > since)


def _apart(expected: Counter[Event], found: Counter[Event]) -> str:
    lacking, odd = expected - found, found - expected
    return f"lacks {sorted(lacking, key=repr)}, and has {sorted(odd, key=repr)} too much"
