"""A mirror that follows another mirror."""

import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from npmmirror.archive import CaptureReader
from npmmirror.capture import Location
from npmmirror.daemon.mirror import Source
from npmmirror.testing import ScriptedRegistry, ScriptedUpstream
from tests.daemon.conftest import PATIENCE, RunningMirror, opener

SECTIONS: dict[str, dict[str, Any]] = {
    "policy": {
        "tarballs": "all",
        "confirm_removal_answers": 1,
        "confirm_removal_hours": 0,
        "removal_breaker_percent": 0,
    },
}
Held = dict[str, tuple[str, bytes, dict[str, bytes]]]
"""Of each package: its state, its newest document, and the tarballs of the versions in it."""

_PACKAGES = """
SELECT p.name, p.state, r.segment, r."offset", p.id FROM packages AS p
JOIN revisions AS r ON r.ordinal = p.revision ORDER BY p.name
"""
_FILES = """
SELECT version, path FROM versions
WHERE package_id = ? AND present = 1 AND state IN ('held', 'unverifiable') ORDER BY version
"""


def free_port() -> int:
    """A port that nobody listens on, to listen on more than once."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def held(data_dir: Path) -> Held:
    """What a mirror has, read from its files; nothing where its first start was cut short."""
    found: Held = {}
    if not (data_dir / "index.db").exists():
        return {}
    address = f"{(data_dir / 'index.db').as_uri()}?mode=ro"
    with (
        CaptureReader(data_dir / "captures") as captures,
        closing(sqlite3.connect(address, uri=True)) as index,
    ):
        if not index.execute("SELECT 1 FROM sqlite_master WHERE name = 'packages'").fetchone():
            return {}
        for name, state, segment, offset, number in index.execute(_PACKAGES).fetchall():
            document = captures.document(Location(segment, offset))
            files = {
                version: (data_dir / "packages" / path).read_bytes()
                for version, path in index.execute(_FILES, (number,)).fetchall()
            }
            found[name] = state, document, files
    return found


def differences(one: Held, other: Held) -> list[str]:
    """How two mirrors differ, in words."""
    found = [f"{name}: only one has it" for name in sorted(one.keys() ^ other.keys())]
    for name in sorted(one.keys() & other.keys()):
        for what, mine, theirs in zip(
            ("state", "document", "tarballs"), one[name], other[name], strict=True
        ):
            if mine != theirs:
                found.append(f"{name}: {what}: {_short(mine)}, {_short(theirs)}")
    return found


def _short(value: Any) -> str:
    return str(sorted(value)) if isinstance(value, dict) else f"{value!r:.60}"


@dataclass
class SecondMirror(RunningMirror):
    """A mirror of another one; `url` is where that listens."""

    url: str = ""

    @property
    def source(self) -> Source:
        """The other one's feed, and its documents as they were captured."""
        return Source(f"{self.url}/-/raw", f"{self.url}/-/replicate/registry")


@dataclass
class Chain:
    """An upstream, a mirror of it that listens, and a mirror of that one."""

    first: RunningMirror
    second: SecondMirror

    @property
    def registry(self) -> ScriptedRegistry:
        """The registry that all of it comes from."""
        return self.first.upstream.registry

    def held(self) -> tuple[Held, Held]:
        """What both have."""
        return tuple(held(one.config.storage.data_dir) for one in (self.first, self.second))  # type: ignore[return-value]  # two

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Both daemons at work inside the block."""
        async with self.first.running(), self.second.running():
            yield

    async def alike(self) -> Held:
        """Wait until the first is at upstream's head, and the second has the same; what that is."""
        await self.first.at_head()
        return await self.caught_up()

    async def caught_up(self) -> Held:
        """Wait until the second has what the first has."""
        apart: list[str] = []
        with anyio.move_on_after(PATIENCE):
            while True:
                one, other = await anyio.to_thread.run_sync(self.held)
                apart = differences(one, other)
                if not apart:
                    return one
                await anyio.sleep(0.05)
        raise AssertionError(
            f"not alike within {PATIENCE} s: {apart}; {await self.second.status()}"
        )


@asynccontextmanager
async def chain(
    directory: Path,
    registry: ScriptedRegistry | None = None,
    *,
    first: dict[str, dict[str, Any]] | None = None,
    second: dict[str, dict[str, Any]] | None = None,
) -> AsyncIterator[Chain]:
    """A chain whose daemons do not run yet; sections of the two configurations, over `SECTIONS`."""
    port = free_port()
    async with AsyncExitStack() as stack:
        sections = dict(first or {})
        sections["server"] = {"listen": f"127.0.0.1:{port}"} | sections.get("server", {})
        one = await stack.enter_async_context(
            opener(directory / "first")(ScriptedUpstream(registry), **_over(sections))
        )
        opened = await stack.enter_async_context(
            opener(directory / "second")(**_over(second or {}))
        )
        url = f"http://127.0.0.1:{port}"
        yield Chain(one, SecondMirror(opened.config, opened.upstream, url=url))


def _over(sections: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {**SECTIONS.get(name, {}), **sections.get(name, {})}
        for name in {*SECTIONS, *sections}
    }
