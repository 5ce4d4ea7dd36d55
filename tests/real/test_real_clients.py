"""The clients that people use install a real tree from `npmmirror serve`, and ask of it.

The tree is mirrored from the registry that this machine's npm is configured for. The clients have
empty caches, and nobody else to ask.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.clients import INSTALL, Workplace, command
from tests.real.conftest import RealMirror
from tests.real.serving import Serving, serving

pytestmark = pytest.mark.npm

SCOPED = "@babel/code-frame"
WANTED = {"react": "^18.2.0", "express": "^4.18.0", "typescript": "^5.0.0", SCOPED: "^7.0.0"}
NPMS = ("npm", "npm10")
USED = f"""
const assert = require("assert");
assert(require("react").version.startsWith("18."));
assert(typeof require("express")().listen === "function");
assert(require("typescript").transpile("let a: number = 1").includes("a = 1"));
assert(require("{SCOPED}").codeFrameColumns("a", {{start: {{line: 1}}}}).includes("a"));
console.log("used");
"""


@pytest.fixture(scope="session")
def tree(npm: str, tmp_path_factory: pytest.TempPathFactory) -> RealMirror:
    """A mirror of the tree."""
    assert npm
    mirror = RealMirror(tmp_path_factory.mktemp("tree"))
    specs = [f"{name}@{wanted}" for name, wanted in WANTED.items()]
    ended = mirror.json("sync", *specs, "--with-dependencies", "--production")
    assert ended["complete"]
    return mirror


@pytest.fixture
def served(tree: RealMirror) -> Iterator[Serving]:
    """A server of the tree."""
    with serving(tree.data_dir) as one:
        yield one


def held(tree: RealMirror, name: str) -> dict[str, dict[str, Any]]:
    """The versions of a package that are held."""
    told = tree.json("show", name)["versions"]
    return {one["version"]: one for one in told if one["tarball"] == "held"}


@pytest.mark.parametrize("client", INSTALL)
def test_a_client_installs_the_tree(
    client: str, tree: RealMirror, served: Serving, tmp_path: Path
) -> None:
    """What was installed is held, it can be used, and nothing was asked for in vain."""
    command(client)
    here = Workplace(tmp_path / "project", served.url, {"dependencies": WANTED})
    here.install(client)
    assert here.run("node", "-e", USED).split() == ["used"]
    installed = here.installed()
    assert len(installed) > 60
    for name in WANTED:
        assert {f"{name}@{version}" for version in held(tree, name)} & installed
    assert set(served.missed) <= {"pnpm"}  # it looks for a newer one of itself


@pytest.fixture
def shell(served: Serving, tmp_path: Path) -> Workplace:
    """Where npm is asked things."""
    return Workplace(tmp_path / "shell", served.url)


@pytest.mark.parametrize("client", NPMS)
def test_npm_asks_of_packages(client: str, tree: RealMirror, shell: Workplace) -> None:
    """`view`, `search`, `dist-tag ls`: of what is held, and in the spelling of npm."""
    npm = command(client)
    seen = json.loads(shell.run(*npm, "view", SCOPED, "versions", "dist-tags", "--json"))
    told = seen["versions"] if isinstance(seen["versions"], list) else [seen["versions"]]
    assert set(told) == set(held(tree, SCOPED))
    latest = seen["dist-tags"]["latest"]
    tags = shell.run(*npm, "dist-tag", "ls", SCOPED).splitlines()
    assert f"latest: {latest}" in tags
    dist = json.loads(shell.run(*npm, "view", f"{SCOPED}@latest", "dist", "--json"))
    assert dist["tarball"].startswith(shell.registry)
    assert dist["integrity"].startswith("sha512-")
    found = json.loads(shell.run(*npm, "search", "code-frame", "--json"))
    assert {"name": SCOPED, "version": latest}.items() <= found[0].items()


@pytest.mark.parametrize("client", NPMS)
def test_npm_packs_the_bytes_that_are_held(client: str, tree: RealMirror, shell: Workplace) -> None:
    """`npm pack` of a plain name and of a scoped one."""
    for name in ("express", SCOPED):
        version, row = max(held(tree, name).items())
        shell.run(*command(client), "pack", f"{name}@{version}")
        file = f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"
        packed = (shell.directory / file).read_bytes()
        assert packed == (tree.data_dir / "packages" / row["path"]).read_bytes()


@pytest.mark.parametrize("client", NPMS)
def test_npm_ci_follows_a_lock_file_that_names_upstream(
    client: str, served: Serving, tmp_path: Path
) -> None:
    """As one that was made before there was a mirror; what it names comes from there."""
    npm = command(client)
    here = Workplace(tmp_path / "project", served.url, {"dependencies": WANTED})
    here.install(client)
    lock = here.directory / "package-lock.json"
    text = lock.read_text("utf-8")
    assert f'"resolved": "{served.url}/' in text
    lock.write_text(text.replace(served.url, "https://registry.example"), "utf-8")
    for made in ("node_modules", "cache"):
        shutil.rmtree(here.directory / made)
    here.run(*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    assert here.run("node", "-e", USED).split() == ["used"]
    assert served.missed == []
