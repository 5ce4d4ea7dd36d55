"""The index against a model: what becomes of versions, files, tags and states."""

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import hypothesis.strategies as st
from hypothesis import given, settings

from npmmirror.effects import KnownVersion
from npmmirror.index import (
    Group,
    IndexStatus,
    IndexWriter,
    StoredDocument,
    StoredDrop,
    StoredGone,
    StoredTarball,
)
from npmmirror.index.status import status
from tests.index.building import document, drop, effects, gone, tarball, version

PACKAGES = ("a", "A", "@s/b")
VERSIONS = ("1", "2", "3", "4")
HELD = ("held", "unverifiable")


@dataclass
class Package:
    """What ought to be known of one package."""

    state: str = ""
    versions: dict[str, KnownVersion] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def look(self, named: dict[str, str], tags: dict[str, str] | None) -> None:
        for name, text in named.items():
            before = self.versions.get(name, KnownVersion(b""))
            told = version(name, text)
            self.versions[name] = replace(before, digest=told.digest, present=True)
        for name in self.versions.keys() - named.keys():
            self.versions[name] = replace(self.versions[name], present=False)
        self.tags = self.tags if tags is None else tags
        self.state = "live"

    def file(self, name: str, state: str, size: int) -> None:
        before = self.versions.get(name, KnownVersion(b"", present=False))
        self.versions[name] = replace(before, state=state)
        self.sizes[name] = size or self.sizes.get(name, 0)


NAMED = st.dictionaries(st.sampled_from(VERSIONS), st.sampled_from(["x", "y"]))
TAGS = st.none() | st.dictionaries(
    st.sampled_from(["latest", "next", "Latest"]), st.sampled_from(VERSIONS)
)
FILES = st.dictionaries(
    st.sampled_from(VERSIONS),
    st.tuples(st.sampled_from(["held", "unverifiable", "dropped"]), st.integers(1, 99)),
)
LOOK = st.tuples(st.sampled_from(["look", "look", "stale", "gone", "nothing"]), NAMED, TAGS, FILES)
GROUPS = st.lists(st.dictionaries(st.sampled_from(PACKAGES), LOOK, min_size=1), max_size=8)
Look = tuple[str, dict[str, str], dict[str, str] | None, dict[str, tuple[str, int]]]


class Model:
    """Makes groups out of looks, and keeps what they ought to lead to."""

    def __init__(self) -> None:
        self.packages = {name: Package() for name in PACKAGES}
        self.ordinal = 0
        self.revisions = 0

    def next(self) -> int:
        self.ordinal += 1
        return self.ordinal

    def group(self, looks: dict[str, Look]) -> Group:
        documents: list[StoredDocument] = []
        losses: list[StoredGone] = []
        tarballs: list[StoredTarball] = []
        drops: list[StoredDrop] = []
        for name, (kind, named, tags, files) in looks.items():
            package = self.packages[name]
            if kind in {"look", "stale"}:
                self.revisions += 1
                documents.append(self._document(name, kind, named, tags))
            elif kind == "gone":
                losses.append(gone(name, self.next()))
                package.state = "removed"
            for held, (state, size) in files.items():
                if state == "dropped":
                    drops.append(drop(name, held, self.next()))
                    package.file(held, state, 0)
                else:
                    unsure = state == "unverifiable"
                    stored = tarball(name, held, self.next(), size=size, unverifiable=unsure)
                    tarballs.append(stored)
                    package.file(held, state, size)
        return Group(tuple(documents), tuple(losses), tuple(tarballs), tuple(drops))

    def _document(
        self, name: str, kind: str, named: dict[str, str], tags: dict[str, str] | None
    ) -> StoredDocument:
        if kind == "stale":
            return document(name, self.next(), None)
        package = self.packages[name]
        vanished = tuple(package.versions.keys() - named.keys())
        package.look(named, tags)
        versions = tuple(version(one, text) for one, text in named.items())
        found = effects(versions=versions, vanished=vanished, tags=tags)
        return document(name, self.next(), found)

    def check_totals(self, found: IndexStatus) -> None:
        rows = [
            (one.state, package.sizes.get(name, 0))
            for package in self.packages.values()
            for name, one in package.versions.items()
        ]
        states = [package.state for package in self.packages.values() if package.state]
        assert found.versions == len(rows)
        assert found.tarballs == sum(state in HELD for state, _ in rows)
        assert found.tarball_bytes == sum(size for state, size in rows if state in HELD)
        assert found.revisions == self.revisions
        assert found.packages == {state: states.count(state) for state in set(states)}


async def play(groups: list[dict[str, Look]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "index.db"
        model = Model()
        async with await IndexWriter.open(path) as writer:
            for looks in groups:
                await writer.commit(model.group(looks))
        async with await IndexWriter.open(path) as writer:
            for name, package in model.packages.items():
                known = await writer.known(name)
                if package.state:
                    assert known is not None
                    assert (known.state, known.versions, known.tags) == (
                        *(package.state, package.versions, package.tags),
                    )
                else:
                    assert known is None or known.state == ""
            async with writer._database.moment() as now:
                model.check_totals(await status(now))
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@settings(max_examples=60, deadline=None)
@given(groups=GROUPS)
def test_index_is_what_the_looks_lead_to(groups: list[dict[str, Look]]) -> None:
    """Whatever documents, losses and files come in whatever groups."""
    anyio.run(play, groups)
