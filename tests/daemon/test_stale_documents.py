"""Documents of caches that lag: kept, marked, never a base and never an event."""

import orjson
import pytest

from npmmirror.testing import ScriptedRegistry, ScriptedUpstream
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio

FEW_TRIES = {"max_attempts": 2}
SECONDS = 1 / 3600


def kinds(here: RunningMirror, package: str = "left-pad") -> list[str]:
    """The kinds of a package's events, in their order."""
    return [row[1] for row in here.end_state().packages[package].events]


def stale(here: RunningMirror) -> int:
    """How many stale documents are kept."""
    [(count,)] = here.rows("SELECT count(*) FROM revisions WHERE stale = 1")
    return int(count)


def present(here: RunningMirror) -> set[str]:
    """The versions that the index has as present."""
    return {version for (version,) in here.rows("SELECT version FROM versions WHERE present = 1")}


def without_revs() -> ScriptedUpstream:
    """A plain copy of a registry: its feed tells revisions, its documents do not."""
    return ScriptedUpstream(ScriptedRegistry(without_revs=True))


async def two_versions(here: RunningMirror) -> bytes:
    """A package of two revisions, both seen; the first one's document."""
    registry = here.upstream.registry
    registry.publish("left-pad", "1.0.0")
    await here.at_head()
    first = registry.document("left-pad")
    registry.publish("left-pad", "1.1.0")
    await here.at_head()
    return first


def newer(registry: ScriptedRegistry, rev: str | None) -> bytes:
    """The document with one dist-tag more, a newer date, and a revision of our choice."""
    document = orjson.loads(registry.document("left-pad"))
    document["dist-tags"]["next"] = "1.0.0"
    document["time"]["modified"] = "2030-01-01T00:00:00.000Z"
    if rev is not None:
        document["_rev"] = rev
    return orjson.dumps(document)


def serve(here: RunningMirror, first: bytes, then: bytes, *, reads: int, rev: str) -> None:
    """Announce a document; so many reads get another one before it."""
    registry = here.upstream.registry
    registry.put_document("left-pad", first, announce="never")
    registry.serve_stale("left-pad", reads)
    registry.put_document("left-pad", then, rev=rev)


async def test_a_cache_that_is_stuck_for_ever(mirror: Open) -> None:
    """Asked now and then, a dead letter in the end; no event, and the next change is right."""
    async with mirror(fetch=FEW_TRIES) as here:
        registry = here.upstream.registry
        async with here.running():
            await two_versions(here)
            registry.serve_stale("left-pad", 10**6)
            registry.publish("left-pad", "1.2.0")
            status = await here.until(lambda s: s["dead_letters"] == {"stale": 1})
            assert status["mirror"]["lag"] == 0
            assert "1.2.0" not in present(here)
            # The 8 quick looks and the two that the work list has.
            assert here.work_list("left-pad")[""].attempts == 10
            before = kinds(here)
            registry.serve_stale("left-pad", 0)
            registry.deprecate("left-pad", "1.0.0", "old")
            await here.at_head()
        assert "version_unpublished" not in kinds(here)
        assert kinds(here)[: len(before)] == before
        assert present(here) == {"1.0.0", "1.1.0", "1.2.0"}


async def test_a_cache_is_gone_around(mirror: Open) -> None:
    """One stale answer, then a query that no cache knows."""
    async with mirror() as here:
        registry = here.upstream.registry
        async with here.running():
            await two_versions(here)
            asked = here.upstream.count("packument", "left-pad")
            registry.serve_stale("left-pad", 10**6, busted=True)
            registry.publish("left-pad", "1.2.0")
            await here.at_head()
        assert here.upstream.count("packument", "left-pad") - asked == 2
        assert present(here) == {"1.0.0", "1.1.0", "1.2.0"}


async def test_a_stale_package_holds_no_worker(mirror: Open) -> None:
    """With one worker the next package is mirrored while the first is waited for."""
    async with mirror(fetch={**FEW_TRIES, "concurrency": 1}) as here:
        registry = here.upstream.registry
        async with here.running():
            await two_versions(here)
            registry.serve_stale("left-pad", 10**6)
            registry.publish("left-pad", "1.2.0")
            registry.publish("chalk", "1.0.0")
            await here.until(lambda s: s["totals"]["packages"] == {"live": 2})


async def test_another_revision_of_the_announced_generation(mirror: Open) -> None:
    """A conflict: captured at once, looked at again, and in the end taken at its word."""
    async with mirror() as here:
        registry = here.upstream.registry
        async with here.running():
            await two_versions(here)
            asked = here.upstream.count("packument", "left-pad")
            document = orjson.loads(registry.document("left-pad"))
            document |= {"_rev": "3-mine", "dist-tags": {"latest": "1.1.0", "next": "1.0.0"}}
            registry.put_document("left-pad", orjson.dumps(document), rev="3-other")
            await here.at_head()
        assert here.upstream.count("packument", "left-pad") - asked == 5
        assert kinds(here)[-1] == "dist_tag_set"
        assert stale(here) == 0


async def test_a_conflict_whose_other_side_comes(mirror: Open) -> None:
    """The cache held the losing revision: the announced one is captured behind it."""
    async with mirror() as here:
        registry = here.upstream.registry
        async with here.running():
            await two_versions(here)
            held = orjson.loads(registry.document("left-pad"))
            loser = orjson.dumps(held | {"_rev": "3-aaa"})
            serve(here, loser, newer(registry, "3-bbb"), reads=2, rev="3-bbb")
            await here.at_head()
        assert kinds(here)[-1] == "dist_tag_set"


async def test_without_revs_an_older_document_is_stale(mirror: Open) -> None:
    """An older date and fewer versions: kept aside; the right one follows."""
    async with mirror(without_revs()) as here:
        async with here.running():
            first = await two_versions(here)
            serve(here, first, newer(here.upstream.registry, None), reads=3, rev="3-a")
            await here.at_head()
        assert kinds(here)[-1] == "dist_tag_set"
        assert "version_unpublished" not in kinds(here)
        assert present(here) == {"1.0.0", "1.1.0"}
        assert stale(here) == 1


async def test_without_revs_a_document_that_did_not_change_yet(mirror: Open) -> None:
    """A change is announced and the cache serves what is held: the version is not lost."""
    async with mirror(without_revs()) as here:
        registry = here.upstream.registry
        async with here.running():
            await two_versions(here)
            registry.serve_stale("left-pad", 3)
            registry.publish("left-pad", "1.2.0")
            await here.at_head()
        assert present(here) == {"1.0.0", "1.1.0", "1.2.0"}
        assert stale(here) == 0


async def test_without_revs_a_change_of_nothing_ends(mirror: Open) -> None:
    """The feed announces what no document shows: a few looks, and it is finished."""
    async with mirror(without_revs()) as here:
        registry = here.upstream.registry
        async with here.running():
            await two_versions(here)
            asked = here.upstream.count("packument", "left-pad")
            registry.put_document("left-pad", registry.document("left-pad"))
            await here.at_head()
        assert here.upstream.count("packument", "left-pad") - asked == 5


async def test_without_revs_and_dates_unpublishing_gets_through(mirror: Open) -> None:
    """A version is gone and nothing proves it: believed when that was so for long enough."""
    policy = {"confirm_removal_hours": SECONDS}
    async with mirror(without_revs(), policy=policy) as here:
        registry = here.upstream.registry
        async with here.running():
            await two_versions(here)
            document = orjson.loads(registry.document("left-pad"))
            del document["versions"]["1.0.0"]
            asked = here.upstream.count("packument", "left-pad")
            registry.put_document("left-pad", orjson.dumps(document))
            await here.until(lambda s: s["work_list"].get("stale") == 1)
            assert present(here) == {"1.0.0", "1.1.0"}
            await here.at_head()
        assert here.upstream.count("packument", "left-pad") - asked >= 9
        assert kinds(here)[-1] == "version_unpublished"
        assert present(here) == {"1.1.0"}


async def test_one_odd_document_without_a_rev_takes_nothing_back(mirror: Open) -> None:
    """On a registry that gives revisions: an older document that lost its own is stale as well."""
    async with mirror() as here:
        async with here.running():
            first = orjson.loads(await two_versions(here))
            del first["_rev"]
            right = newer(here.upstream.registry, "9-z")
            serve(here, orjson.dumps(first), right, reads=1, rev="9-z")
            await here.at_head()
        assert kinds(here)[-1] == "dist_tag_set"
        assert "version_unpublished" not in kinds(here)
        assert stale(here) == 1
        assert present(here) == {"1.0.0", "1.1.0"}
