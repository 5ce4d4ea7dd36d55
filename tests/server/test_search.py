"""Search: packages by their names, in a bounded time."""

import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from npmmirror.index.searching import NameSearch
from npmmirror.server.search import DEEPEST, MOST, SIZE, Query
from tests.server.conftest import Serve, Served

pytestmark = pytest.mark.anyio


async def names(here: Served, query: str) -> list[str]:
    """The names that a search finds, in their order."""
    found = (await here.ask(f"/-/v1/search?{query}")).json
    return [one["package"]["name"] for one in found["objects"]]


async def test_the_best_names_come_first(served: Serve) -> None:
    """The name itself, it in a scope, what begins so, the rest; short ones first."""
    async with served() as here:
        for name in ("pad", "left-pad", "@s/pad", "padding", "@pads/x", "other", "PadUp"):
            await here.publish(name, "1.0.0")
        assert await names(here, "text=pad") == [
            *("pad", "@s/pad", "PadUp", "padding", "@pads/x", "left-pad")
        ]
        assert await names(here, "text=left%20pad") == ["left-pad"]
        assert await names(here, "text=scope:s+pad") == ["@s/pad"]


async def test_pages_of_results(served: Serve) -> None:
    """`size` and `from`; `total` is of all."""
    async with served() as here:
        for number in range(5):
            await here.publish(f"pad-{number}", "1.0.0")
        assert await names(here, "text=pad&size=2&from=1") == ["pad-1", "pad-2"]
        found = (await here.ask("/-/v1/search?text=pad&size=2")).json
        assert found["total"] == 5
        assert await names(here, "text=pad&size=0") == []


async def test_what_is_told_of_a_result(served: Serve) -> None:
    """What npm prints, by the version that clients see as latest."""
    async with served() as here:
        manifest = {"description": "Pads.", "keywords": ["pad", 3], "homepage": "https://x.example"}
        here.registry.publish("left-pad", "1.0.0", manifest=manifest)
        await here.sync("left-pad")
        [one] = (await here.ask("/-/v1/search?text=left-pad")).json["objects"]
        package = one["package"]
        assert (package["version"], package["scope"]) == ("1.0.0", "unscoped")
        assert (package["description"], package["keywords"]) == ("Pads.", ["pad"])
        assert package["links"] == {"homepage": "https://x.example"}
        assert package["date"]
        assert package["maintainers"][0]["username"]
        assert one["searchScore"] == 1.0


async def test_what_upstream_has_no_longer_is_not_found(served: Serve) -> None:
    """Nor is what has no version that clients see."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        await here.publish("right-pad", "1.0.0")
        here.registry.unpublish("left-pad")
        await here.sync("left-pad")
        assert await names(here, "text=pad") == ["right-pad"]


async def test_a_new_package_is_found_at_once(served: Serve) -> None:
    """Results are not kept beyond the next commit."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        assert await names(here, "text=pad") == ["left-pad"]
        await here.publish("pad", "1.0.0")
        assert await names(here, "text=pad") == ["pad", "left-pad"]


@pytest.mark.parametrize(
    ("query", "words", "size", "start"),
    [
        ("text=React%20DOM", ("react", "dom"), SIZE, 0),
        ("text=x&size=9999&from=99999999", ("x",), MOST, DEEPEST),
        ("text=x&size=-1&from=y", ("x",), SIZE, 0),
        ("text=keywords:x+y", (), SIZE, 0),
        ("text=x+boost-exact:false", ("x",), SIZE, 0),
        ("", (), SIZE, 0),
        ("text=%25_%27%22", ("%_'\"",), SIZE, 0),
    ],
)
def test_queries(query: str, words: tuple[str, ...], size: int, start: int) -> None:
    """Bounded numbers, small letters, no answer to what cannot be answered."""
    assert Query.parse(query) == Query(words, size, start)


def test_a_search_ends_in_time_with_the_best_that_it_has(tmp_path: Path) -> None:
    """What begins with the word comes along the index, whatever the time; it is said to be a part."""
    path = tmp_path / "index.db"
    schema = files("npmmirror.index").joinpath("schema.sql").read_text("utf-8")
    rows = ((f"a-{number}-pad",) for number in range(50_000))
    with closing(sqlite3.connect(path)) as index:
        index.executescript(schema)
        index.executemany(
            "INSERT INTO packages (name, state) VALUES (?, 'live')", [("pad",), *rows]
        )
        index.commit()
    with NameSearch(path, seconds=0.0) as search:
        found = search.find(["pad"], start=0, count=10)
    assert found.names[0] == (0, "pad")
    assert not found.whole
    assert found.total < 50_001
    with NameSearch(path, seconds=60.0) as search:
        found = search.find(["pad"], start=0, count=10)
    assert (found.whole, found.total) == (True, 50_001)
