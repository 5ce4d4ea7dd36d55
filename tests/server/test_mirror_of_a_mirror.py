"""A second mirror that follows the first one's feed and reads its documents and tarballs."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import anyio.lowlevel
import orjson
import pytest

from npmmirror.cli.registry import registry_of_run
from npmmirror.config import UpstreamSection
from npmmirror.daemon.erase import Plan, erase
from npmmirror.daemon.reindex import reindex
from npmmirror.server.replication import news
from npmmirror.server.replication.part import ReplicationPart
from npmmirror.testing import ScriptedRegistry, faults
from npmmirror.testing.history import History
from tests.daemon.conftest import opener
from tests.server.chain import SECTIONS, Chain, SecondMirror, chain, free_port

pytestmark = [pytest.mark.anyio, pytest.mark.long]


@pytest.mark.parametrize("without_revs", [False, True])
async def test_it_converges_to_the_same_bytes(tmp_path: Path, without_revs: bool) -> None:
    """Through a life of publishing, unpublishing and removing, while the first one works."""
    registry = ScriptedRegistry(seed=3, without_revs=without_revs)
    history = History(registry, seed=3, packages=8, share=0.6)
    async with chain(tmp_path, registry) as here, here.running():
        await here.alike()
        for _ in range(6):
            history.step()
            await anyio.lowlevel.checkpoint()
            history.step()
            await here.first.at_head()
        held = await here.alike()
        assert {state for state, _, _ in held.values()} >= {"live", "unpublished"}
        assert any(files for _, _, files in held.values())


async def test_a_second_one_that_comes_late_has_it_all(tmp_path: Path) -> None:
    """What there was before it began to follow is in the feed as well."""
    registry = ScriptedRegistry(seed=4)
    history = History(registry, seed=4, packages=12, share=0.6)
    for _ in range(5):
        history.step()
    async with chain(tmp_path, registry) as here, here.first.running():
        await here.first.at_head()
        async with here.second.running():
            await here.alike()


async def test_a_tarball_that_the_first_does_not_hold(tmp_path: Path) -> None:
    """An outcome of its own: told, not asked for again, until the first one has it."""
    nothing = {"policy": {"tarballs": "none"}}
    async with chain(tmp_path, first=nothing) as here:
        here.registry.publish("left-pad", "1.0.0")
        here.registry.publish("left-pad", "1.1.0")
        async with here.running():
            status = await here.second.until(lambda now: now["skips"] == {"not_held": 2})
            assert (status["work_list"], status["dead_letters"]) == ({}, {})
            async with here.first.control() as first:
                async for _ in first.sync(["left-pad@1.1.0"], {}):
                    pass
            await here.second.until(lambda now: now["skips"] == {"not_held": 1})
            held = await here.caught_up()
            assert list(held["left-pad"][2]) == ["1.1.0"]


async def test_a_tarball_that_comes_to_the_first_later(tmp_path: Path) -> None:
    """It is announced again, and fetched then; whoever restarts in between misses nothing."""
    async with chain(tmp_path) as here:
        here.first.upstream.fault("tarball", faults.Status(404), name="left-pad", times=None)
        here.registry.publish("left-pad", "1.0.0")
        async with here.first.running():
            async with here.second.running():
                await here.second.until(lambda now: now["skips"] == {"not_held": 1})
            here.first.upstream.heal()
            async with here.first.control() as first:
                await first.retry([])
            await here.first.until(lambda now: now["totals"]["tarballs"] == 1)
            async with here.second.running():
                await here.alike()
                assert (await here.second.status())["skips"] == {}


async def test_the_first_was_reindexed(tmp_path: Path) -> None:
    """Ordinals survive: the second one goes on as if nothing had happened."""
    registry = ScriptedRegistry(seed=5)
    history = History(registry, seed=5, packages=6, share=0.6)
    async with chain(tmp_path, registry) as here, here.second.running():
        async with here.first.running():
            await here.alike()
            cursor = (await here.second.status())["feed"]["cursor"]
        data_dir = here.first.config.storage.data_dir
        for path in data_dir.glob("index.db*"):
            path.unlink()
        await reindex(here.first.config, lambda _: None)
        history.step()
        async with here.first.running():
            await here.alike()
            status = await here.second.status()
            assert status["feed"]["cursor"] > cursor
            assert status["feed"]["head_went_back"] is None


@pytest.mark.parametrize("without_revs", [False, True])
async def test_the_first_began_anew(tmp_path: Path, without_revs: bool) -> None:
    """Its head goes back; what changed meanwhile is found by the reconciliation."""
    registry = ScriptedRegistry(seed=6, without_revs=without_revs)
    history = History(registry, seed=6, packages=6, share=0.6, moves=["publish", "deprecate"])
    soon = {"follow": {"head_fall_minutes": 0.005}}
    async with chain(tmp_path, registry, second=soon) as here, here.second.running():
        async with here.first.running():
            for _ in range(4):
                await here.alike()
                history.step()
            await here.alike()
        shutil.rmtree(here.first.config.storage.data_dir)
        history.step()
        async with here.first.running():
            await here.second.until(lambda now: now["feed"]["head_went_back"] is not None)
            await here.alike()


async def test_a_version_taken_back_without_revisions(tmp_path: Path) -> None:
    """The first believes it in the end; the second has the digest of what to believe at once."""
    registry = ScriptedRegistry(without_revs=True)
    doubtful = {"policy": {"confirm_removal_hours": 0.0003}}
    patient = {"policy": {"confirm_removal_hours": 24}}
    async with chain(tmp_path, registry, first=doubtful, second=patient) as here, here.running():
        for name in ("left-pad", "react", "vue"):
            registry.publish(name, "1.0.0")
        registry.publish("left-pad", "1.1.0")
        await here.alike()
        document = orjson.loads(registry.document("left-pad"))
        del document["versions"]["1.1.0"]
        document["dist-tags"] = {"latest": "1.0.0"}
        registry.put_document("left-pad", orjson.dumps(document))
        held = await here.alike()
        assert list(held["left-pad"][2]) == ["1.0.0"]


async def test_it_needs_no_address_but_the_feeds(tmp_path: Path) -> None:
    """Without `upstream.registry` the documents are those beside the feed."""
    del tmp_path
    told = UpstreamSection(feed="http://mirror.example/npm/-/replicate/registry")
    assert registry_of_run(told).url == "http://mirror.example/npm/-/raw"


async def test_the_first_asks_for_a_token(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is told as the password of a URL, and is in no line of the log."""
    secret = "let-me-in"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    tokens = {"server": {"tokens": [f"sha256:{digest}"]}}
    async with chain(tmp_path, first=tokens) as here:
        here.registry.publish("left-pad", "1.0.0")
        async with here.first.running():
            async with here.second.running():
                await here.second.until(lambda now: "http_401" in str(now["feed"]))
            here.second.url = here.second.url.replace("://", f"://mirror:{secret}@")
            async with here.second.running():
                await here.alike()
    told = capfd.readouterr()
    assert secret not in told.out + told.err


async def test_it_is_followed_in_turn(tmp_path: Path) -> None:
    """A third one, without revisions all the way, has the same bytes."""
    registry = ScriptedRegistry(seed=7, without_revs=True)
    history = History(registry, seed=7, packages=5, share=0.6)
    port = free_port()
    listening = {"server": {"listen": f"127.0.0.1:{port}"}}
    async with (
        chain(tmp_path, registry, second=listening) as here,
        opener(tmp_path / "third")(**SECTIONS) as third,
    ):
        last = SecondMirror(third.config, third.upstream, url=f"http://127.0.0.1:{port}")
        tail = Chain(here.second, last)
        async with here.running(), last.running():
            for _ in range(3):
                history.step()
                await here.alike()
                assert await tail.caught_up()


async def test_a_package_that_is_removed_and_comes_back(tmp_path: Path) -> None:
    """Both times the second one follows, and what it captured before stays."""
    async with chain(tmp_path) as here, here.running():
        here.registry.publish("left-pad", "1.0.0")
        await here.alike()
        here.registry.remove("left-pad")
        assert (await here.alike())["left-pad"][0] == "removed"
        assert here.second.end_state().packages["left-pad"].package[0] == "removed"
        here.registry.publish("left-pad", "1.1.0")
        assert (await here.alike())["left-pad"][0] == "live"


async def agreed(plan: Plan) -> bool:
    """The operator agrees."""
    del plan
    return True


async def test_a_package_that_is_erased(tmp_path: Path) -> None:
    """To the second one it is gone; what that one holds is its own operator's to erase."""
    async with chain(tmp_path) as here, here.second.running():
        here.registry.publish("left-pad", "1.0.0")
        async with here.first.running():
            await here.alike()
        await erase(here.first.config, "left-pad", "court order 7", agreed)
        async with here.first.running():
            await here.second.until(lambda now: now["totals"]["packages"] == {"removed": 1})
        _, second = here.held()
        assert list(second["left-pad"][2]) == ["1.0.0"]


async def test_a_daemon_answers_who_waits_as_soon_as_it_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own commits it need not look for."""
    waiting = anyio.Event()

    async def waited(part: ReplicationPart, *question: Any) -> Any:
        waiting.set()
        return await wait(part, *question)

    wait = ReplicationPart._waited
    monkeypatch.setattr(ReplicationPart, "_waited", waited)
    monkeypatch.setattr(news, "LOOK_SECONDS", 1000.0)
    async with chain(tmp_path) as here, here.first.running(), aiohttp.ClientSession() as client:
        here.registry.publish("left-pad", "1.0.0")
        await here.first.at_head()
        found: list[str] = []

        async def ask() -> None:
            url = f"{here.second.source.feed}/_changes?feed=longpoll&since=now"
            async with client.get(url) as answer:
                found.extend(row["id"] for row in (await answer.json())["results"])

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await waiting.wait()
                here.registry.publish("react", "1.0.0")
        assert found == ["react"]
