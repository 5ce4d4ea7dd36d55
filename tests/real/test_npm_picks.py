"""What is picked, held against npm's own library, on invented documents."""

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from npmmirror.packument import Packument
from npmmirror.policy.picking import Picking
from npmmirror.policy.requirements import requirement

pytestmark = [pytest.mark.npm]

DOCUMENTS = 60
NODES = ("20.0.0", "20.18.3", "20.19.0", "22.0.0", "22.12.1", "23.4.0", "24.0.0", "26.1.0")
NPMS = ("10.0.0", "10.9.4", "11.4.0", "12.0.0")
ENGINES = (
    ">=18", ">= 20", ">=20.19", ">=22", "^20.19.0 || >=22.12.0", "20 || >=22", "<24", "~22.12",
    "18 - 23", "^18 || ^20", "*", "", "gibberish", ">=99", "14.x", ">20.18.3 <=23.4.0",
)  # fmt: skip
SPECS = (
    "*", "", "x", "^1.0.0", "~1.2", "1", ">=1", ">=1.1.0 <2", "1 || 2", "1.1.0", "v1.1.0", "=1.2.1",
    "latest", "next", "^2.0.0-rc.0", "<1.0.0", "2.x", "^9", "1.0.0 - 1.2", ">=1.0.0-0",
)  # fmt: skip
PICK = """
const pick = require(process.argv[1] + '/node_modules/npm-pick-manifest')
const npa = require(process.argv[1] + '/node_modules/npm-package-arg')
const { documents, specs, nodes, npms } = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const one = (document, spec, nodeVersion, npmVersion) => {
  try { return pick(document, spec, { nodeVersion, npmVersion }).version } catch { return null }
}
const picked = documents.map(document => specs.map(spec =>
  [...new Set(nodes.flatMap(node => npms.map(npm => one(document, spec, node, npm))))]))
const types = process.argv.slice(2).map(spec => {
  try { return npa.resolve('a', spec).type } catch (error) { return error.code || 'error' }
})
console.log(JSON.stringify({ picked, types }))
"""


def asked(npm: str, told: dict[str, Any], *specs: str) -> dict[str, Any]:
    """What npm's own modules answer."""
    root = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, check=True)
    home = Path(root.stdout.strip()) / "npm"
    if not home.is_dir():  # Debian keeps it elsewhere
        home = Path(npm).resolve().parent.parent
    done = subprocess.run(
        ["node", "-e", PICK, str(home), *specs],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def invented(dice: random.Random) -> dict[str, Any]:
    """A document with versions of all kinds."""
    numbers = [f"{dice.randrange(3)}.{dice.randrange(3)}.{dice.randrange(3)}" for _ in range(9)]
    versions = [number + dice.choice(["", "", "", "-rc.0", "-rc.1"]) for number in numbers]
    tags = {tag: dice.choice(versions) for tag in ("latest", "next") if dice.random() < 0.7}
    return {
        "name": "a",
        "dist-tags": tags,
        "versions": {
            version: {"name": "a", "version": version, **told(dice)} for version in versions
        },
    }


def told(dice: random.Random) -> dict[str, Any]:
    """Engines and deprecation of a version."""
    keys: dict[str, Any] = {}
    if dice.random() < 0.6:
        keys["engines"] = {"node": dice.choice(ENGINES)}
        if dice.random() < 0.2:
            keys["engines"]["npm"] = dice.choice([">=10.9", "<12", ">=11"])
    if dice.random() < 0.25:
        keys["deprecated"] = dice.choice(["no", "", False, True])
    return keys


def test_npm_never_picks_what_is_not_among_the_picks(npm: str) -> None:
    """On no Node, with no npm; with one Node named, what npm picks there is among them too."""
    dice = random.Random(7)
    documents = [invented(dice) for _ in range(DOCUMENTS)]
    answer = asked(npm, {"documents": documents, "specs": SPECS, "nodes": NODES, "npms": NPMS})
    seen = 0
    for document, by_spec in zip(documents, answer["picked"], strict=True):
        packument = Packument.parse(json.dumps(document).encode(), name="a")
        for spec, found in zip(SPECS, by_spec, strict=True):
            versions = {version for version in found if version is not None}
            picks = Picking(packument).picks(spec)
            assert versions <= set(picks), (spec, versions, picks, document)
            assert bool(versions) == bool(picks), (spec, picks, document)
            seen += len(versions) > 1
    assert seen > DOCUMENTS  # or nothing is proven


def test_specs_are_told_apart_as_npm_does(npm: str) -> None:
    """What is asked of the registry, and what is elsewhere."""
    specs = (
        "^1", "", "1.0.0", "next", "npm:b@1", "npm:b", "a/b", "a/b#semver:^1", "github:a/b", "./a",
        "file:a", "a/b/c", "~/a", "/a", "git+ssh://git@code.example/a/b.git", "a.tgz",
        "https://files.example/b.tgz", "workspace:*", "link:../b",
    )  # fmt: skip
    ours = {"version": "", "range": "", "tag": "", "alias": "", "git": "git", "remote": "url"}
    ours |= {"file": "file", "directory": "file"}
    empty: dict[str, Any] = {"documents": [], "specs": [], "nodes": [], "npms": []}
    for spec, kind in zip(specs, asked(npm, empty, *specs)["types"], strict=True):
        found = requirement("a", spec).elsewhere
        if kind in ours:
            assert found == ours[kind], (spec, kind)
        else:
            assert found in {"workspace", "link"}, (spec, kind)
