"""The registry as it is now: documents, manifests, dist-tags."""

import orjson
import pytest

from tests.server.conftest import SHORT, Serve

pytestmark = pytest.mark.anyio


async def test_a_packument_is_the_captured_one_but_for_its_tarballs(served: Serve) -> None:
    """Every member as upstream wrote it; `dist.tarball` leads to the mirror."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0", "1.1.0")
        answer = await here.ask("/left-pad")
        assert answer.status == 200
        upstream = (await here.ask(f"{here.mirror.upstream.url}/left-pad")).json
        for version, manifest in upstream["versions"].items():
            manifest["dist"]["tarball"] = f"{here.url}/left-pad/-/left-pad-{version}.tgz"
        assert answer.json == upstream


async def test_both_spellings_of_a_scoped_name(served: Serve) -> None:
    """`/@s/n`, `/@s%2fn` and `/@s%2Fn` are one package; so are its tarballs."""
    async with served() as here:
        await here.publish("@s/n", "1.0.0")
        answers = [await here.ask(path) for path in ("/@s/n", "/@s%2fn", "/@s%2Fn")]
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert len({answer.body for answer in answers}) == 1
        url = answers[0].json["versions"]["1.0.0"]["dist"]["tarball"]
        assert url == f"{here.url}/@s/n/-/n-1.0.0.tgz"
        for path in ("/@s/n/-/n-1.0.0.tgz", "/@s%2fn/-/n-1.0.0.tgz"):
            assert (await here.ask(path)).body == here.registry.tarball("@s/n", "1.0.0")


async def test_the_abbreviated_form(served: Serve) -> None:
    """Exactly npm's members at the top, and no scripts below."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        answer = await here.ask("/left-pad", headers={"Accept": SHORT})
        assert answer.headers["Content-Type"] == "application/vnd.npm.install-v1+json"
        assert set(answer.json) == {"name", "modified", "dist-tags", "versions"}
        assert "scripts" not in answer.json["versions"]["1.0.0"]


async def test_a_change_is_seen_at_the_next_request(served: Serve) -> None:
    """A ready answer is dropped once another one committed to the index."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        assert set((await here.short("/left-pad"))["versions"]) == {"1.0.0"}
        await here.publish("left-pad", "1.1.0")
        assert set((await here.short("/left-pad"))["versions"]) == {"1.0.0", "1.1.0"}


@pytest.mark.parametrize("script", ["preinstall", "install", "postinstall", "test", None])
async def test_install_scripts_are_told_in_the_abbreviated_form(
    served: Serve, script: str | None
) -> None:
    """`hasInstallScript`, there alone, where one of npm's three scripts is."""
    async with served() as here:
        scripts = {} if script is None else {script: "node x.js"}
        here.registry.publish("left-pad", "1.0.0", manifest={"scripts": scripts})
        await here.sync("left-pad")
        short = (await here.short("/left-pad"))["versions"]["1.0.0"]
        full = (await here.ask("/left-pad")).json["versions"]["1.0.0"]
        assert short.get("hasInstallScript") is (True if script and "install" in script else None)
        assert "hasInstallScript" not in full


async def test_the_abbreviated_form_keeps_what_npm_keeps(served: Serve) -> None:
    """Every field of the list, and none beside it."""
    kept = {
        "dependencies": {"a": "1"},
        "optionalDependencies": {"b": "1"},
        "devDependencies": {"c": "1"},
        "bundleDependencies": ["a"],
        "peerDependencies": {"d": "1"},
        "peerDependenciesMeta": {"d": {"optional": True}},
        "bin": {"x": "x.js"},
        "directories": {"lib": "lib"},
        "engines": {"node": ">=1"},
        "cpu": ["x64"],
        "os": ["linux"],
        "deprecated": "no more",
        "funding": {"url": "https://x.example"},
        "_hasShrinkwrap": True,
    }
    async with served() as here:
        here.registry.publish("left-pad", "1.0.0", manifest={**kept, "readme": "x", "libc": ["x"]})
        await here.sync("left-pad")
        short = (await here.short("/left-pad"))["versions"]["1.0.0"]
        assert {key: value for key, value in short.items() if key in kept} == kept
        assert set(short) == {*kept, "name", "version", "dist"}
        assert short["dist"]["integrity"]


async def test_etags_are_those_of_every_encoding(served: Serve) -> None:
    """Weak, short, another for each form; 304 has no body and the same headers."""
    async with served() as here:
        await here.publish("left-pad", *(f"1.0.{number}" for number in range(5)))
        tags = set()
        for encoding in ("identity", "gzip", "zstd, gzip"):
            answer = await here.ask("/left-pad", headers={"Accept-Encoding": encoding})
            assert answer.headers["Vary"] == "Accept, Accept-Encoding"
            assert answer.headers.get("Content-Encoding") == {"identity": None}.get(
                encoding, encoding.partition(",")[0]
            )
            tags.add(answer.headers["Etag"])
        [tag] = tags
        assert tag.startswith('W/"')
        assert len(tag) < 64
        assert (await here.ask("/left-pad", headers={"Accept": SHORT})).headers["Etag"] != tag
        for known in (tag, tag.removeprefix("W/"), f'"other", {tag}'):
            headers = {"If-None-Match": known, "Accept-Encoding": "gzip"}
            again = await here.ask("/left-pad", headers=headers)
            assert (again.status, again.body) == (304, b"")
            assert again.headers["Etag"] == tag
            assert "Content-Encoding" not in again.headers


async def test_if_modified_since_alone_gets_the_document(served: Serve) -> None:
    """`time.modified` may stand still while the document changes; with an ETag that counts."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        since = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
        first = await here.ask("/left-pad", headers=since)
        assert first.status == 200
        etag = {"If-None-Match": first.headers["Etag"]}
        assert (await here.ask("/left-pad", headers={**since, **etag})).status == 304
        here.registry.deprecate("left-pad", "1.0.0", "no more")
        await here.sync("left-pad")
        assert (await here.ask("/left-pad", headers={**since, **etag})).status == 200


@pytest.mark.parametrize(
    ("selector", "version"),
    [
        ("1.0.0", "1.0.0"),
        ("v1.0.0", "1.0.0"),
        ("latest", "2.0.0"),
        ("next", "3.0.0-rc.1"),
        ("%5E1", "1.1.0"),
        ("%3E%3D1%20%3C2", "1.1.0"),
        ("~1.0", "1.0.0"),
        ("*", "2.0.0"),
        ("9", None),
        ("none", None),
        ("__proto__", None),
    ],
)
async def test_manifests_by_version_tag_and_range(
    served: Serve, selector: str, version: str | None
) -> None:
    """The version that npm would choose; its signatures are kept, its tarball leads here."""
    async with served() as here:
        for number, tag in (
            *(("1.0.0", "latest"), ("1.1.0", "latest"), ("2.0.0", "latest")),
            ("3.0.0-rc.1", "next"),
        ):
            here.registry.publish("left-pad", number, tag=tag)
        await here.sync("left-pad")
        answer = await here.ask(f"/left-pad/{selector}")
        if version is None:
            assert (answer.status, answer.json) == (404, {"error": "Not found"})
            return
        assert answer.json["version"] == version
        assert answer.json["dist"]["signatures"]
        assert answer.json["dist"]["tarball"] == f"{here.url}/left-pad/-/left-pad-{version}.tgz"


async def test_dist_tags(served: Serve) -> None:
    """As `npm dist-tag ls` reads them."""
    async with served() as here:
        await here.publish("@s/n", "1.0.0", "1.1.0")
        here.registry.tag("@s/n", "old", "1.0.0")
        await here.sync("@s/n")
        for path in ("/-/package/@s%2fn/dist-tags", "/-/package/@s/n/dist-tags"):
            assert (await here.ask(path)).json == {"latest": "1.1.0", "old": "1.0.0"}


async def test_tarballs_whole_and_in_part(served: Serve) -> None:
    """Ranges, what is behind the end, If-Range, 304; kept by caches for ever."""
    body = bytes(range(256)) * 10
    path = "/left-pad/-/left-pad-1.0.0.tgz"
    async with served() as here:
        here.registry.publish("left-pad", "1.0.0", archive=body)
        await here.sync("left-pad")
        whole = await here.ask(path)
        assert (whole.status, whole.body) == (200, body)
        assert "immutable" in whole.headers["Cache-Control"]
        assert whole.headers["Accept-Ranges"] == "bytes"
        etag = whole.headers["Etag"]
        for wanted, status, part in (
            ("bytes=0-9", 206, body[:10]),
            ("bytes=-5", 206, body[-5:]),
            ("bytes=2550-", 206, body[2550:]),
            ("bytes=0-1,5-6", 200, body),
            ("nonsense", 200, body),
            ("bytes=99999-", 416, b""),
        ):
            answer = await here.ask(path, headers={"Range": wanted})
            assert (answer.status, answer.body) == (status, part), wanted
        some = await here.ask(path, headers={"Range": "bytes=1-2"})
        assert some.headers["Content-Range"] == f"bytes 1-2/{len(body)}"
        for validator, status in ((etag, 206), ('"other"', 200)):
            headers = {"Range": "bytes=1-2", "If-Range": validator}
            assert (await here.ask(path, headers=headers)).status == status
        again = await here.ask(path, headers={"If-None-Match": etag})
        assert (again.status, again.body) == (304, b"")


async def test_a_large_tarball_is_sent_in_pieces(served: Serve) -> None:
    """Whole, and the end of it."""
    body = bytes(range(256)) * (5 << 12)
    async with served() as here:
        here.registry.publish("large", "1.0.0", archive=body)
        await here.sync("large")
        path = "/large/-/large-1.0.0.tgz"
        assert (await here.ask(path)).body == body
        part = await here.ask(path, headers={"Range": "bytes=1000-"})
        assert (part.status, part.body) == (206, body[1000:])
        assert part.headers["Server"] == "npmmirror"
        head = await here.ask(path, "HEAD")
        assert (head.headers["Content-Length"], head.body) == (str(len(body)), b"")


async def test_a_tarball_that_is_gone_from_the_disk(served: Serve) -> None:
    """503 without the disk's paths; the log tells more."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        packages = here.mirror.config.storage.packages_path
        [file] = packages.rglob("*.tgz")
        file.unlink()
        answer = await here.ask("/left-pad/-/left-pad-1.0.0.tgz")
        assert answer.status == 503
        assert str(packages.parent) not in answer.body.decode()


@pytest.mark.parametrize("name", ["JSONStream", "jsonstream", "-", "constructor", "a" * 250])
async def test_odd_names_are_packages_like_others(served: Serve, name: str) -> None:
    """Case counts, and a name may be long, or one of JavaScript's own words."""
    async with served() as here:
        for each in {"JSONStream", "jsonstream", name}:
            await here.publish(each, "1.0.0")
        document = (await here.ask(f"/{name}")).json
        assert document["name"] == name
        url = document["versions"]["1.0.0"]["dist"]["tarball"]
        assert (await here.ask(url)).body == here.registry.tarball(name, "1.0.0")


async def test_a_tarball_by_upstreams_own_file_name(served: Serve) -> None:
    """A lock file may name it so; our own documents name it as npm does."""
    async with served() as here:
        here.registry.publish("odd", "1.0.0")
        told = orjson.loads(here.registry.document("odd"))["versions"]["1.0.0"]["dist"]["tarball"]
        url = told.replace("odd-1.0.0", "odd-one")
        document = here.registry.document("odd").replace(told.encode(), url.encode())
        body = here.registry.tarball("odd", "1.0.0")
        here.registry.put_document("odd", document, urls={url: body})
        await here.sync("odd")
        shown = (await here.short("/odd"))["versions"]["1.0.0"]["dist"]["tarball"]
        assert shown == f"{here.url}/odd/-/odd-1.0.0.tgz"
        for path in ("/odd/-/odd-1.0.0.tgz", "/odd/-/odd-one.tgz"):
            assert (await here.ask(path)).body == body


async def test_what_upstream_removed_is_not_found(served: Serve) -> None:
    """A version that was unpublished: neither in documents nor as a tarball; its file stays."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0", "1.1.0")
        here.registry.unpublish_version("left-pad", "1.1.0")
        await here.sync("left-pad")
        assert set((await here.short("/left-pad"))["versions"]) == {"1.0.0"}
        assert (await here.ask("/left-pad/-/left-pad-1.1.0.tgz")).status == 404
        assert len([*here.mirror.config.storage.packages_path.rglob("*.tgz")]) == 2


@pytest.mark.parametrize("path", ["/none", "/@s%2fnone", "/none/-/none-1.0.0.tgz", "/none/latest"])
async def test_what_is_not_there_is_not_remembered_for_long(served: Serve, path: str) -> None:
    """404 as npm says it, and a cache may keep it for seconds only."""
    async with served() as here:
        answer = await here.ask(path)
        assert (answer.status, answer.json) == (404, {"error": "Not found"})
        kept = answer.headers["Cache-Control"]
        assert kept == "no-store" or int(kept.rpartition("=")[2]) <= 10


async def test_ping_whoami_and_all(served: Serve) -> None:
    """What the rest of npm asks."""
    async with served() as here:
        assert (await here.ask("/-/ping")).json == {}
        assert (await here.ask("/-/whoami")).status == 401
        assert (await here.ask("/-/all")).status == 404
