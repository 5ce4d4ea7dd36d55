"""Attestation bundles: fetched with their tarballs, archived byte for byte, asked for once."""

from functools import partial
from pathlib import Path

import orjson
import pytest

from npmmirror.archive import CaptureReader
from npmmirror.capture import Kind, Location, Record
from npmmirror.daemon.erase import erase
from npmmirror.daemon.reindex import reindex
from npmmirror.index import IndexReader, signing
from npmmirror.testing import ScriptedRegistry, ScriptedUpstream
from npmmirror.testing.faults import Status
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.derived import derived, differences

pytestmark = [pytest.mark.anyio, pytest.mark.long]


def attested(*versions: str, name: str = "@s/a") -> ScriptedUpstream:
    """A package whose versions have attestations."""
    registry = ScriptedRegistry()
    for version in versions:
        registry.publish(name, version, attested=True)
    return ScriptedUpstream(registry)


def archived(here: RunningMirror) -> dict[str, bytes | None]:
    """What the log holds of each version; None where upstream had nothing."""
    with CaptureReader(here.config.storage.data_dir / "captures") as captures:
        return {
            one.facts["version"]: captures.document(one.place) if one.length is not None else None
            for one in captures.scan()
            if isinstance(one, Record) and one.kind is Kind.ATTESTATION
        }


async def same_when_rebuilt(here: RunningMirror) -> None:
    """The log gives the same tables, and nothing more is asked for."""
    index = here.config.storage.index_path
    before = derived(index)
    await reindex(here.config, lambda _: None)
    assert not differences(before, derived(index))
    assert not here.work_list("@s/a")


async def test_they_are_archived_as_they_came(mirror: Open) -> None:
    """Byte for byte, with each version whose tarball is fetched, and known in the index."""
    async with mirror(attested("1.0.0", "2.0.0")) as here:
        registry = here.upstream.registry
        await here.sync("@s/a", all_versions=True)
        expected = {v: registry.attestations("@s/a", v) for v in ("1.0.0", "2.0.0")}
        assert archived(here) == expected
        assert here.rows("SELECT number FROM totals WHERE what = 'attestations'") == [(2,)]
        await same_when_rebuilt(here)


async def test_a_version_without_is_not_asked_for(mirror: Open) -> None:
    """Nor is one whose tarball is not wanted."""
    async with mirror(attested("1.0.0", "2.0.0")) as here:
        here.upstream.registry.publish("@s/a", "3.0.0")
        await here.sync("@s/a@3.0.0", "@s/a@1.0.0")
        assert list(archived(here)) == ["1.0.0"]
        assert here.upstream.count("attestations") == 1


async def test_documents_alone_bring_none(mirror: Open) -> None:
    """A mirror that keeps no tarballs keeps no attestations."""
    async with mirror(attested("1.0.0"), policy={"tarballs": "none"}) as here:
        async with here.running():
            await here.at_head()
        assert here.rows("SELECT attested FROM versions") == [(1,)]
        assert not archived(here)


async def test_they_are_asked_for_once(mirror: Open) -> None:
    """Not again when the manifest changes, nor when the tarball is fetched anew."""
    async with mirror(attested("1.0.0")) as here:
        async with here.running():
            await here.at_head()
            here.upstream.registry.deprecate("@s/a", "1.0.0", "old")
            await here.at_head()
        await here.sync("@s/a", force=True)
        assert here.upstream.count("attestations") == 1


async def test_a_held_version_that_is_attested_later(mirror: Open) -> None:
    """Its manifest changes, and tells of attestations."""
    async with mirror(attested("1.0.0")) as here, here.running():
        registry = here.upstream.registry
        registry.publish("@s/b", "1.0.0")
        await here.at_head()
        registry.attest("@s/b", "1.0.0", b'{"attestations":[]}')
        registry.amend("@s/b", "1.0.0", {"dist": _dist(registry, "@s/b")})
        await here.at_head()
        assert archived(here)["1.0.0"] == b'{"attestations":[]}'
        assert here.upstream.count("attestations", "@s/b") == 1


def _dist(registry: ScriptedRegistry, name: str) -> dict[str, object]:
    told: dict[str, object] = orjson.loads(registry.document(name))["versions"]["1.0.0"]["dist"]
    return told | {"attestations": {"url": "https://registry.example/x"}}


async def test_what_fails_is_tried_again(mirror: Open) -> None:
    """The tarball is held meanwhile, and is not fetched again for it."""
    async with mirror(attested("1.0.0")) as here:
        here.upstream.fault("attestations", Status(500), times=2)
        async with here.running():
            await here.until(lambda _: bool(archived(here)))
            await here.at_head()
        assert here.upstream.count("tarball") == 1
        assert here.upstream.count("attestations") == 3
        assert not here.work_list("@s/a")
        await same_when_rebuilt(here)


async def test_an_endpoint_that_is_broken_stops_nobody(mirror: Open) -> None:
    """Everything else is mirrored; what is missing stays on the work list, and says why."""
    registry = ScriptedRegistry()
    for number in range(20):
        registry.publish(f"p{number}", "1.0.0", attested=True)
    async with mirror(
        ScriptedUpstream(registry), fetch={"retry_seconds": 60.0, "retry_max_seconds": 60.0}
    ) as here:
        here.upstream.fault("attestations", Status(500), times=None)
        async with here.running():
            status = await here.at_head()
            assert status["fetch"]["paused"] is None
        assert here.rows("SELECT count(*) FROM versions WHERE state = 'held'") == [(20,)]
        assert here.work_list("p7")["1.0.0"].reason == "attestations_http_500"


async def test_one_404_is_no_answer_and_three_are(mirror: Open) -> None:
    """Then it is recorded that upstream has none, whatever its document says."""
    async with mirror(attested("1.0.0")) as here:
        bundle = here.upstream.registry.attestations("@s/a", "1.0.0")
        here.upstream.registry.attest("@s/a", "1.0.0", None)
        async with here.running():
            await here.until(lambda _: bool(archived(here)))
            await here.at_head()
        assert archived(here) == {"1.0.0": None}
        assert here.upstream.count("attestations") == 3
        here.upstream.registry.attest("@s/a", "1.0.0", bundle)
        await here.sync("@s/a", force=True)
        assert here.upstream.count("attestations") == 3
        await same_when_rebuilt(here)


@pytest.mark.parametrize("said", [b"<html>", b"[]", b"{}", b'{"attestations": 5}'])
async def test_what_is_no_answer_about_attestations_is_not_kept(mirror: Open, said: bytes) -> None:
    """It is tried again later, as a failure."""
    async with mirror(
        attested("1.0.0"), fetch={"retry_seconds": 60.0, "retry_max_seconds": 60.0}
    ) as here:
        here.upstream.registry.attest("@s/a", "1.0.0", said)
        await here.sync("@s/a")
        assert not archived(here)
        assert here.work_list("@s/a")["1.0.0"].reason.startswith("attestations_")


async def test_more_of_them_than_a_job_takes(mirror: Open) -> None:
    """The rest is on the work list, due at once."""
    versions = [f"1.{number}.0" for number in range(7)]
    async with mirror(attested(*versions), fetch={"tarballs_per_job": 2}) as here:
        await here.sync("@s/a", all_versions=True)
        async with here.running():
            await here.at_head()
        assert sorted(archived(here)) == versions


async def test_erasing_blanks_them(mirror: Open) -> None:
    """They name repositories and people."""
    async with mirror(attested("1.0.0")) as here:
        await here.sync("@s/a")
        place = (await bundles(here))[0]

        async def agree(_: object) -> bool:
            return True

        await erase(here.config, "@s/a", "asked to", agree)
        with CaptureReader(here.config.storage.data_dir / "captures") as captures:
            assert captures.record(place).erased
        assert not here.rows("SELECT * FROM totals WHERE what = 'attestations' AND number <> 0")
        await same_when_rebuilt(here)


async def bundles(here: RunningMirror) -> list[Location]:
    """Where the index says that bundles lie."""
    path: Path = here.config.storage.index_path
    async with await IndexReader.open(path) as reader:
        return await reader.ask(partial(signing.bundles, name="@s/a"))


async def test_a_mirror_that_held_the_files_before_asks_after_reindex(mirror: Open) -> None:
    """What an older program captured lacks them."""
    async with mirror(attested("1.0.0")) as here:
        here.upstream.fault("attestations", Status(500), times=None)
        await here.sync("@s/a")
        await reindex(here.config, lambda _: None)
        assert here.work_list("@s/a")["1.0.0"].reason == "attestation"
        here.upstream.heal()
        async with here.running():
            await here.at_head()
        assert "1.0.0" in archived(here)
