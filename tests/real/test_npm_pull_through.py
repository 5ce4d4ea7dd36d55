"""Real npm installs through a mirror that has nothing, and fetches what it is asked for."""

import json
import shutil
from pathlib import Path

import pytest

from npmmirror.testing import ScriptedRegistry
from npmmirror.testing.faults import Altered, Drip
from npmmirror.testing.tarball import filler
from tests.machine import missing
from tests.real.test_npm_installs import QUIET, Project
from tests.server.pulling import pull_opener

pytestmark = [pytest.mark.npm, pytest.mark.anyio]

PACKAGES = {"app": {"@s/library": "^1.0.0", "left": "1.x"}, "@s/library": {"left": "*"}, "left": {}}
UNSEEN = {"follow": {"since": "now", "poll_seconds": 1000.0}}


@pytest.fixture
def npm_alone() -> str:
    """The npm of this machine; no registry but ours is asked."""
    return shutil.which("npm") or missing("npm")


def publish(registry: ScriptedRegistry, version: str = "1.0.0", *, size: int = 100_000) -> None:
    """A version of each package."""
    for name, needs in PACKAGES.items():
        own = {"name": name, "version": version, "dependencies": needs}
        files = {"package.json": json.dumps(own).encode(), "filler": filler(size, name)}
        registry.publish(name, version, files=files, manifest={"dependencies": needs})


async def test_npm_installs_what_nobody_mirrored(npm_alone: str, tmp_path: Path) -> None:
    """Documents and tarballs come as they are asked for, slowly; `npm ci` needs them no more."""
    async with pull_opener(tmp_path / "data")(**UNSEEN) as pulled:
        publish(pulled.upstream.registry)
        pulled.upstream.fault("tarball", Drip(rate=200_000), times=None)
        project = Project(tmp_path / "project", pulled.url)
        status, told = await project.run(npm_alone, "install", "app", *QUIET)
        assert status == 0, told
        tree = {"app@1.0.0", "@s/library@1.0.0", "left@1.0.0"}
        assert project.installed() == tree
        for name in PACKAGES:
            await pulled.until_held(name)
        asked = pulled.upstream.count("tarball")
        shutil.rmtree(project.directory / "node_modules")
        shutil.rmtree(project.directory / "cache")
        status, told = await project.run(npm_alone, "ci", *QUIET)
        assert status == 0, told
        assert project.installed() == tree
        assert pulled.upstream.count("tarball") == asked


async def test_npm_ci_needs_no_document(npm_alone: str, tmp_path: Path) -> None:
    """It asks another mirror, which has seen none of it, for tarballs alone."""
    async with pull_opener(tmp_path / "one")(**UNSEEN) as first:
        publish(first.upstream.registry, size=1000)
        project = Project(tmp_path / "project", first.url)
        status, told = await project.run(npm_alone, "install", "app", *QUIET)
        assert status == 0, told
    async with pull_opener(tmp_path / "two")(first.upstream, **UNSEEN) as second:
        there = Project(tmp_path / "there", second.url)
        there.directory.mkdir()
        for file in ("package.json", "package-lock.json"):
            text = (project.directory / file).read_text()
            (there.directory / file).write_text(text.replace(first.url, second.url))
        status, told = await there.run(npm_alone, "ci", *QUIET)
        assert status == 0, told
        assert there.installed() == {"app@1.0.0", "@s/library@1.0.0", "left@1.0.0"}


async def test_npm_takes_no_half_of_a_tarball(npm_alone: str, tmp_path: Path) -> None:
    """Upstream's wrong bytes reach no project; once they are right, they do."""
    async with pull_opener(tmp_path / "data")(**UNSEEN) as pulled:
        publish(pulled.upstream.registry)
        wrong = pulled.upstream.fault("tarball", Altered(), name="left", times=None)
        project = Project(tmp_path / "project", pulled.url)
        status, told = await project.run(npm_alone, "install", "left", *QUIET)
        assert status != 0, told
        assert project.installed() == set()
        pulled.upstream.heal(wrong)
        status, told = await project.run(npm_alone, "install", "left", *QUIET)
        assert status == 0, told
        assert project.installed() == {"left@1.0.0"}


async def test_npm_says_that_a_version_is_withheld(npm_alone: str, tmp_path: Path) -> None:
    """The mirror's own words, in npm's error; what is not withheld is installed in its place."""
    server = {"withhold": ["left@1.1.0", "app"]}
    async with pull_opener(tmp_path / "data")(server=server, **UNSEEN) as pulled:
        publish(pulled.upstream.registry, "1.0.0", size=1000)
        publish(pulled.upstream.registry, "1.1.0", size=1000)
        project = Project(tmp_path / "project", pulled.url)
        status, told = await project.run(npm_alone, "install", "left", *QUIET)
        assert status == 0, told
        assert project.installed() == {"left@1.0.0"}
        lock = project.directory / "package-lock.json"
        lock.write_text(lock.read_text().replace("1.0.0.tgz", "1.1.0.tgz"))
        shutil.rmtree(project.directory / "node_modules")
        shutil.rmtree(project.directory / "cache")
        status, told = await project.run(npm_alone, "ci", *QUIET)
        assert status != 0
        assert "Withheld by this mirror" in told
        status, told = await project.run(npm_alone, "install", "app", *QUIET)
        assert status != 0
        assert "Withheld by this mirror" in told
