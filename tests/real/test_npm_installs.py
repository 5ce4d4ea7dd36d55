"""Real clients install from what a closure left in the mirror, with nothing else to ask.

The registry that they ask is `npmmirror serve`: what is not held is a 404.
"""

import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror.config import Config
from npmmirror.daemon import standalone
from npmmirror.daemon.mirror import Source
from npmmirror.pipeline.closure import Asked
from npmmirror.policy.closure import Root
from npmmirror.testing import ScriptedRegistry, ScriptedUpstream
from tests.real.clients import command
from tests.real.conftest import RealMirror
from tests.real.serving import Serving, serving

pytestmark = [pytest.mark.npm, pytest.mark.anyio]

SECONDS = 100
TREES = (2, 4, 6)
"""Of the second, npm refuses the peers."""
QUIET = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error")
VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "2.0.0", "2.1.0", "3.0.0-rc.1", "3.0.0")
RANGES = ("^1.0.0", "~1.1.0", "1 || 2", "*", "^2.0.0", ">=1.1", "<=2", "1.0.0", "latest", "^3")


@dataclass
class Project:
    """A directory in which clients install, each with a cache that was empty."""

    directory: Path
    registry: str
    manifest: dict[str, Any] = field(default_factory=dict)

    async def run(self, *words: str) -> tuple[int, str]:
        """A command's exit status and all that it printed."""
        self.directory.mkdir(exist_ok=True)
        told = {"name": "project", "version": "1.0.0", **self.manifest}
        file = self.directory / "package.json"
        if not file.exists():
            file.write_text(json.dumps(told), "utf-8")
        with anyio.fail_after(SECONDS):
            done = await anyio.run_process(
                words, cwd=self.directory, env=self._environment(), check=False, stderr=-2
            )
        return done.returncode, done.stdout.decode()

    def _environment(self) -> dict[str, str]:
        own = {
            "HOME": str(self.directory),
            "npm_config_registry": self.registry,
            "npm_config_cache": str(self.directory / "cache"),
            "npm_config_userconfig": str(self.directory / "npmrc"),
            "npm_config_replace_registry_host": "always",
        }
        kept = {key: text for key, text in os.environ.items() if not key.lower().startswith("npm_")}
        return {**kept, **own}

    def installed(self) -> set[str]:
        """`NAME@VERSION` of what lies in `node_modules`."""
        files = self.directory.glob("node_modules/**/package.json")
        found = (json.loads(file.read_bytes()) for file in files)
        return {f"{one['name']}@{one['version']}" for one in found if "version" in one}

    def locked(self) -> set[str]:
        """Place, and version of what `package-lock.json` names."""
        lock = json.loads((self.directory / "package-lock.json").read_bytes())
        return {f"{place}@{one.get('version')}" for place, one in lock["packages"].items()}


@contextmanager
def project(real_mirror: RealMirror, **manifest: Any) -> Iterator[tuple[Project, Serving]]:
    """A project whose registry is the mirror."""
    with serving(real_mirror.data_dir) as served:
        yield Project(real_mirror.directory / "project", served.url, manifest), served


def assert_optional(served: Serving) -> None:
    """Only documents of optional peers were asked for in vain, which npm can do without."""
    assert [path for path in served.missed if "/-/" in path] == []


async def test_npm_installs_what_was_asked_for(npm: str, real_mirror: RealMirror) -> None:
    """With an empty cache, from the mirror alone; each version that npm chose is held."""
    specs = ("eslint", "chalk", "react@18")
    ended = real_mirror.json("sync", *specs, "--with-dependencies", "--production")
    held = {
        f"{package['package']}@{version['version']}"
        for package in ended["packages"]
        for version in package["versions"]
        if version["held"]
    }
    with project(real_mirror) as (here, served):
        status, told = await here.run(npm, "install", *specs, *QUIET)
        assert status == 0, told
        assert_optional(served)
        assert len(here.installed()) > 1
        locked = {place.rpartition("node_modules/")[2] for place in here.locked()} - {"@1.0.0"}
        assert {each for each in locked if each in held} == locked


async def test_npm_ci_installs_what_a_lock_file_names(npm: str, real_mirror: RealMirror) -> None:
    """The file is npm's own, of the registry upstream; no version but those in it is held."""
    wanted = {"express": "~4.18.0", "lp": "npm:left-pad@^1.1.0"}
    given = {"dependencies": wanted, "optionalDependencies": {"fsevents": "^2.3.2"}}
    here = Project(real_mirror.directory / "project", upstream_of(npm), given)
    status, told = await here.run(npm, "install", "--package-lock-only", *QUIET)
    assert status == 0, told
    policy = {"NPMMIRROR_POLICY__TARBALLS": "none"}
    ended = real_mirror.json("sync", "--lockfile", "project/package-lock.json", **policy)
    assert ended["complete"]
    assert "fsevents" in {package["package"] for package in ended["packages"]}
    with serving(real_mirror.data_dir) as served:
        here.registry = served.url
        status, told = await here.run(npm, "ci", *QUIET)
        assert status == 0, told
        assert served.missed == []
        assert len(here.installed()) > 50


def upstream_of(npm: str) -> str:
    """The registry that this machine's npm asks."""
    from npmmirror.cli.registry import registry_without_feed  # noqa: PLC0415 - of this test alone
    from npmmirror.config import UpstreamSection  # noqa: PLC0415 - as above

    assert npm
    return registry_without_feed(UpstreamSection()).url


async def test_pnpm_and_yarn_install_it_too(npm: str, real_mirror: RealMirror) -> None:
    """And their lock files name nothing that is not held then."""
    assert npm
    real_mirror.json("sync", "express@4", "chalk", "--with-dependencies", "--production")
    given = {"dependencies": {"express": "^4", "chalk": "*"}}
    with project(real_mirror, **given) as (here, served):
        store = ("--store-dir", str(here.directory / "store"))
        status, told = await here.run(*command("pnpm"), "install", "--ignore-scripts", *store)
        assert status == 0, told
        shutil.rmtree(here.directory / "node_modules")
        yarn = ("install", "--ignore-scripts", "--ignore-engines", "--registry", served.url)
        cache = ("--cache-folder", str(here.directory / "yarn"))
        status, told = await here.run(*command("yarn"), *yarn, *cache)
        assert status == 0, told
        assert set(served.missed) <= {"pnpm"}  # it looks for a newer one of itself
    tarballs = real_mirror.json("status")["totals"]["tarballs"]
    for file in ("pnpm-lock.yaml", "yarn.lock"):
        ended = real_mirror.json("sync", "--lockfile", f"project/{file}")
        assert ended["complete"], ended["missing"]
        assert len(ended["packages"]) > 50
    assert real_mirror.json("status")["totals"]["tarballs"] == tarballs


async def closed(upstream: ScriptedUpstream, data_dir: Path, *names: str) -> None:
    """Have a mirror of invented packages made, with all that these need."""
    config = Config.model_validate(
        {
            "storage": {"data_dir": str(data_dir), "commit_seconds": 0.02, "min_free_bytes": 0},
            "policy": {"tarballs": "none"},
            "upstream": {"max_attempts": 1},
        }
    )
    asked = Asked(tuple(Root(name, "*", "me") for name in names))
    await standalone.close_over(config, Source(upstream.url), asked, progress=lambda _: None)


def invented(dice: random.Random) -> ScriptedRegistry:
    """A dozen packages that require each other as real ones do, conflicts of peers included."""
    registry = ScriptedRegistry()
    names = [f"p{number}" for number in range(12)]
    for place, name in enumerate(names):
        for version in VERSIONS:
            registry.publish(name, version, manifest=needs(dice, names[place + 1 :]))
        if dice.random() < 0.3:
            registry.tag(name, "latest", dice.choice(VERSIONS))
    return registry


def needs(dice: random.Random, later: list[str]) -> dict[str, Any]:
    """What a version requires of the packages behind its own, and whether it likes this Node."""
    keys: dict[str, Any] = {}
    kinds = ("dependencies", "dependencies", "peerDependencies", "optionalDependencies")
    for other in dice.sample(later, min(3, len(later))):
        keys.setdefault(dice.choice(kinds), {})[other] = dice.choice(RANGES)
    if dice.random() < 0.4:
        waived = {other: {"optional": True} for other in keys.get("peerDependencies", {})}
        keys["peerDependenciesMeta"] = waived
    if dice.random() < 0.2:
        keys["engines"] = {"node": dice.choice([">=99", ">=18", "<20"])}
    if dice.random() < 0.1:
        keys["deprecated"] = "no"
    return keys


@pytest.mark.parametrize("seed", TREES)
async def test_npm_builds_the_same_tree_from_the_mirror(
    npm: str, tmp_path: Path, seed: int
) -> None:
    """As from upstream itself, or refuses it for the same conflict of peers."""
    given = {"dependencies": {"p0": "*", "p1": "*", "p2": "*"}}
    async with ScriptedUpstream(invented(random.Random(seed))) as upstream:
        await closed(upstream, tmp_path / "data", "p0", "p1", "p2")
        ours = Project(tmp_path / "ours", "", given)
        theirs = Project(tmp_path / "theirs", upstream.url, given)
        with serving(tmp_path / "data") as served:
            ours.registry = served.url
            ends = [
                await one.run(npm, "install", "--package-lock-only", *QUIET)
                for one in (ours, theirs)
            ]
        (status, told), (upstreams_status, _) = ends
        assert status == upstreams_status, told
        assert "E404" not in told
        assert "ETARGET" not in told
        if status == 0:
            assert ours.locked() == theirs.locked()


async def test_npm_takes_the_versions_of_a_shrinkwrap_from_the_mirror(
    npm: str, tmp_path: Path
) -> None:
    """A package with a lock file of its own in the tarball has that one's versions."""
    locked = {
        "name": "a",
        "version": "1.0.0",
        "lockfileVersion": 3,
        "packages": {
            "": {"name": "a", "version": "1.0.0", "dependencies": {"b": "^1"}},
            "node_modules/b": {"version": "1.0.0"},
        },
    }
    own = {"name": "a", "version": "1.0.0", "dependencies": {"b": "^1"}}
    registry = ScriptedRegistry()
    files = {
        "package.json": json.dumps(own).encode(),
        "npm-shrinkwrap.json": json.dumps(locked).encode(),
    }
    keys = {"_hasShrinkwrap": True, "dependencies": {"b": "^1"}}
    registry.publish("a", "1.0.0", files=files, manifest=keys)
    for version in ("1.0.0", "1.1.0"):
        registry.publish("b", version)
    async with ScriptedUpstream(registry) as upstream:
        await closed(upstream, tmp_path / "data", "a")
    with serving(tmp_path / "data") as served:
        here = Project(tmp_path / "project", served.url)
        status, told = await here.run(npm, "install", "a", *QUIET)
        assert status == 0, told
        assert here.installed() == {"a@1.0.0", "b@1.0.0"}
