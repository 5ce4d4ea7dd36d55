"""The scripted upstream answers over HTTP as npm is known to (facts of the registry's side)."""

import hashlib
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest
from yarl import URL

from npmmirror.testing import ScriptedRegistry, ScriptedUpstream
from npmmirror.testing.oddities import oddities
from npmmirror.testing.tarball import file_name

pytestmark = pytest.mark.anyio

ABBREVIATED = "application/vnd.npm.install-v1+json"
FULL = {"Accept": "application/json", "Accept-Encoding": "identity"}


async def get(http: aiohttp.ClientSession, url: str | URL, **options: Any) -> tuple[int, bytes]:
    async with http.get(URL(str(url), encoded=True), **options) as answer:
        return answer.status, await answer.read()


async def test_full_document_is_what_the_registry_rendered(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """`Accept: application/json` alone gets the full document, byte for byte."""
    status, body = await get(http, f"{upstream.url}/left-pad", headers=FULL)
    assert (status, body) == (200, upstream.registry.document("left-pad"))
    assert list(orjson.loads(body)) == [
        "_id",
        "_rev",
        "name",
        "dist-tags",
        "versions",
        "time",
        "description",
        "license",
        "maintainers",
        "readme",
    ]


@pytest.mark.parametrize("spelling", ["@scope/thing", "@scope%2fthing", "@scope%2Fthing"])
async def test_scoped_names_have_three_spellings(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, spelling: str
) -> None:
    """All spellings of a scoped name lead to its document."""
    status, body = await get(http, f"{upstream.url}/{spelling}", headers=FULL)
    assert (status, orjson.loads(body)["name"]) == (200, "@scope/thing")


@pytest.mark.parametrize("accept", [ABBREVIATED, f"{ABBREVIATED}; q=1.0, application/json; q=0.8"])
async def test_abbreviated_document_has_just_its_keys(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, accept: str
) -> None:
    """The abbreviated form holds no `_rev`, `time` or `scripts`, but `hasInstallScript`."""
    _, body = await get(http, f"{upstream.url}/left-pad", headers={**FULL, "Accept": accept})
    document = orjson.loads(body)
    assert list(document) == ["name", "dist-tags", "versions", "modified"]
    assert "scripts" not in document["versions"]["1.1.0"]
    assert document["versions"]["1.1.0"]["hasInstallScript"] is True
    assert "hasInstallScript" not in document["versions"]["1.0.0"]


async def test_etag_is_answered_with_304(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """A strong ETag holds until the next revision."""
    url = f"{upstream.url}/left-pad"
    async with http.get(url, headers=FULL) as answer:
        etag = answer.headers["ETag"]
        assert answer.headers["Cache-Control"] == "public, max-age=300"
    held = {**FULL, "If-None-Match": etag}
    assert await get(http, url, headers=held) == (304, b"")
    upstream.registry.tag("left-pad", "next", "1.1.0")
    assert (await get(http, url, headers=held))[0] == 200


async def test_tarball_matches_its_dist(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """The tarball lies under the path of `dist.tarball` and has the digest that `dist` tells."""
    dist = orjson.loads(upstream.registry.document("@scope/thing"))["versions"]["1.0.0"]["dist"]
    assert dist["tarball"] == "https://registry.example/@scope/thing/-/thing-1.0.0.tgz"
    for path in ("@scope/thing/-/thing-1.0.0.tgz", "@scope%2fthing/-/thing-1.0.0.tgz"):
        status, body = await get(http, f"{upstream.url}/{path}")
        assert status == 200
        assert hashlib.sha1(body, usedforsecurity=False).hexdigest() == dist["shasum"]


async def test_tarball_ranges(upstream: ScriptedUpstream, http: aiohttp.ClientSession) -> None:
    """A range of a tarball is a 206."""
    url = f"{upstream.url}/zero/-/zero-1.0.0.tgz"
    _, whole = await get(http, url)
    assert await get(http, url, headers={"Range": "bytes=2-5"}) == (206, whole[2:6])


async def test_feed_gives_one_row_a_package(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """A second change replaces the row of the first; rows ascend."""
    _, body = await get(http, f"{upstream.feed}/_changes")
    answer = orjson.loads(body)
    assert [row["id"] for row in answer["results"]] == ["left-pad", "@scope/thing", "zero"]
    seqs = [row["seq"] for row in answer["results"]]
    assert seqs == sorted(seqs)
    assert all(row["changes"][0]["rev"].startswith("2-") for row in answer["results"])


async def test_feed_goes_on_behind_since(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """`since` is exclusive, and pages joined by `last_seq` give every row once."""
    seen, since = [], 0
    for _ in range(3):
        _, body = await get(http, f"{upstream.feed}/_changes?since={since}&limit=1")
        page = orjson.loads(body)
        seen += [row["id"] for row in page["results"]]
        since = page["last_seq"]
    assert seen == ["left-pad", "@scope/thing", "zero"]


@pytest.mark.parametrize(
    "query",
    [
        "include_docs=true",
        "feed=continuous",
        "feed=longpoll",
        "since=now",
        "heartbeat=1000",
        "limit=10001",
    ],
)
async def test_feed_refuses_dead_parameters(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, query: str
) -> None:
    """What npm's feed no longer knows is a 400."""
    assert (await get(http, f"{upstream.feed}/_changes?{query}"))[0] == 400


async def test_feed_root_tells_the_head(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """The root has `update_seq`, and the feed's host knows no package."""
    for url in (upstream.feed, f"{upstream.feed}/", upstream.feed.removesuffix("registry")):
        _, body = await get(http, url)
        root = orjson.loads(body)
        assert root["update_seq"] == upstream.registry.feed.head
        assert root["doc_count"] == 3
    assert (await get(http, f"{upstream.feed}/left-pad"))[0] == 404


async def test_all_docs_pages_from_a_quoted_key(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """`startkey` is JSON and inclusive; `skip` is refused."""
    url = f"{upstream.feed}/_all_docs"
    _, body = await get(http, url, params={"startkey": '"left-pad"', "limit": "2"})
    assert [row["id"] for row in orjson.loads(body)["rows"]] == ["left-pad", "zero"]
    assert (await get(http, url, params={"skip": "1"}))[0] == 400
    assert (await get(http, url, params={"startkey": "left-pad"}))[0] == 400


async def test_all_docs_of_keys(upstream: ScriptedUpstream, http: aiohttp.ClientSession) -> None:
    """`keys` answers in its own order, and tells what is not there."""
    url = f"{upstream.feed}/_all_docs"
    _, body = await get(http, url, params={"keys": '["zero","none"]'})
    first, second = orjson.loads(body)["rows"]
    assert first["value"]["rev"] == upstream.registry.revision("zero").rev
    assert second == {"key": "none", "error": "not_found"}


async def test_every_oddity_is_served_byte_for_byte(http: aiohttp.ClientSession) -> None:
    """Names are percent-encoded in paths; documents and tarballs come as they were put."""
    async with ScriptedUpstream() as upstream:
        for oddity in oddities():
            oddity.put(upstream.registry)
            name = quote(oddity.name, safe="@")
            url = URL(f"{upstream.url}/{name}", encoded=True)
            assert await get(http, url, headers=FULL) == (200, oddity.raw)
            for version, body in oddity.tarballs.items():
                file = quote(file_name(oddity.name, version), safe="")
                path = URL(f"{upstream.url}/{name}/-/{file}", encoded=True)
                assert await get(http, path) == (200, body)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_encodings_are_spoken_where_asked_for(
    http: aiohttp.ClientSession, encoding: str
) -> None:
    """The one wanted is used, named, and smaller."""
    async with ScriptedUpstream(encodings=("zstd", "br", "gzip")) as upstream:
        upstream.registry.publish("a", "1.0.0", manifest={"description": "x" * 2_000})
        wanted = {**FULL, "Accept-Encoding": f"{encoding};q=1.0"}
        async with http.get(f"{upstream.url}/a", headers=wanted) as answer:
            assert answer.headers["Content-Encoding"] == encoding
            assert len(await answer.read()) < len(upstream.registry.document("a"))


async def test_manifest_of_a_version_or_tag(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """`/<pkg>/<version-or-tag>` is the manifest."""
    for wanted in ("1.1.0", "latest"):
        status, body = await get(http, f"{upstream.url}/@scope/thing/{wanted}")
        assert (status, orjson.loads(body)["_id"]) == (200, "@scope/thing@1.1.0")
    assert (await get(http, f"{upstream.url}/zero/9.9.9"))[0] == 404


async def test_what_is_not_there_is_a_404(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """Unknown packages, removed ones, and files that never were."""
    upstream.registry.remove("zero")
    for path in ("none", "zero", "left-pad/-/left-pad-9.9.9.tgz", "-/npm/v1/keys"):
        assert await get(http, f"{upstream.url}/{path}") == (404, b'{"error":"Not found"}')


async def test_requests_are_logged(upstream: ScriptedUpstream, http: aiohttp.ClientSession) -> None:
    """Method, path and headers of each request, told apart."""
    await get(http, f"{upstream.url}/@scope%2fthing?x=1", headers={"User-Agent": "me"})
    (one,) = upstream.requests
    assert (one.method, one.path, one.scope) == ("GET", "/@scope%2fthing?x=1", "packument")
    assert (one.name, one.headers["user-agent"]) == ("@scope/thing", "me")
    assert upstream.count("packument", "@scope/thing") == 1


async def test_descending_feed_tells_the_head(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """`descending=true&limit=1` has the newest row, and its seq as `last_seq`."""
    _, body = await get(http, f"{upstream.feed}/_changes?descending=true&limit=1")
    page = orjson.loads(body)
    assert [row["id"] for row in page["results"]] == ["zero"]
    assert page["last_seq"] == page["results"][0]["seq"]


async def test_feed_of_some_packages(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """`doc_ids` leaves all other rows out."""
    names = quote('["zero","none"]')
    _, body = await get(http, f"{upstream.feed}/_changes?doc_ids={names}")
    assert [row["id"] for row in orjson.loads(body)["results"]] == ["zero"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["@scope/thing", "left-pad", "zero"]),
        ("descending=true&limit=2", ["zero", "left-pad"]),
        ('startkey="b"&endkey="zero"', ["left-pad", "zero"]),
        ('startkey="b"&endkey="zero"&inclusive_end=false', ["left-pad"]),
        ('descending=true&startkey="m"&endkey="b"', ["left-pad"]),
        ('key="left-pad"', ["left-pad"]),
        ('key="left"', []),
    ],
)
async def test_all_docs_ranges(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, query: str, names: list[str]
) -> None:
    """Ranges are inclusive, go both ways, and their keys are JSON."""
    _, body = await get(http, f"{upstream.feed}/_all_docs?{quote(query, safe='=&')}")
    answer = orjson.loads(body)
    assert [row["id"] for row in answer["rows"]] == names
    assert answer["total_rows"] == 3


async def test_opaque_seqs_over_http(http: aiohttp.ClientSession) -> None:
    """A CouchDB-like feed takes back what it gave, in the root and in pages."""
    registry = ScriptedRegistry(opaque_seqs=True)
    registry.publish("a", "1.0.0")
    async with ScriptedUpstream(registry) as upstream:
        head = orjson.loads((await get(http, upstream.feed))[1])["update_seq"]
        _, body = await get(http, f"{upstream.feed}/_changes?since={head}")
        assert orjson.loads(body) == {"results": [], "last_seq": head}
        assert (await get(http, f"{upstream.feed}/_changes?since=5"))[0] == 400


async def test_it_goes_down_and_comes_back(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """Connections are refused meanwhile; the URL is the same again."""
    url = f"{upstream.url}/left-pad"
    await upstream.go_down()
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(http, url)
    await upstream.come_back()
    assert (await get(http, url))[0] == 200
