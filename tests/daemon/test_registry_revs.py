"""Whether a registry has revisions is found out once, and its documents are judged by it."""

import sqlite3
from contextlib import closing

import orjson
import pytest

from npmmirror.pipeline.registry_revs import ENOUGH_TO_CHANGE
from npmmirror.testing import ScriptedRegistry
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.test_stale_documents import FEW_TRIES, kinds, newer, stale, without_revs

pytestmark = pytest.mark.anyio

KEPT = "SELECT json_extract(value, '$.given') FROM meta WHERE key = 'registry_revs'"


async def three(here: RunningMirror) -> ScriptedRegistry:
    """Enough packages to tell; left-pad is one of them."""
    for name in ("left-pad", "react", "vue"):
        here.upstream.registry.publish(name, "1.0.0")
    await here.at_head()
    return here.upstream.registry


def lines(capsys: pytest.CaptureFixture[str]) -> int:
    """How often the log says that it was found out."""
    return capsys.readouterr().out.count("] registry_revs ")


async def test_a_registry_without_revisions_is_told_apart_once(
    mirror: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log says so once; `status` does with and without a daemon."""
    async with mirror(without_revs()) as here:
        async with here.running():
            await three(here)
            status = await here.until(lambda now: now["feed"]["registry_revs"] is not None)
            assert status["feed"]["registry_revs"] == "absent"
        async with here.running():
            here.upstream.registry.publish("left-pad", "1.1.0")
            status = await here.at_head()
        assert status["feed"]["registry_revs"] == "absent"
        assert lines(capsys) == 1


async def test_a_stray_revision_makes_no_document_older(mirror: Open) -> None:
    """On a registry without revisions the date decides, though its feed announces some."""
    async with mirror(without_revs(), fetch=FEW_TRIES) as here:
        async with here.running():
            registry = await three(here)
            registry.put_document("left-pad", newer(registry, "1-stray"), rev="9-told")
            await here.at_head()
        assert (kinds(here)[-1], stale(here)) == ("dist_tag_set", 0)
        assert here.rows(KEPT) == [(0,)]


async def test_an_odd_document_without_a_revision_changes_nothing(mirror: Open) -> None:
    """It is looked at again a few times, and what is known of the registry stays."""
    async with mirror() as here:
        async with here.running():
            registry = await three(here)
            asked = here.upstream.count("packument", "left-pad")
            odd = orjson.loads(newer(registry, None))
            odd.pop("_rev", None)
            registry.put_document("left-pad", orjson.dumps(odd), rev="2-told")
            status = await here.at_head()
        assert here.upstream.count("packument", "left-pad") - asked == 5
        assert kinds(here)[-1] == "dist_tag_set"
        assert status["feed"]["registry_revs"] == "given"


async def test_a_registry_that_changed_is_judged_anew(
    mirror: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log says so, and what was taken for stale before has its turn again."""
    async with mirror(fetch=FEW_TRIES) as here:
        async with here.running():
            registry = await three(here)
            registry.put_document("left-pad", newer(registry, "1-old"), rev="9-told")
            await here.until(lambda now: now["dead_letters"] == {"stale": 1})
            for number in range(ENOUGH_TO_CHANGE):
                plain = {"name": f"p{number}", "versions": {"1.0.0": {"version": "1.0.0"}}}
                registry.put_document(f"p{number}", orjson.dumps(plain), rev="1-a")
            await here.until(lambda now: now["feed"]["registry_revs"] == "absent")
            await here.until(lambda now: not now["dead_letters"])
            await here.at_head()
        assert kinds(here)[-1] == "dist_tag_set"
        assert "registry_revs_changed" in capsys.readouterr().out


async def test_another_registry_is_found_out_about_anew(mirror: Open) -> None:
    """What is kept is of the one that it names."""
    async with mirror() as here:
        async with here.running():
            await three(here)
        with closing(sqlite3.connect(here.config.storage.index_path)) as index, index:
            index.execute("UPDATE meta SET value = replace(value, '127.0.0.1', 'registry.example')")
        async with here.running():
            here.upstream.registry.publish("left-pad", "1.1.0")
            await here.at_head()
            here.upstream.registry.publish("react", "1.1.0")
            here.upstream.registry.publish("vue", "1.1.0")
            await here.at_head()
        [(registry,)] = here.rows(
            "SELECT json_extract(value, '$.registry') FROM meta WHERE key = 'registry_revs'"
        )
        assert "registry.example" not in registry
