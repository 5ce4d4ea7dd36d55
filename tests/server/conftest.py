"""A server in this process over a mirror of the scripted upstream."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from yarl import URL

from npmmirror.config import ServerSection
from npmmirror.server.app import App
from npmmirror.server.listener import Listener
from npmmirror.server.opening import open_resources
from npmmirror.server.resources import Resources
from npmmirror.testing import ScriptedRegistry
from tests.daemon.conftest import RunningMirror, opener

SHORT = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"
"""What npm and pnpm accept when they install."""


@dataclass
class Answer:
    """An answer, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


@dataclass
class Served:
    """A mirror, its server, and a client of it."""

    mirror: RunningMirror
    resources: Resources
    app: App
    url: str
    client: aiohttp.ClientSession

    @property
    def registry(self) -> ScriptedRegistry:
        """The registry that is mirrored."""
        return self.mirror.upstream.registry

    async def publish(self, name: str, *versions: str) -> None:
        """Publish versions upstream, the last of them `latest`, and mirror all of them."""
        for version in versions:
            self.registry.publish(name, version)
        await self.sync(name)

    async def sync(self, name: str) -> None:
        """Mirror a package as it is upstream now, every version of it."""
        await self.mirror.sync(name, all_versions=True, force=True)

    async def ask(self, path: str, method: str = "GET", **options: Any) -> Answer:
        """The answer to a request whose path is sent as it is written here."""
        options.setdefault("allow_redirects", False)
        url = path if path.startswith("http") else self.url + path
        async with self.client.request(method, URL(url, encoded=True), **options) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.read())

    async def short(self, path: str) -> Any:
        """An abbreviated document."""
        return (await self.ask(path, headers={"Accept": SHORT})).json


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def served(tmp_path: Path) -> Serve:
    """Opens a mirror and its server; keys of `[server]` by keyword, other sections in a dict."""

    @asynccontextmanager
    async def opened(
        sections: dict[str, dict[str, Any]] | None = None, /, **keys: Any
    ) -> AsyncIterator[Served]:
        section = ServerSection.model_validate({"listen": "127.0.0.1:0"} | keys)
        async with AsyncExitStack() as stack:
            mirror = await stack.enter_async_context(opener(tmp_path / "data")(**(sections or {})))
            await mirror.sync()  # makes the index
            resources = await stack.enter_async_context(
                open_resources(section, mirror.config.storage)
            )
            app = App(resources)
            [url] = await stack.enter_async_context(Listener(app, section).open())
            client = await stack.enter_async_context(
                aiohttp.ClientSession(auto_decompress=True, cookie_jar=aiohttp.DummyCookieJar())
            )
            yield Served(mirror, resources, app, url, client)

    return opened
