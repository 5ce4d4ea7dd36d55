"""The comparison that the kill test relies on sees what it should see."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest

from tests.kill import endstate

BODY = b"tarball"
DOUBLE_EVENTS = """
INSERT INTO events SELECT id + 1, package_id, seq, kind, version, tag, happened_at, observed_at,
    publisher, detail FROM events
"""
PATH = "aa/a/a-1.0.0.tgz"


def lay(data_dir: Path, *, first_ordinal: int = 1) -> None:
    """A data directory with one package, one version, one revision and one event."""
    schema = resources.files("npmmirror.index").joinpath("schema.sql").read_text("utf-8")
    with closing(sqlite3.connect(data_dir / "index.db")) as index:
        index.execute("PRAGMA synchronous = OFF")
        index.executescript(schema)
        one = first_ordinal
        index.execute(
            "INSERT INTO packages (id, name, state, rev, revision, ordinal)"
            " VALUES (?, 'a', 'live', '1-x', ?, ?)",
            (one, one, one),
        )
        index.execute(
            "INSERT INTO versions (package_id, version, digest, present, state, path, sha512)"
            " VALUES (?, '1.0.0', x'00', 1, 'held', ?, ?)",
            (one, PATH, hashlib.sha512(BODY).digest()),
        )
        index.execute(
            "INSERT INTO revisions VALUES (?, ?, '1-x', '1-x', 1, 'now', NULL, 0, x'11', 5, 1, 0, 0, 0, NULL)",
            (one, one),
        )
        index.execute(
            "INSERT INTO events VALUES (?, ?, 1, 'package_observed', NULL, NULL, NULL, 'now', NULL,"
            " '{\"versions\": 1}')",
            (one * 1_000_000, one),
        )
        index.commit()
    (data_dir / "staging").mkdir()
    file = data_dir / "packages" / PATH
    file.parent.mkdir(parents=True)
    file.write_bytes(BODY)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    lay(tmp_path)
    return tmp_path


@pytest.fixture
def index(data_dir: Path) -> Iterator[sqlite3.Connection]:
    """Whatever is done to the index is there once the test reads it."""
    with closing(sqlite3.connect(data_dir / "index.db", isolation_level=None)) as connection:
        yield connection


def test_ordinals_and_numbers_do_not_matter(data_dir: Path, tmp_path: Path) -> None:
    """The same contents under other numbers are alike."""
    other = tmp_path / "other"
    other.mkdir()
    lay(other, first_ordinal=77)
    assert endstate.differences(endstate.read(data_dir), endstate.read(other)) == []


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM events",
        DOUBLE_EVENTS,
        "UPDATE events SET detail = '{\"versions\": 2}'",
        "UPDATE revisions SET sha256 = x'12'",
        "UPDATE versions SET state = ''",
        "UPDATE packages SET rev = '2-y'",
        "INSERT INTO dist_tags VALUES (1, 'latest', '1.0.0')",
        "INSERT INTO packages (name, state) VALUES ('b', 'live')",
    ],
)
def test_a_difference_is_seen(data_dir: Path, index: sqlite3.Connection, change: str) -> None:
    """Any row more, less or other is told."""
    before = endstate.read(data_dir)
    index.execute(change)
    assert len(endstate.differences(before, endstate.read(data_dir))) == 1


def test_an_altered_tarball_is_seen(data_dir: Path) -> None:
    """The files themselves are hashed."""
    before = endstate.read(data_dir)
    (data_dir / "packages" / PATH).write_bytes(b"other")
    after = endstate.read(data_dir)
    assert len(endstate.differences(before, after)) == 1
    assert endstate.leftovers(data_dir, after) == [f"other bytes than recorded: {PATH}"]


def test_a_clean_directory_has_no_leftovers(data_dir: Path) -> None:
    """What is recorded and nothing else: nothing to tell."""
    assert endstate.leftovers(data_dir, endstate.read(data_dir)) == []


def test_leftovers_are_seen(data_dir: Path, index: sqlite3.Connection) -> None:
    """Temp files, orphans, missing files and doubled events."""
    (data_dir / "staging" / "x.tmp").touch()
    (data_dir / "packages" / PATH).rename(data_dir / "packages" / "orphan.tgz")
    index.execute(DOUBLE_EVENTS)
    found = endstate.leftovers(data_dir, endstate.read(data_dir))
    assert [one.partition(":")[0] for one in found] == [
        "left in staging",
        "no row for orphan.tgz",
        f"no file for {PATH}",
        "a",
    ]


def test_truth_is_compared(data_dir: Path) -> None:
    """A package at another revision than upstream's is told in all respects."""
    told = {
        "state": "live",
        "rev": "2-y",
        "sha256": "22",
        "dist_tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": "ff", "2.0.0": "ee"},
    }
    state = endstate.read(data_dir)
    assert len(endstate.untruths(state, {"a": told})) == 5
    assert endstate.untruths(state, {"b": told}) == ["b: not mirrored"]


def test_an_older_document_behind_the_newest_is_no_untruth(
    data_dir: Path, index: sqlite3.Connection
) -> None:
    """Found by a soak: a cache that lagged gave somebody who asked the one of before."""
    told = {
        "state": "live",
        "rev": "1-x",
        "sha256": "11",
        "dist_tags": {},
        "versions": {"1.0.0": endstate.read(data_dir).packages["a"].versions[0][17].hex()},
    }
    assert endstate.untruths(endstate.read(data_dir), {"a": told}) == []
    older = "INSERT INTO revisions SELECT 99, package_id, rev, rev, seq, observed_at, etag, ?, x'22', length, segment, \"offset\", number, 0, NULL FROM revisions"
    index.execute(older, (1,))
    assert endstate.untruths(endstate.read(data_dir), {"a": told}) == []
    index.execute("UPDATE revisions SET stale = 0")
    assert len(endstate.untruths(endstate.read(data_dir), {"a": told})) == 1
