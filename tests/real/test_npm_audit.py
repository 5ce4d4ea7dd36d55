"""`npm audit signatures` says of the mirror what it says of its upstream.

npm first asks Sigstore's servers whether they know the registry's keys, and goes on to the registry's
own where they do not. Nothing outside is reachable here: so that question alone is answered for npm, as
it is for every registry but npm's. For the same reason versions with attestations are left out.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from npmmirror.testing import ScriptedRegistry
from npmmirror.testing.signing import Signature, Signing
from tests.machine import missing
from tests.real.test_npm_installs import QUIET, Project
from tests.server.conftest import Serve, Served, served

__all__ = ["served"]

WITHOUT_SIGSTORE = """
const Module = require('module')
const load = Module._load
const getTarget = async () => {
  throw Object.assign(new Error('no such target'), { code: 'TUF_FIND_TARGET_ERROR' })
}
Module._load = function (request, ...rest) {
  if (request === '@sigstore/tuf') return { initTUF: async () => ({ getTarget }) }
  return load.call(this, request, ...rest)
}
"""

pytestmark = [pytest.mark.npm, pytest.mark.anyio]


@pytest.fixture
def npm_alone() -> str:
    """The npm of this machine; no registry but ours is asked."""
    return shutil.which("npm") or missing("npm")


def publish(registry: ScriptedRegistry, **signatures: Signature) -> None:
    """Packages that are signed so, and `app`, which needs them all."""
    needs = {f"@s/{name}": "1.0.0" for name in signatures}
    for name, signature in signatures.items():
        _publish(registry, f"@s/{name}", {}, signature)
    _publish(registry, "app", needs, "good")


def _publish(
    registry: ScriptedRegistry, name: str, needs: dict[str, str], signature: Signature
) -> None:
    own = {"name": name, "version": "1.0.0", "dependencies": needs}
    files = {"package.json": json.dumps(own).encode()}
    manifest = {"dependencies": needs}
    registry.publish(name, "1.0.0", files=files, manifest=manifest, signature=signature)


async def mirrored(here: Served) -> None:
    """Mirror all that there is."""
    for name in here.registry.names():
        await here.sync(name)


async def audits(npm: str, here: Served, directory: Path) -> tuple[Any, Any]:
    """What it says of upstream and of the mirror, of the same tree, each with an empty cache."""
    preload = directory.with_suffix(".cjs")
    preload.write_text(WITHOUT_SIGSTORE, "ascii")
    project = Project(directory, here.url)
    status, told = await project.run(npm, "install", "app", *QUIET)
    assert status == 0, told
    said = []
    for url in (here.mirror.upstream.url, here.url):
        shutil.rmtree(project.directory / "cache")
        asked = Project(directory, url)
        words = ("audit", "signatures", "--json", "--loglevel=error", "--fetch-retries=0")
        status, told = await asked.run("node", "--require", str(preload), npm, *words)
        said.append((status, _told(told)))
    return said[0], said[1]


def _told(printed: str) -> Any:
    """The JSON that npm printed, without what names the registry."""
    found = json.loads(printed[printed.index("{\n") : printed.rindex("}") + 1])
    for each in (*found.get("invalid", ()), *found.get("missing", ())):
        for key in ("registry", "resolved"):
            each.pop(key, None)
    return found


async def test_a_tree_whose_signatures_are_right(
    npm_alone: str, tmp_path: Path, served: Serve
) -> None:
    """Nothing is invalid, nothing is missing, through a key that was changed."""
    async with served() as here:
        here.registry.signing = Signing()
        publish(here.registry, one="good")
        here.registry.signing.rotate("2026-06-01T00:00:00.000Z")
        publish_more(here.registry)
        await mirrored(here)
        upstream, mirror = await audits(npm_alone, here, tmp_path / "project")
        assert mirror == upstream
        status, found = mirror
        assert status == 0, found
        assert (found["invalid"], found["missing"]) == ([], [])
        states = {state for (state,) in here.mirror.rows("SELECT signature FROM versions")}
        assert states == {"valid"}


def publish_more(registry: ScriptedRegistry) -> None:
    """A package that is signed with the key of then."""
    _publish(registry, "@s/later", {}, "good")


async def test_one_is_invalid_and_one_is_missing(
    npm_alone: str, tmp_path: Path, served: Serve
) -> None:
    """Both are named, and the exit status is not 0."""
    async with served() as here:
        here.registry.signing = Signing()
        publish(here.registry, right="good", wrong="bad", bare="none")
        await mirrored(here)
        upstream, mirror = await audits(npm_alone, here, tmp_path / "project")
        assert mirror == upstream
        status, found = mirror
        assert status == 1
        assert [each["name"] for each in found["invalid"]] == ["@s/wrong"]
        assert [each["name"] for each in found["missing"]] == ["@s/bare"]


@pytest.mark.parametrize(
    ("trouble", "code"),
    [("unknown key", "EMISSINGSIGNATUREKEY"), ("expired key", "EEXPIREDSIGNATUREKEY")],
)
async def test_what_stops_npm_stops_it_in_the_same_way(
    npm_alone: str, tmp_path: Path, served: Serve, trouble: str, code: str
) -> None:
    """A key that is not served, and one that had expired."""
    async with served() as here:
        here.registry.signing = signing = Signing()
        if trouble == "expired key":
            signing.expire("2020-01-01T00:00:00.000Z")
        publish(here.registry, one="unknown" if trouble == "unknown key" else "good")
        await mirrored(here)
        upstream, mirror = await audits(npm_alone, here, tmp_path / "project")
        assert _of_any_package(mirror) == _of_any_package(upstream)
        assert (mirror[0], mirror[1]["error"]["code"]) == (1, code)


def _of_any_package(audit: tuple[int, Any]) -> tuple[int, Any]:
    """It stops at the first, in no order: it looks at several packages at once."""
    return audit[0], json.loads(
        re.sub(r"(@s/)?\w+@\d+\.\d+\.\d+", "NAME@VERSION", json.dumps(audit[1]))
    )
