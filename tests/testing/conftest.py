"""A registry with three packages, served; and a client."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from npmmirror.testing import ScriptedRegistry, ScriptedUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """Three packages of two versions each."""
    registry = ScriptedRegistry(seed=1)
    for name in ("left-pad", "@scope/thing", "zero"):
        registry.publish(name, "1.0.0")
        registry.publish(name, "1.1.0", manifest={"scripts": {"postinstall": "node x"}})
    async with ScriptedUpstream(registry) as up:
        yield up


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that decompresses nothing by itself."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session
