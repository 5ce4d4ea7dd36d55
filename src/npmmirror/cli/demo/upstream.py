"""`python -m npmmirror.cli.demo.upstream`: the demo's registry, in a process of its own.

It is the scripted upstream of the tests (`npmmirror.testing`), filled with the demo's packages and
with answers that take as long as over a network. `RemoteUpstream` speaks with it.
"""

import argparse
import asyncio
import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

import orjson
import uvloop

from npmmirror.cli.demo.catalogue import SCOPES, fill, names, tarball_bytes
from npmmirror.testing import tarball
from npmmirror.testing.asked import Asked
from npmmirror.testing.commands import Commands
from npmmirror.testing.history import History
from npmmirror.testing.packages import Life
from npmmirror.testing.process import attend
from npmmirror.testing.registry import ScriptedRegistry
from npmmirror.testing.release import Release
from npmmirror.testing.server import ScriptedUpstream

NEAREST_SECONDS, FARTHEST_SECONDS = 0.01, 0.04
"""How long an answer takes at least and at most, whatever is asked for."""

_SHORT = 20
"""A name of so many letters leaves room for a command on a line of 80."""
_TOLD = re.compile(r"sha512-([A-Za-z0-9+/=]+)")


class Repertoire:
    """What can happen to the demo's registry; each call tells what it did.

    Packages that something was done to stay out of the rest.
    """

    def __init__(self, registry: ScriptedRegistry, lives: dict[str, Life], seed: int) -> None:
        self._registry = registry
        self._lives = lives
        self._random = Random(f"repertoire {seed}")
        self._spared: set[str] = set()
        self._births = iter(names(len(lives) + 1_000, Random(f"births {seed}")))

    def live(self) -> dict[str, int]:
        """A moment of a registry's life: publishes, a new package, a deprecation, a tag."""
        for name in self._choose(3):
            self._publish(name)
        self._publish(self._newborn())
        tagged, deprecated = self._choose(2)
        self._registry.tag(tagged, "next", self._newest(tagged))
        self._registry.deprecate(deprecated, self._newest(deprecated), "use another one")
        return {"changes": 6}

    def unpublish(self) -> dict[str, Any]:
        """A package goes, and of another one a version."""
        package, other = self._choose(2, versions=3)
        self._spared |= {package, other}
        versions = list(self._registry.revision(package).versions)
        version = list(self._registry.revision(other).versions)[-2]
        self._registry.unpublish(package)
        self._registry.unpublish_version(other, version)
        return {"package": package, "versions": versions, "other": other, "version": version}

    def tamper(self) -> dict[str, str]:
        """A package publishes a version, but other bytes are served than it promises."""
        scopes = tuple(f"@{scope}/" for scope in SCOPES)
        able = [name for name in self._choose(None) if name.startswith(scopes)]
        name = self._random.choice([name for name in able if len(name) <= _SHORT] or able)
        self._spared.add(name)
        release = self._publish(name)
        promised = self._registry.tarball(name, release.version)
        files = {**(release.files or {}), "postinstall.js": b"// not what was published\n"}
        served = tarball.pack(files)
        self._registry.replace_tarball(name, release.version, served)
        return {
            "package": name,
            "version": release.version,
            "promised": tarball.integrity(promised),
            "served": tarball.integrity(served),
        }

    def promises(self) -> dict[str, Any]:
        """Each package: its state, its rev, and the SHA-512 (hex) that each version promises."""
        return {
            name: {
                "state": told["state"],
                "rev": told["rev"],
                "versions": {
                    version: _promised(manifest)
                    for version, manifest in self._registry.revision(name).versions.items()
                },
            }
            for name, told in self._registry.state().items()
        }

    def _publish(self, name: str) -> Release:
        release = self._lives[name].release(tarball_bytes(self._random))
        now = Release(release.version, release.files, release.manifest)  # published at this moment
        self._registry.publish_all(name, [now])
        return now

    def _newborn(self) -> str:
        name = next(name for name in self._births if name not in self._lives)
        self._lives[name] = Life(name, name, dependencies=self._random.randrange(10))
        return name

    def _choose(self, count: int | None, *, versions: int = 1) -> list[str]:
        """Packages that have so many versions; all of them where `count` is None."""
        able = [
            name
            for name in self._lives
            if name not in self._spared
            and name in self._registry
            and len(self._registry.revision(name).versions) >= versions
        ]
        return able if count is None else self._random.sample(able, count)

    def _newest(self, name: str) -> str:
        return list(self._registry.revision(name).versions)[-1]


def _promised(manifest: bytes) -> str:
    told = _TOLD.fullmatch(orjson.loads(manifest)["dist"]["integrity"])
    if told is None:
        raise ValueError("the demo's manifests promise a SHA-512")
    return base64.b64decode(told[1]).hex()


async def serve(options: argparse.Namespace) -> None:
    """Serve until told to stop."""
    registry = ScriptedRegistry(seed=options.seed, clock=lambda: datetime.now(UTC))
    repertoire = Repertoire(registry, fill(registry, options.packages, options.seed), options.seed)
    distance = Random(f"distance {options.seed}")

    async def take_time(_asked: Asked) -> None:
        await asyncio.sleep(distance.uniform(NEAREST_SECONDS, FARTHEST_SECONDS))

    calls: Mapping[str, Any] = {
        each.__name__: each
        for each in (
            *(repertoire.live, repertoire.unpublish),
            *(repertoire.tamper, repertoire.promises),
        )
    }
    async with ScriptedUpstream(registry, seed=options.seed) as upstream:
        upstream.hooks.append(take_time)
        await attend(upstream, Commands(upstream, History(registry, packages=0), calls))


def main() -> None:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m npmmirror.cli.demo.upstream")
    parser.add_argument("--packages", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
