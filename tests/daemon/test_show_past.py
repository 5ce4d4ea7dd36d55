"""What `npmmirror show NAME --at` knows: packages as they were."""

import hashlib
import json
from typing import Any

import pytest

from npmmirror.daemon.erase import Plan, erase
from npmmirror.daemon.showing import UnknownError
from npmmirror.daemon.showing_past import shown_past
from npmmirror.integrity import sri
from npmmirror.past import AtOrdinal, AtTime
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio
GONE = {"confirm_removal_answers": 1, "confirm_removal_hours": 0.0}


async def at_mark(here: RunningMirror) -> int:
    """The ordinal of the last mark, once all that happened is captured."""
    await here.at_head()
    [(ordinal,)] = here.rows("SELECT max(ordinal) FROM marks")
    return int(ordinal)


async def then(here: RunningMirror, ordinal: int, name: str = "a") -> dict[str, Any]:
    """What is told of a package at a record."""
    async with shown_past(here.config, AtOrdinal(ordinal)) as past:
        return await past.package(name)


async def document(here: RunningMirror, ordinal: int, name: str = "a") -> bytes:
    """Its document at a record."""
    async with shown_past(here.config, AtOrdinal(ordinal)) as past:
        return await past.document(name)


async def test_a_package_is_told_as_it_was(mirror: Open) -> None:
    """Versions, tags, deprecations and events of then; of the files whether they are here now."""
    async with mirror() as here:
        registry = here.upstream.registry
        registry.publish("a", "1.0.0")
        async with here.running():
            first, one = await at_mark(here), registry.document("a")
            registry.publish("a", "2.0.0")
            registry.deprecate("a", "1.0.0", "old")
            second, two = await at_mark(here), registry.document("a")
            report = await then(here, first)
            assert await document(here, first) == one
            assert await document(here, second) == two
            later = await then(here, second)
    assert [each["version"] for each in report["versions"]] == ["1.0.0"]
    assert report["versions"][0]["held"]
    assert report["versions"][0]["deprecated"] is None
    assert report["dist_tags"] == {"latest": "1.0.0"}
    assert report["revision"]["revision"] == 1
    assert [each["deprecated"] for each in later["versions"]] == ["old", None]
    assert len(later["events"]) > len(report["events"])


async def test_what_was_removed_was_there_before(mirror: Open) -> None:
    """Behind its removal it is told as removed, and has no document; restored, it has one again."""
    async with mirror(policy=GONE) as here:
        registry = here.upstream.registry
        registry.publish("a", "1.0.0")
        async with here.running():
            first = await at_mark(here)
            registry.remove("a")
            await here.until(lambda status: status["totals"]["packages"].get("removed") == 1)
            second = await at_mark(here)
            registry.publish("a", "2.0.0")
            third = await at_mark(here)
            states = [(await then(here, each))["state"] for each in (first, second, third)]
            with pytest.raises(UnknownError, match=r"'a' was gone upstream by then; .* --at seq:"):
                await document(here, second)
    assert states == ["live", "removed", "live"]


async def test_a_file_of_other_bytes_than_were_meant_then_is_not_held(mirror: Open) -> None:
    """The version came again with another tarball: the one that is here is not that of then."""
    async with mirror() as here:
        registry = here.upstream.registry
        registry.publish("a", "1.0.0", files={"x": b"one"})
        async with here.running():
            first = await at_mark(here)
            dist = json.loads(registry.document("a"))["versions"]["1.0.0"]["dist"]
            dist["integrity"] = sri(hashlib.sha512(b"others").hexdigest())
            assert (await then(here, first))["versions"][0]["held"]
            registry.amend("a", "1.0.0", {"dist": dist})
            second = await at_mark(here)
            held = [(await then(here, each))["versions"][0]["held"] for each in (first, second)]
    assert held == [True, False]


async def test_a_moment_that_cannot_be_told_of_is_refused(mirror: Open) -> None:
    """Before everything, and not past yet; a package that was not met by then, and one erased."""
    async with mirror() as here:
        registry = here.upstream.registry
        registry.publish("a", "1.0.0")
        async with here.running():
            first = await at_mark(here)
            registry.publish("b", "1.0.0")
            await at_mark(here)
            with pytest.raises(UnknownError, match="no document of 'b' was captured by"):
                await then(here, first, "b")
            with pytest.raises(UnknownError, match="no package 'c'"):
                await then(here, first, "c")
            for when in (AtOrdinal(10**9), AtTime("2999-01-01"), AtTime("2000-01-01")):
                with pytest.raises(UnknownError, match=r"no record|cannot tell|before the mirror"):
                    async with shown_past(here.config, when):
                        pass
        await erase(here.config, "a", "court order 7", agreed)
        with pytest.raises(UnknownError, match="'a' by then was erased since"):
            await then(here, first)


async def agreed(_: Plan) -> bool:
    """To everything."""
    return True
