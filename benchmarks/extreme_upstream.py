"""A registry with packages of extreme size, and its feed: a process of its own for `extremes.py`.

    python benchmarks/extreme_upstream.py DIRECTORY

It prints its URL and ends with its standard input. `POST /-/make` makes a new revision of each
package of a JSON array (the fields of `Package`), `POST /-/announce` puts those of an array of names
into the feed. Large documents lie compressed in the directory, as a CDN holds them; everything else
is made as it is asked for.
"""

import asyncio
import base64
import gzip
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp import web

MIB = 1 << 20
LARGE_DOCUMENT = 64 * 1024
LONGEST_ORDER = 256 * MIB
PIECE = bytes(range(256)) * (MIB // 256)
JSON = {"Content-Type": "application/json"}
BARE_MANIFEST = 700
A_DEPENDENCY = 30


@dataclass(frozen=True)
class Package:
    """So many versions, whose manifests and tarballs have about so many bytes each.

    The oldest `deprecated` of them have a message that says so.
    """

    name: str
    versions: int = 1
    manifest_bytes: int = BARE_MANIFEST
    tarball_bytes: int = 500
    deprecated: int = 0

    @property
    def is_large(self) -> bool:
        """Whether its document is made in advance."""
        return self.versions * self.manifest_bytes > LARGE_DOCUMENT


class Upstream:
    """The registry and the feed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._packages: dict[str, Package] = {}
        self._revs: dict[str, str] = {}
        self._rows: list[dict[str, Any]] = []
        self.url = ""

    def app(self) -> web.Application:
        """What answers."""
        app = web.Application(client_max_size=LONGEST_ORDER)
        app.router.add_get("/", self._root)
        app.router.add_get("/_changes", self._changes)
        app.router.add_post("/-/make", self._make)
        app.router.add_post("/-/announce", self._announce)
        app.router.add_get("/{name}", self._packument)
        app.router.add_get("/{name}/-/{file}", self._tarball)
        return app

    async def _root(self, _: web.Request) -> web.Response:
        return answer({"db_name": "extremes", "update_seq": len(self._rows)})

    async def _changes(self, request: web.Request) -> web.Response:
        since, limit = int(request.query.get("since", "0")), int(request.query["limit"])
        if request.query.get("descending") == "true":
            return answer({"results": self._rows[-limit:], "last_seq": len(self._rows)})
        rows = self._rows[since : since + limit]
        return answer({"results": rows, "last_seq": since + len(rows)})

    async def _make(self, request: web.Request) -> web.Response:
        """The lengths of the documents."""
        orders = orjson.loads(await request.read())
        return answer([self._made(Package(**fields)) for fields in orders])

    def _made(self, package: Package) -> int:
        name = package.name
        number = int(self._revs.get(name, "0-").partition("-")[0]) + 1
        self._revs[name] = f"{number}-{number:032x}"
        self._packages[name] = package
        if not package.is_large:
            return 0
        document = self._document(package)
        self._file(name).write_bytes(gzip.compress(document, 1))
        return len(document)

    async def _announce(self, request: web.Request) -> web.Response:
        """The feed's end."""
        for name in orjson.loads(await request.read()):
            rev = self._revs[name]
            seq = len(self._rows) + 1
            self._rows.append({"seq": seq, "id": name, "changes": [{"rev": rev}]})
        return answer(len(self._rows))

    async def _packument(self, request: web.Request) -> web.StreamResponse:
        package = self._packages[request.match_info["name"]]
        if package.is_large:
            headers = JSON | {"Content-Encoding": "gzip"}
            return web.FileResponse(self._file(package.name), headers=headers)
        return web.Response(body=self._document(package), headers=JSON)

    async def _tarball(self, request: web.Request) -> web.StreamResponse:
        name, file = request.match_info["name"], request.match_info["file"]
        spec = f"{name}@{file.removeprefix(f'{name}-').removesuffix('.tgz')}"
        size = self._packages[name].tarball_bytes
        if size <= MIB:
            return web.Response(body=b"".join(tarball(spec, size)))
        response = web.StreamResponse()
        response.content_length = size
        await response.prepare(request)
        for piece in tarball(spec, size):
            await response.write(piece)
        return response

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.json.gz"

    def _document(self, package: Package) -> bytes:
        return b"".join(document(package, self._revs[package.name], self.url))


def document(package: Package, rev: str, url: str) -> Iterator[bytes]:
    """The pieces of a packument."""
    name, latest = package.name, f"1.0.{package.versions - 1}"
    head = {"_id": name, "_rev": rev, "name": name, "dist-tags": {"latest": latest}}
    yield orjson.dumps(head)[:-1] + b',"versions":{'
    for number in range(package.versions):
        comma = b"," if number else b""
        yield b'%b"1.0.%d":%b' % (comma, number, orjson.dumps(manifest(package, number, url)))
    times = {f"1.0.{number}": moment(number) for number in range(package.versions)}
    dates = {"created": moment(0), "modified": moment(package.versions - 1)}
    yield b'},"time":' + orjson.dumps(dates | times) + b"}"


def manifest(package: Package, number: int, url: str) -> dict[str, Any]:
    """A manifest of npm's fields; dependencies fill it up to its size, and one of them moves on."""
    name, version = package.name, f"1.0.{number}"
    count = max((package.manifest_bytes - BARE_MANIFEST) // A_DEPENDENCY, 0)
    dependencies = {f"dependency-{each:06}": "^1.0.0" for each in range(count)}
    if count:
        dependencies[f"dependency-{number % count:06}"] = f"^1.{number}.0"
    sha1, integrity = digests(f"{name}@{version}", package.tarball_bytes)
    deprecated = {"deprecated": "too old"} if number < package.deprecated else {}
    return {
        **deprecated,
        "name": name,
        "version": version,
        "license": "MIT",
        "_npmUser": {"name": "someone", "email": "someone@mail.example"},
        "dependencies": dependencies,
        "dist": {
            "tarball": f"{url}/{name}/-/{name}-{version}.tgz",
            "shasum": sha1,
            "integrity": integrity,
            "signatures": [{"keyid": "SHA256:none", "sig": signature(integrity)}],
        },
    }


def signature(integrity: str) -> str:
    """Bytes that do not compress, as those of a signature."""
    return base64.b64encode(hashlib.sha512(integrity.encode()).digest()).decode()


@lru_cache(100_000)
def digests(spec: str, size: int) -> tuple[str, str]:
    """The digests of a version's tarball, as npm writes them."""
    sha1, sha512 = hashlib.sha1(usedforsecurity=False), hashlib.sha512()
    for piece in tarball(spec, size):
        sha1.update(piece)
        sha512.update(piece)
    return sha1.hexdigest(), "sha512-" + base64.b64encode(sha512.digest()).decode()


def tarball(spec: str, size: int) -> Iterator[bytes]:
    """The bytes of a tarball: its own name, then the same for all."""
    head = spec.encode()[:size]
    yield head
    for left in range(size - len(head), 0, -MIB):
        yield PIECE[: min(left, MIB)]


def moment(number: int) -> str:
    """When a version was published: an hour after the one before."""
    days, hour = divmod(number, 24)
    years, day = divmod(days, 28 * 12)
    return f"{2000 + years}-{day // 28 + 1:02}-{day % 28 + 1:02}T{hour:02}:00:00.000Z"


def answer(said: Any) -> web.Response:
    """An answer in JSON."""
    return web.Response(body=orjson.dumps(said), headers=JSON)


async def main(directory: Path) -> None:
    """Serve until the standard input ends."""
    upstream = Upstream(directory)
    runner = web.AppRunner(upstream.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    print(upstream.url, flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
