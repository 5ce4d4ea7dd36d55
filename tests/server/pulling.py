"""A daemon that fetches what its clients ask for, and clients of it."""

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import orjson
from yarl import URL

from npmmirror.testing import ScriptedUpstream
from npmmirror.testing.tarball import filler
from tests.daemon.conftest import PATIENCE, RunningMirror, opener

LARGE = 300_000
"""Bytes of a tarball that comes in several pieces."""


@dataclass
class Got:
    """What a client got; `broken`: the connection broke off behind `body`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    broken: bool = False

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


@dataclass
class Pulled:
    """A mirror with its server, which fetches what is not held."""

    mirror: RunningMirror
    url: str
    client: aiohttp.ClientSession

    @property
    def upstream(self) -> ScriptedUpstream:
        """What is mirrored."""
        return self.mirror.upstream

    def publish(self, name: str, version: str = "1.0.0", *, size: int = LARGE) -> bytes:
        """A version upstream, its tarball of about so many bytes; that tarball."""
        files = {"package.json": b"{}", "filler": filler(size, f"{name}@{version}")}
        self.upstream.registry.publish(name, version, files=files)
        return self.upstream.registry.tarball(name, version)

    async def ask(self, path: str, method: str = "GET", **options: Any) -> Got:
        """The answer to a request whose path is sent as it is written here."""
        body = b""
        async with self.client.request(method, URL(self.url + path, encoded=True), **options) as a:
            try:
                async for piece in a.content.iter_any():
                    body += piece
            except (aiohttp.ClientError, ConnectionError):
                return Got(a.status, a.headers, body, broken=True)
            return Got(a.status, a.headers, body)

    async def tarball(self, name: str, version: str = "1.0.0", **options: Any) -> Got:
        """A tarball by its usual address."""
        return await self.ask(f"/{name}/-/{name}-{version}.tgz", **options)

    def held(self, name: str) -> set[str]:
        """The versions of a package whose files are held."""
        rows = self.mirror.rows(
            "SELECT p.name, v.version FROM versions AS v JOIN packages AS p "
            "ON p.id = v.package_id WHERE v.state = 'held'"
        )
        return {version for package, version in rows if package == name}

    async def until_held(self, name: str, version: str = "1.0.0") -> None:
        """Wait until a tarball is held."""
        with anyio.fail_after(PATIENCE):
            while version not in self.held(name):  # noqa: ASYNC110 - another process commits it
                await anyio.sleep(0.02)

    def files(self) -> list[str]:
        """The tarballs under final names, and temp files."""
        data = self.mirror.config.storage.data_dir
        places = [*data.glob("packages/**/*.tgz"), *data.glob("staging/npmmirror-*")]
        return sorted(str(path.relative_to(data)) for path in places)


Pull = Callable[..., AbstractAsyncContextManager[Pulled]]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def pull_opener(data_dir: Path) -> Pull:
    """Opens a mirror that keeps no tarballs by itself and fetches what is asked for."""

    @asynccontextmanager
    async def opened(
        served: ScriptedUpstream | None = None, /, *, runs: bool = True, **sections: dict[str, Any]
    ) -> AsyncIterator[Pulled]:
        url = f"127.0.0.1:{free_port()}"
        given: dict[str, dict[str, Any]] = {
            "policy": {"tarballs": "none"},
            "server": {"listen": url, "unheld": "fetch"},
        }
        for section, keys in sections.items():
            given[section] = given.get(section, {}) | keys
        async with (
            opener(data_dir)(served, **given) as mirror,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client,
        ):
            pulled = Pulled(mirror, f"http://{url}", client)
            if not runs:
                yield pulled
                return
            async with mirror.running():
                await _listening(pulled)
                yield pulled

    return opened


async def _listening(pulled: Pulled) -> None:
    """Wait until the server answers and would fetch."""
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                if (await pulled.ask("/a-name-that-is-not-there")).status == 404:
                    return
            except aiohttp.ClientConnectionError:
                pass
            await anyio.sleep(0.01)
