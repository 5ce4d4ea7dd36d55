"""Real clients install the tree of a moment that is past."""

import json
import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror.testing import ScriptedRegistry
from tests.machine import missing
from tests.real.clients import INSTALL, Workplace, command
from tests.real.test_npm_installs import QUIET, Project
from tests.server.conftest import Serve, Served, served

__all__ = ["served"]

pytestmark = [pytest.mark.npm, pytest.mark.anyio]


@pytest.fixture
def npm_alone() -> str:
    """The npm of this machine; no registry but ours is asked."""
    return shutil.which("npm") or missing("npm")


def publish(registry: ScriptedRegistry, version: str) -> None:
    """A version of `app`, which needs `@s/library`, and one of that, too."""
    for name, needs in (("@s/library", {}), ("app", {"@s/library": "^1.0.0"})):
        own = {"name": name, "version": version, "dependencies": needs}
        files = {"package.json": json.dumps(own).encode()}
        registry.publish(name, version, files=files, manifest={"dependencies": needs})


async def committed(here: Served) -> str:
    """The time of the last commit, once both packages are mirrored."""
    for name in ("app", "@s/library"):
        await here.sync(name)
    [(at,)] = here.mirror.rows("SELECT max(committed_at) FROM marks")
    return str(at)


async def install(npm: str, project: Project, *words: str) -> set[str]:
    """What npm installed, with an empty cache."""
    status, told = await project.run(npm, *words, *QUIET)
    assert status == 0, told
    return project.installed()


def lock_of(project: Project) -> Any:
    """What it wrote down."""
    return json.loads((project.directory / "package-lock.json").read_bytes())


async def test_npm_installs_the_tree_of_a_moment_that_is_past(
    npm_alone: str, tmp_path: Path, served: Serve
) -> None:
    """Before and after a publication the same, lock file and all; and `npm ci` installs that."""
    async with served() as here:
        publish(here.registry, "1.0.0")
        past = f"{here.url}/-/at/{await committed(here)}/"
        publish(here.registry, "1.1.0")
        await committed(here)
        one = Project(tmp_path / "one", past)
        tree = await install(npm_alone, one, "install", "app")
        assert tree == {"app@1.0.0", "@s/library@1.0.0"}
        resolved = [each.get("resolved") for each in lock_of(one)["packages"].values()]
        assert all(url.startswith(past) for url in resolved if url is not None)
        here.registry.deprecate("app", "1.0.0", "old")
        here.registry.unpublish_version("@s/library", "1.0.0")
        publish(here.registry, "1.2.0")
        await committed(here)
        other = Project(tmp_path / "other", past)
        assert await install(npm_alone, other, "install", "app") == tree
        assert lock_of(other) == lock_of(one) | {"name": lock_of(other)["name"]}
        shutil.rmtree(one.directory / "node_modules")
        shutil.rmtree(one.directory / "cache")
        assert await install(npm_alone, one, "ci") == tree
        now = Project(tmp_path / "now", here.url)
        assert await install(npm_alone, now, "install", "app") == {"app@1.2.0", "@s/library@1.2.0"}


@pytest.mark.parametrize("client", sorted({*INSTALL} - {"npm"}))
async def test_other_clients_install_it_too(client: str, tmp_path: Path, served: Serve) -> None:
    """Of the past no later version, however many there are by now; of now the newest."""
    command(client)
    async with served() as here:
        publish(here.registry, "1.0.0")
        past = f"{here.url}/-/at/{await committed(here)}"
        publish(here.registry, "1.1.0")
        await committed(here)
        for registry, version in ((past, "1.0.0"), (here.url, "1.1.0")):
            wanted = {"dependencies": {"app": "^1.0.0", "@s/library": "^1.0.0"}}
            # With "always" npm 10 puts the path of a registry into the addresses twice.
            project = Workplace(tmp_path / version, registry, wanted, replaced="npmjs")
            await anyio.to_thread.run_sync(project.install, client)
            assert project.installed() >= {f"app@{version}", f"@s/library@{version}"}


async def test_npm_says_why_a_moment_is_refused(
    npm_alone: str, tmp_path: Path, served: Serve
) -> None:
    """The mirror's own sentence, in npm's error."""
    async with served() as here:
        publish(here.registry, "1.0.0")
        await committed(here)
        project = Project(tmp_path / "project", f"{here.url}/-/at/2999-01-01/")
        status, told = await project.run(npm_alone, "install", "app", *QUIET)
        assert status != 0
        assert "the mirror cannot tell of 2999-01-01" in told
