"""`/-/at/<moment>/`: the registry as it stood once."""

import hashlib
from typing import Any
from urllib.parse import quote

import pytest

from npmmirror.daemon.erase import Plan, erase
from npmmirror.integrity import sri
from tests.server.conftest import SHORT, Answer, Serve, Served

pytestmark = pytest.mark.anyio


def marks(here: Served) -> list[tuple[int, str]]:
    """Ordinals and times of all marks."""
    return [
        (int(n), str(at)) for n, at in here.mirror.rows("SELECT ordinal, committed_at FROM marks")
    ]


def last(here: Served) -> str:
    """The newest mark, as addresses name it."""
    return f"seq:{marks(here)[-1][0]}"


async def then(here: Served, moment: str, path: str, **options: Any) -> Answer:
    """An answer of the registry as it stood."""
    return await here.ask(f"/-/at/{moment}/{path}", **options)


async def document(here: Served, moment: str, name: str = "a") -> Any:
    """A packument of then; it must be there."""
    answer = await then(here, moment, name)
    assert answer.status == 200, answer.body
    return answer.json


async def remove(here: Served, name: str) -> None:
    """Have the mirror find out that a package is gone."""
    here.registry.remove(name)
    for _ in range(2):
        await here.sync(name)


async def test_a_packument_is_that_of_then(served: Serve) -> None:
    """Versions, dist-tags and deprecations, both forms; tarballs at addresses of the same view."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        first, upstream = last(here), (await here.ask(f"{here.mirror.upstream.url}/a")).json
        here.registry.publish("a", "2.0.0")
        here.registry.deprecate("a", "1.0.0", "old")
        await here.sync("a")
        view = f"{here.url}/-/at/{first}"
        upstream["versions"]["1.0.0"]["dist"]["tarball"] = f"{view}/a/-/a-1.0.0.tgz"
        assert await document(here, first) == upstream
        short = (await then(here, first, "a", headers={"Accept": SHORT})).json
        assert set(short["versions"]) == {"1.0.0"}
        assert short["dist-tags"] == {"latest": "1.0.0"}
        now = await document(here, last(here))
        assert now["versions"]["1.0.0"]["deprecated"] == "old"
        assert now["dist-tags"] == {"latest": "2.0.0"}


async def test_all_routes_are_of_then(served: Serve) -> None:
    """Manifests by version, tag and range, dist-tags, tarballs, ping; what came later is not there."""
    async with served() as here:
        await here.publish("@s/n", "1.0.0")
        first = last(here)
        await here.publish("@s/n", "1.1.0")
        for path in ("@s/n/latest", "@s%2fn/1.0.0", "@s/n/%5E1"):
            assert (await then(here, first, path)).json["version"] == "1.0.0"
        assert (await then(here, first, "@s/n/1.1.0")).status == 404
        tags = await then(here, first, "-/package/@s%2fn/dist-tags")
        assert tags.json == {"latest": "1.0.0"}
        tarball = await then(here, first, "@s/n/-/n-1.0.0.tgz")
        assert tarball.body == here.registry.tarball("@s/n", "1.0.0")
        assert (await then(here, first, "@s/n/-/n-1.1.0.tgz")).status == 404
        assert (await then(here, first, "-/ping")).json == {}


async def test_a_time_is_written_in_any_zone_and_encoded(served: Serve) -> None:
    """All spellings of a moment are one registry, each with its own addresses."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        at = marks(here)[-1][1]
        await here.publish("a", "1.1.0")
        spellings = [at, quote(at, safe=""), at.replace("Z", "+00:00"), at.replace("Z", "%2b00:00")]
        for moment in spellings:
            versions = (await document(here, moment))["versions"]
            assert set(versions) == {"1.0.0"}
            assert versions["1.0.0"]["dist"]["tarball"].startswith(f"{here.url}/-/at/{moment}/a/-/")


REFUSED = (
    ("2999-01-01T00:00:00Z", "cannot tell of 2999-01-01"),
    ("2000-01-01", "before the mirror's first capture"),
    ("seq:1", "before the mirror's first capture"),
    ("seq:999999", "no record 999999 yet"),
    ("seq:x", "names no record"),
    ("yesterday", "is no time"),
    ("2026-11-20T10:00:00", "has no zone"),
    ("%2e%2e", "is no time"),
)


async def test_a_moment_that_cannot_be_told_of_is_refused(served: Serve) -> None:
    """With a sentence that npm shows, and never kept by a cache."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        for moment, word in REFUSED:
            for path in ("a", "a/1.0.0", "a/-/a-1.0.0.tgz", "-/ping", "-/whoami", "-/v1/search"):
                answer = await then(here, moment, path)
                assert answer.status == 400, moment
                assert word in answer.json["error"]
                assert answer.headers["Cache-Control"] == "no-store"


async def test_the_time_of_the_last_commit_is_refused_until_the_next(served: Serve) -> None:
    """Another commit may have that very time; once there is a later one, the answer stands."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        at = marks(here)[-1][1]
        assert (await then(here, at, "a")).status == 400
        await here.publish("a", "2.0.0")
        assert set((await document(here, at))["versions"]) == {"1.0.0"}


async def test_an_answer_stays_as_it_was(served: Serve) -> None:
    """Byte for byte with its ETag, whatever is captured later."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        first = last(here)
        before = await then(here, first, "a")
        await here.publish("a", "2.0.0")
        await here.publish("b", "1.0.0")
        after = await then(here, first, "a")
        assert (after.body, after.headers["Etag"]) == (before.body, before.headers["Etag"])
        known = {"If-None-Match": before.headers["Etag"]}
        assert (await then(here, first, "a", headers=known)).status == 304


async def test_what_was_unpublished_since_is_there(served: Serve) -> None:
    """One version, and then the whole package; their tarballs too."""
    async with served() as here:
        await here.publish("a", "1.0.0", "1.1.0")
        first = last(here)
        here.registry.unpublish_version("a", "1.1.0")
        await here.sync("a")
        second = last(here)
        here.registry.unpublish("a")
        await here.sync("a")
        assert set((await document(here, first))["versions"]) == {"1.0.0", "1.1.0"}
        assert set((await document(here, second))["versions"]) == {"1.0.0"}
        tarball = await then(here, first, "a/-/a-1.1.0.tgz")
        assert tarball.body == here.registry.tarball("a", "1.1.0")
        assert (await then(here, second, "a/-/a-1.1.0.tgz")).status == 404
        assert "unpublished" in (await document(here, last(here)))["time"]


async def test_a_dist_tag_is_where_it_was(served: Serve) -> None:
    """Set, moved and removed."""
    async with served() as here:
        await here.publish("a", "1.0.0", "2.0.0")
        here.registry.tag("a", "beta", "1.0.0")
        await here.sync("a")
        first = last(here)
        here.registry.tag("a", "beta", "2.0.0")
        await here.sync("a")
        second = last(here)
        here.registry.untag("a", "beta")
        await here.sync("a")
        told = [(await document(here, each))["dist-tags"] for each in (first, second, last(here))]
        assert [tags.get("beta") for tags in told] == ["1.0.0", "2.0.0", None]


async def test_a_removed_package_is_there_before_and_again_once_restored(served: Serve) -> None:
    """In between it is a 404 that says so."""
    async with served(
        {"policy": {"confirm_removal_answers": 1, "confirm_removal_hours": 0.0}}
    ) as here:
        await here.publish("a", "1.0.0")
        first = last(here)
        await remove(here, "a")
        second = last(here)
        await here.publish("a", "2.0.0")
        assert set((await document(here, first))["versions"]) == {"1.0.0"}
        gone = await then(here, second, "a")
        assert gone.status == 404
        assert "was gone upstream" in gone.json["error"]
        assert (await then(here, second, "a/-/a-1.0.0.tgz")).status == 404
        assert "2.0.0" in (await document(here, last(here)))["versions"]


async def test_a_package_that_came_later_is_not_there(served: Serve) -> None:
    """A 404 that says so; one that was never met too."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        first = last(here)
        await here.publish("b", "1.0.0")
        for name in ("b", "c"):
            answer = await then(here, first, name)
            assert answer.status == 404
            assert f"{name} was not captured by" in answer.json["error"].lower()


async def test_what_was_erased_is_refused_with_that_word(served: Serve) -> None:
    """Whichever moment is asked for."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        first = last(here)
        assert (await then(here, first, "a")).status == 200
        await erase(here.mirror.config, "a", "court order 7", agreed)
        await here.publish("b", "1.0.0")
        for path in ("a", "a/1.0.0", "a/-/a-1.0.0.tgz"):
            answer = await then(here, first, path)
            assert answer.status == 410
            assert "was erased" in answer.json["error"]


async def test_the_root_tells_which_moment_is_meant(served: Serve) -> None:
    """The record and the time of the commit; a refusal where there is none."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        ordinal, at = marks(here)[-1]
        await here.publish("a", "2.0.0")
        for path in (f"/-/at/{at}", f"/-/at/{at}/", f"/-/at/seq:{ordinal}/"):
            assert (await here.ask(path)).json == {"ordinal": ordinal, "committed_at": at}
        assert (await here.ask("/-/at/yesterday/")).status == 400


async def test_a_version_that_came_again_with_other_bytes_is_not_what_was_meant(
    served: Serve,
) -> None:
    """Its file is that of the later one: the registry of then has no such version to give."""
    async with served() as here:
        await here.publish("a", "1.0.0", "1.1.0")
        first = last(here)
        dist = (await here.ask("/-/raw/a")).json["versions"]["1.0.0"]["dist"]
        dist["integrity"] = sri(hashlib.sha512(b"others").hexdigest())
        here.registry.amend("a", "1.0.0", {"dist": dist})
        await here.sync("a")
        assert "1.0.0" in (await document(here, first))["versions"]
        assert "1.0.0" not in (await document(here, last(here)))["versions"]
        assert (await then(here, first, "a/-/a-1.0.0.tgz")).status == 200
        assert (await then(here, last(here), "a/-/a-1.0.0.tgz")).status == 404


async def test_what_is_not_held_is_judged_as_of_now(served: Serve) -> None:
    """A version is left out until its tarball is held; then it is there, under another ETag."""
    async with served({"policy": {"tarballs": "none"}}) as here:
        here.registry.publish("a", "1.0.0")
        await here.mirror.sync("a@1.0.0")
        here.registry.publish("b", "1.0.0")
        await here.mirror.sync("b")
        first = last(here)
        answer = await then(here, first, "b")
        assert answer.status == 404
        assert "no version that b had" in answer.json["error"]
        await here.mirror.sync("b@1.0.0")
        assert set((await document(here, first, "b"))["versions"]) == {"1.0.0"}


async def test_what_is_withheld_is_judged_as_of_now(served: Serve) -> None:
    """It is kept from clients whichever moment they ask for."""
    async with served(withhold=["a@1.0.0", "b"]) as here:
        await here.publish("a", "1.0.0", "1.1.0")
        await here.publish("b", "1.0.0")
        assert set((await document(here, last(here)))["versions"]) == {"1.1.0"}
        for path in ("a/-/a-1.0.0.tgz", "a/1.0.0", "b", "b/-/b-1.0.0.tgz"):
            assert (await then(here, last(here), path)).status == 451
        assert (await here.ask("/-/raw/a/-/a-1.0.0.tgz")).status == 451
        assert set((await here.ask("/-/raw/a")).json["versions"]) == {"1.0.0", "1.1.0"}


HOSTILE = (
    "/-/at",
    "/-/at/",
    "/-/at//a",
    "/-/at/%00/a",
    "/-/at/%ff/a",
    "/-/at/%/a",
    "/-/at/../at/seq:3/a",
    "/-/at/seq:3%2f..%2f..%2fetc/a",
    "/-/at/seq:3/..%2f..%2fdata%2findex.db",
    "/-/at/seq:3/a/-/..%2f..%2findex.db",
    "/-/at/seq:3/@s%2f..%2f../-/index.db",
    "/-/at/seq:3/-/at/seq:3/a",
    "/-/at/" + "9" * 3000 + "/a",
    "/-/at/2026-11-20T10:00:00." + "1" * 400 + "Z/a",
    "/-/raw",
    "/-/raw/",
    "/-/raw/..%2f..%2findex.db",
    "/-/raw/a/-/..%2f..%2findex.db",
    "/-/raw/-/npmmirror/revision/..%2f1",
    "/-/raw/-/npmmirror/revisions/..",
    "/-/raw/-/npmmirror/revisions/%00",
    "/-/raw/%ED%A0%80",
)


async def test_a_hostile_address_is_refused(served: Serve) -> None:
    """With 400, 404 or 414 and a word; never with a file of ours, never with a fault."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        for path in HOSTILE:
            answer = await here.ask(path)
            assert answer.status in {400, 404, 414}, path
            assert answer.json["error"], path


async def agreed(_: Plan) -> bool:
    """To everything."""
    return True
