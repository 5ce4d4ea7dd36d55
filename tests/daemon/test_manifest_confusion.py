"""Tarballs whose package.json is not what the packument says: kept, and told of."""

import shutil
from typing import Any

import pytest
from structlog.testing import capture_logs

from npmmirror.capture import Kind
from npmmirror.config import Config
from npmmirror.daemon.erase import Plan, erase
from npmmirror.daemon.showing import shown
from npmmirror.testing import ScriptedRegistry
from npmmirror.testing.history import History
from npmmirror.testing.manifest import package_json
from tests.daemon.conftest import Open
from tests.daemon.derived import derived, differences
from tests.daemon.reindexed import live, rebuilt, records

pytestmark = pytest.mark.anyio

EVIL = {"scripts": {"postinstall": "node steal.js"}, "dependencies": {"evil": "^1.0.0"}}
FIELDS = ["dependencies.evil", "scripts.postinstall", "scripts.test"]
DETAIL = {
    "reason": "differs",
    "differences": [
        {"field": "dependencies.evil", "packument": None, "tarball": "^1.0.0"},
        {"field": "scripts.postinstall", "packument": None, "tarball": "node steal.js"},
        {"field": "scripts.test", "packument": "node test.js", "tarball": None},
    ],
    "more": 0,
}


def confuse(registry: ScriptedRegistry, name: str, version: str) -> None:
    """Publish a version whose tarball holds what nobody sees who reads the packument."""
    registry.publish(name, version, files={"package.json": package_json(name, version, EVIL)})


async def agreed(_: Plan) -> bool:
    return True


async def told_of(config: Config, name: str, version: str) -> Any:
    """What `show NAME@VERSION` says of it."""
    async with shown(config) as showing:
        return (await showing.version(name, version))["manifest_confusion"]


async def test_a_confused_version_is_kept_and_told_of(mirror: Open) -> None:
    """In the log, in `status` and in `show`; its neighbours are not."""
    async with mirror(policy={"tarballs": "all"}) as here:
        registry = here.upstream.registry
        registry.publish("a", "1.0.0")
        confuse(registry, "a", "1.0.1")
        with capture_logs() as lines:
            async with here.running():
                status = await here.at_head()
        assert status["totals"]["tarballs"] == 2
        assert status["manifest_confusions"] == {"differs": 1}
        assert await told_of(here.config, "a", "1.0.1") == DETAIL
        assert await told_of(here.config, "a", "1.0.0") is None
    [line] = [line for line in lines if line["event"] == "manifest_confusion"]
    assert (line["package"], line["version"], line["fields"]) == ("a", "1.0.1", FIELDS)


async def test_honest_packages_are_told_of_nowhere(mirror: Open) -> None:
    """A long history of many packages leaves no row, and no fact in the log."""
    async with mirror(policy={"tarballs": "all"}) as here:
        await live(here, History(here.upstream.registry, seed=3, packages=8, share=0.7), 4)
        assert here.rows("SELECT * FROM manifest_confusions") == []
        tarballs = [one for one in records(here.config) if one.kind is Kind.TARBALL]
        assert len(tarballs) > 20
        assert not any("manifest" in one.facts for one in tarballs)


async def test_it_is_found_without_a_document_at_hand(mirror: Open) -> None:
    """Where a job takes a few tarballs and later ones the rest: in what was captured."""
    async with mirror(policy={"tarballs": "all"}, fetch={"tarballs_per_job": 2}) as here:
        versions = [f"1.0.{number}" for number in range(9)]
        for version in versions:
            confuse(here.upstream.registry, "a", version)
        async with here.running():
            status = await here.at_head()
        assert status["manifest_confusions"] == {"differs": len(versions)}


async def test_it_is_found_by_sync(mirror: Open) -> None:
    """Where a person asks for a version, and for one of a document that is not new."""
    async with mirror() as here:
        for version in ("1.0.0", "1.0.1"):
            confuse(here.upstream.registry, "a", version)
        await here.sync("a@1.0.0")
        await here.sync("a@1.0.1")
        assert await told_of(here.config, "a", "1.0.0") == DETAIL
        assert await told_of(here.config, "a", "1.0.1") == DETAIL


@pytest.mark.parametrize(
    ("archive", "reason"),
    [(b"", "not_an_archive"), (b"no archive at all", "not_an_archive")],
)
async def test_what_is_no_archive_is_kept(mirror: Open, archive: bytes, reason: str) -> None:
    """Its bytes are those that upstream names: that is all that it takes to be held."""
    async with mirror() as here:
        here.upstream.registry.publish("a", "1.0.0", archive=archive)
        async with here.running():
            status = await here.at_head()
        assert status["totals"]["tarballs"] == 1
        assert await told_of(here.config, "a", "1.0.0") == {
            "reason": reason,
            "differences": [],
            "more": 0,
        }


async def test_a_rebuilt_index_tells_the_same(mirror: Open) -> None:
    """Of the log alone: no tarball is there to be read."""
    async with mirror(policy={"tarballs": "all"}) as here:
        registry = here.upstream.registry
        registry.publish("a", "1.0.0")
        confuse(registry, "a", "1.0.1")
        registry.publish("b", "1.0.0", archive=b"")
        async with here.running():
            await here.at_head()
        before = derived(here.config.storage.index_path)
        for path in here.config.storage.packages_path.glob("*/*/*.tgz"):
            path.unlink()
        await rebuilt(here.config)
        after = derived(here.config.storage.index_path)
        assert len(after["manifest_confusions"]) == 2
        told = [line for line in differences(before, after) if "manifest_confusions" in line]
        assert told == []


async def test_an_erased_package_has_none(mirror: Open) -> None:
    """What its tarball said goes out of the index with all else, and stays out when rebuilt."""
    async with mirror() as here:
        confuse(here.upstream.registry, "a", "1.0.0")
        async with here.running():
            await here.at_head()
        assert len(here.rows("SELECT * FROM manifest_confusions")) == 1
        await erase(here.config, "a", "the law", agreed)
        assert here.rows("SELECT * FROM manifest_confusions") == []
        await rebuilt(here.config)
        assert here.rows("SELECT * FROM manifest_confusions") == []


async def test_it_is_found_in_a_file_that_is_adopted(mirror: Open) -> None:
    """The file stood under its name, as a kill leaves it, and nothing is fetched."""
    async with mirror() as here:
        confuse(here.upstream.registry, "a", "1.0.0")
        await here.sync("a")
        data_dir = here.config.storage.data_dir
        for index in data_dir.glob("index.db*"):
            index.unlink()
        shutil.rmtree(data_dir / "captures")
        before = here.upstream.count("tarball")
        await here.sync("a")
        assert here.upstream.count("tarball") == before
        assert await told_of(here.config, "a", "1.0.0") == DETAIL
