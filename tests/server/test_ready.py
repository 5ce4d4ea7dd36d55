"""The cache of ready answers: what it keeps, what it drops, and that an answer is made once."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from npmmirror.server.answers import Ready, ready
from npmmirror.server.changes import MOST, Changed, Changes, DataVersion
from npmmirror.server.ready import ReadyAnswers

pytestmark = pytest.mark.anyio


class Index:
    """An index whose commits a test makes."""

    def __init__(self) -> None:
        self.commits: list[Changed] = []

    def look(self) -> Changed | None:
        """What was committed since the last look."""
        return self.commits.pop(0) if self.commits else None


class Maker:
    """Makes answers, and counts them."""

    def __init__(self, size: int = 10) -> None:
        self.made = 0
        self.size = size
        self.gate: anyio.Event | None = None

    async def __call__(self) -> Ready:
        """An answer; once the gate is open, where there is one."""
        self.made += 1
        number = self.made
        if self.gate is not None:
            await self.gate.wait()
        return ready(b"%d" % number + b"x" * self.size)


async def turn() -> None:
    """Let the loop turn, as it does between two requests."""
    await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint()


async def test_an_answer_is_made_once() -> None:
    """The second request gets the first one's."""
    make, cache = Maker(), ReadyAnswers(1 << 20, Index().look)
    first = await cache.made("key", make, "a")
    assert await cache.made("key", make, "a") is first
    assert make.made == 1


async def test_requests_at_the_same_time_share_one_making() -> None:
    """However many ask, one works."""
    make, cache = Maker(), ReadyAnswers(1 << 20, Index().look)
    make.gate = anyio.Event()
    got: list[Ready] = []

    async def ask() -> None:
        got.append(await cache.made("key", make, "a"))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
        await turn()
        make.gate.set()
    assert make.made == 1
    assert len({id(one) for one in got}) == 1


async def test_a_failure_is_not_kept() -> None:
    """Who waited makes it anew; the error is that of who failed."""
    cache, tried = ReadyAnswers(1 << 20, Index().look), []

    async def fail() -> Ready:
        tried.append(1)
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await cache.made("key", fail, "a")
    assert len(tried) == 2


async def test_a_commit_drops_what_it_changed_and_what_belongs_to_nobody() -> None:
    """The answers of other packages stay."""
    index = Index()
    make, cache = Maker(), ReadyAnswers(1 << 20, index.look)
    for key in ("a", "b", ""):
        await cache.made(key, make, key)
    await turn()
    index.commits.append(Changed(("a",)))
    assert cache.known("a") is None
    assert cache.known("b") is not None
    assert cache.known("") is None


async def test_an_unknown_commit_drops_everything() -> None:
    """As where more packages changed than can be told."""
    index = Index()
    make, cache = Maker(), ReadyAnswers(1 << 20, index.look)
    await cache.made("a", make, "a")
    await turn()
    index.commits.append(Changed(None))
    assert cache.known("a") is None
    assert cache.bytes == 0


async def test_what_was_begun_before_a_change_is_neither_kept_nor_shared() -> None:
    """Who asks after the commit gets an answer that was begun after it."""
    index = Index()
    make, cache = Maker(), ReadyAnswers(1 << 20, index.look)
    make.gate = anyio.Event()
    bodies: list[bytes] = []

    async def ask() -> None:
        bodies.append((await cache.made("key", make, "a")).body)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await turn()
        index.commits.append(Changed(("a",)))
        tasks.start_soon(ask)
        await turn()
        make.gate.set()
    assert make.made == 2
    assert sorted(body[:1] for body in bodies) == [b"1", b"2"]
    known = cache.known("key")
    assert known is not None
    assert known.body[:1] == b"2"


async def test_the_cache_is_bounded_by_bytes() -> None:
    """The answers that were asked for longest ago go."""
    make, cache = Maker(size=10_000), ReadyAnswers(100_000, Index().look)
    for number in range(100):
        await cache.made(number, make, f"package-{number}")
        cache.known(0)
    assert cache.bytes <= 100_000
    assert cache.known(0) is not None
    assert cache.known(99) is not None
    assert cache.known(50) is None
    assert len(cache._keys) == len(cache)


async def test_an_answer_that_is_too_large_is_given_and_not_kept() -> None:
    """It would push out everything else."""
    make, cache = Maker(size=50_000), ReadyAnswers(100_000, Index().look)
    assert len((await cache.made("key", make, "a")).body) > 50_000
    assert cache.bytes == 0


@pytest.fixture
def index(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An index that others commit to."""
    schema = files("npmmirror.index").joinpath("schema.sql").read_text("utf-8")
    with closing(sqlite3.connect(tmp_path / "index.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(schema)
        yield connection


def test_a_commit_is_told_with_the_packages_that_it_changed(
    index: sqlite3.Connection, tmp_path: Path
) -> None:
    """Once; one that changed none is told, too."""
    with closing(DataVersion(tmp_path / "index.db")) as version:
        changes = Changes(version)
        assert changes.look() is None
        put = "INSERT INTO packages (name, state, touched) VALUES (?, 'live', ?)"
        index.executemany(put, [("a", 1), ("b", 2)])
        index.commit()
        assert changes.look() == Changed(("b", "a"))
        assert changes.look() is None
        index.execute("UPDATE packages SET touched = 3 WHERE name = 'a'")
        index.commit()
        assert changes.look() == Changed(("a",))
        index.execute("INSERT INTO meta VALUES ('x', 'y')")
        index.commit()
        assert changes.look() == Changed(())


def test_too_many_packages_are_not_told_one_by_one(
    index: sqlite3.Connection, tmp_path: Path
) -> None:
    """What is not told counts as changed."""
    with closing(DataVersion(tmp_path / "index.db")) as version:
        changes = Changes(version)
        put = "INSERT INTO packages (name, state, touched) VALUES (?, 'live', ?)"
        index.executemany(put, [(f"package-{number}", number) for number in range(1, MOST + 2)])
        index.commit()
        assert changes.look() == Changed(None)
        index.executemany(put, [("new", MOST + 2)])
        index.commit()
        assert changes.look() == Changed(("new",))
