"""`/-/raw/`: the registry byte for byte as it was captured."""

import json
from pathlib import Path

import pytest

from npmmirror.daemon.erase import Plan, erase
from tests.server.conftest import SHORT, Serve, Served

pytestmark = pytest.mark.anyio

REVISION = "/-/raw/-/npmmirror/revision"
REVISIONS = "/-/raw/-/npmmirror/revisions"


async def ordinals(here: Served, name: str) -> list[int]:
    """Those of the captured documents of a package, as the server lists them."""
    return [each["ordinal"] for each in (await here.ask(f"{REVISIONS}/{name}")).json["revisions"]]


async def test_a_document_is_given_byte_for_byte(served: Serve) -> None:
    """Both spellings, whatever form is asked for, compressed or not; tarball URLs are upstream's."""
    async with served() as here:
        await here.publish("@s/n", "1.0.0")
        captured = here.registry.document("@s/n")
        for path in ("/-/raw/@s/n", "/-/raw/@s%2fn"):
            for headers in ({}, {"Accept": SHORT}, {"Accept-Encoding": "identity"}):
                answer = await here.ask(path, headers=headers)
                assert answer.status == 200
                assert answer.body == captured
                assert answer.headers["Content-Type"] == "application/json"


async def test_a_document_that_is_known_is_not_sent_again(served: Serve) -> None:
    """A 304 as long as it is the same, in whatever encoding it came."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        etag = (await here.ask("/-/raw/a")).headers["Etag"]
        plain = (await here.ask("/-/raw/a", headers={"Accept-Encoding": "identity"})).headers
        assert plain["Etag"] == etag
        assert len(etag) < 64
        assert (await here.ask("/-/raw/a", headers={"If-None-Match": etag})).status == 304
        await here.publish("a", "2.0.0")
        again = await here.ask("/-/raw/a", headers={"If-None-Match": etag})
        assert again.status == 200
        assert again.body == here.registry.document("a")


async def test_versions_that_are_not_held_are_not_hidden(served: Serve) -> None:
    """Their tarballs are a 404; those of versions that are gone upstream are there."""
    async with served({"policy": {"tarballs": "none"}}) as here:
        for version in ("1.0.0", "1.1.0"):
            here.registry.publish("a", version)
        await here.mirror.sync("a@1.0.0")
        assert set((await here.ask("/-/raw/a")).json["versions"]) == {"1.0.0", "1.1.0"}
        assert (await here.ask("/-/raw/a/1.1.0")).status == 200
        tarball = here.registry.tarball("a", "1.0.0")
        here.registry.unpublish_version("a", "1.0.0")
        await here.mirror.sync("a", force=True)
        assert (await here.ask("/-/raw/a/-/a-1.0.0.tgz")).body == tarball
        assert (await here.ask("/-/raw/a/-/a-1.1.0.tgz")).status == 404


async def test_a_manifest_is_the_documents_own(served: Serve) -> None:
    """By version, tag and range: as it lies in the document."""
    async with served() as here:
        await here.publish("a", "1.0.0", "1.1.0")
        for selector in ("1.1.0", "latest", "%5E1"):
            answer = await here.ask(f"/-/raw/a/{selector}")
            assert answer.body in here.registry.document("a")
            assert answer.json["version"] == "1.1.0"
        assert (await here.ask("/-/raw/-/package/a/dist-tags")).json == {"latest": "1.1.0"}


async def test_every_captured_document_is_had_by_its_ordinal(served: Serve) -> None:
    """Older ones too, for long; the list tells their digests, and comes in pages."""
    async with served() as here:
        documents = []
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            await here.publish("@s/n", version)
            documents.append(here.registry.document("@s/n"))
        numbers = await ordinals(here, "@s%2fn")
        for number, document in zip(numbers, documents, strict=True):
            answer = await here.ask(f"{REVISION}/{number}")
            assert answer.body == document
            assert "max-age=86400" in answer.headers["Cache-Control"]
        page = (await here.ask(f"{REVISIONS}/@s/n?after={numbers[0]}&limit=1")).json
        assert page["package"] == "@s/n"
        assert [each["ordinal"] for each in page["revisions"]] == numbers[1:2]
        assert (await here.ask(f"{REVISIONS}/@s/n?after={numbers[-1]}")).json["revisions"] == []


async def test_a_listed_revision_tells_when_it_counts_as_captured(served: Serve) -> None:
    """The time of the mark behind it, which names the moment at which it can be seen."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        await here.publish("b", "1.0.0")
        [one] = (await here.ask(f"{REVISIONS}/a")).json["revisions"]
        there = await here.ask(f"/-/at/{one['committed_at']}/a")
        assert there.status == 200


async def test_a_listed_revision_has_the_keys_of_the_page(served: Serve) -> None:
    """Those of the example in docs/raw.md, in its order."""
    page = (Path(__file__).parents[2] / "docs" / "raw.md").read_text(encoding="utf-8")
    [example] = json.loads(page.partition("```json\n")[2].partition("```")[0])["revisions"]
    async with served() as here:
        await here.publish("a", "1.0.0")
        [one] = (await here.ask(f"{REVISIONS}/a")).json["revisions"]
    assert list(one) == list(example)


MISSING = (
    (f"{REVISION}/x", 400),
    (f"{REVISION}/-1", 400),
    (f"{REVISION}/%EF%BC%91", 400),
    (f"{REVISION}/99999999999999999999", 400),
    (f"{REVISION}/1", 404),
    (f"{REVISION}/999999", 404),
    (f"{REVISIONS}/nowhere", 404),
    (f"{REVISIONS}/a?limit=0", 400),
    (f"{REVISIONS}/a?limit=1001", 400),
    (f"{REVISIONS}/a?after=x", 400),
    ("/-/raw/nowhere", 404),
    ("/-/raw/nowhere/-/nowhere-1.0.0.tgz", 404),
    ("/-/npmmirror/revisions/a", 404),
    ("/-/raw/-/npmmirror/other/a", 404),
)


async def test_what_is_not_there_is_said(served: Serve) -> None:
    """As JSON; nothing but numbers is taken for one."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        for path, status in MISSING:
            answer = await here.ask(path)
            assert answer.status == status, path
            assert answer.json["error"], path


async def test_the_package_that_is_a_dash_is_not_shadowed(served: Serve) -> None:
    """Nor are those with the names of our routes."""
    async with served() as here:
        for name in ("-", "raw", "at", "npmmirror"):
            await here.publish(name, "1.0.0")
            assert (await here.ask(f"/-/raw/{name}")).body == here.registry.document(name)
            assert (await here.ask(f"/-/raw/{name}/1.0.0")).json["version"] == "1.0.0"


async def test_an_erased_document_is_told_as_such(served: Serve) -> None:
    """By its ordinal; the package is not there any more."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        [number] = await ordinals(here, "a")
        await erase(here.mirror.config, "a", "court order 7", agreed)
        assert (await here.ask(f"{REVISION}/{number}")).status == 410
        assert (await here.ask("/-/raw/a")).status == 404
        [one] = (await here.ask(f"{REVISIONS}/a")).json["revisions"]
        assert one["erased"]


async def agreed(_: Plan) -> bool:
    """To everything."""
    return True
