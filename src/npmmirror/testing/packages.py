"""Packages of npm's sizes, made up: for benchmarks, and to fill a scripted registry."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from npmmirror.testing.manifest import package_json
from npmmirror.testing.registry import ScriptedRegistry
from npmmirror.testing.release import Release, stamp
from npmmirror.testing.tarball import filler

_WORDS = """
async await babel bind cache chalk color core data date deep dom event fast file flow fs glob hash
http is json kit left lint log map merge mini node object pad parse path plugin promise query quick
react render retry right router safe schema simple small stream string table task test tiny token
tree type url util vue watch web word yaml zip
"""
WORDS = tuple(_WORDS.split())

_BIRTH = datetime(2015, 1, 1, tzinfo=UTC)
_MOST_VERSIONS = 400
_LARGEST_TARBALL = 20_000_000


@dataclass(frozen=True, slots=True)
class Draft:
    """A package to publish in one revision: its versions, oldest first, and its top-level keys."""

    name: str
    releases: tuple[Release, ...]
    extra: dict[str, Any]


class Life:
    """A package that goes from version to version, its dependencies drifting as real ones do.

    Args:
        name: the package.
        seed: of everything.
        dependencies: how many it starts with; each is worth about 30 bytes of a manifest.
    """

    def __init__(self, name: str, seed: str, *, dependencies: int) -> None:
        self.name = name
        self._random = Random(seed)
        self._numbers = [0, 0, 0]
        self._needs = {_word(self._random): self._requirement() for _ in range(dependencies)}
        self._dev = {_word(self._random): self._requirement() for _ in range(dependencies // 2)}
        self._moment = _BIRTH + timedelta(minutes=self._random.randrange(4_000_000))

    def release(self, tarball_bytes: int = 0) -> Release:
        """The next version; its tarball holds about so many bytes beside `package.json`."""
        self._bump()
        self._drift()
        version = ".".join(map(str, self._numbers))
        self._moment += timedelta(minutes=self._random.randrange(1, 10_000), milliseconds=17)
        keys = self._keys()
        files = {"package.json": package_json(self.name, version, keys)}
        if tarball_bytes:
            files["dist/index.js"] = filler(tarball_bytes, f"{self.name}@{version}")
        return Release(version, files, keys, at=stamp(self._moment))

    def _keys(self) -> dict[str, Any]:
        return {
            "keywords": list(self._needs)[:5],
            "engines": {"node": ">=18"},
            "files": ["dist"],
            "scripts": {"test": "node --test", "build": "tsc -p .", "prepare": "npm run build"},
            "dependencies": dict(self._needs),
            "devDependencies": dict(self._dev),
            "_npmOperationalInternal": {
                "host": "s3://npm-registry-packages",
                "tmp": f"tmp/{self.name}_{self._random.getrandbits(64):016x}",
            },
            "gitHead": f"{self._random.getrandbits(160):040x}",
        }

    def _bump(self) -> None:
        place = self._random.choices((0, 1, 2), (1, 6, 20))[0]
        self._numbers[place:] = [self._numbers[place] + 1, 0, 0][: 3 - place]

    def _drift(self) -> None:
        for needs in (self._needs, self._dev):
            if needs and self._random.random() < 0.3:
                needs[self._random.choice(list(needs))] = self._requirement()

    def _requirement(self) -> str:
        return (
            f"^{self._random.randrange(9)}.{self._random.randrange(30)}.{self._random.randrange(9)}"
        )


def catalogue(count: int, seed: int = 0) -> Iterator[Draft]:
    """Packages of npm's sizes: 54 KB a document and 150 KB a newest tarball in the mean.

    Older versions have tarballs too, of a few hundred bytes. Names are unique; every seventh has
    a scope.
    """
    for number in range(count):
        yield _draft(number, Random(f"catalogue {seed} {number}"))


def fill(registry: ScriptedRegistry, count: int, seed: int = 0) -> list[str]:
    """Publish the catalogue, a revision for each package; the names."""
    drafts = list(catalogue(count, seed))
    for draft in drafts:
        registry.publish_all(draft.name, draft.releases, extra=draft.extra)
    return [draft.name for draft in drafts]


def revisions(
    versions: int, count: int, *, version_bytes: int = 1_900, seed: int = 0
) -> Iterator[bytes]:
    """A document of so many versions, then `count` more, each with one version more.

    `version_bytes` is what a version adds to the document, from about 1,400 on.
    """
    life = Life("grows", f"revisions {seed}", dependencies=max(0, version_bytes - 1_400) // 36)
    registry = ScriptedRegistry(seed=seed)
    releases = [life.release() for _ in range(versions)]
    registry.publish_all("grows", releases, extra={"readme": _prose(Random(seed), 5_000)})
    yield registry.document("grows")
    for _ in range(count):
        registry.publish_all("grows", [life.release()])
        yield registry.document("grows")


def _draft(number: int, random: Random) -> Draft:
    plain = f"{_word(random)}-{number}"
    name = f"@{random.choice(WORDS)}/{plain}" if number % 7 == 3 else plain
    life = Life(name, f"{random.random()}", dependencies=random.randrange(12))
    older = min(_MOST_VERSIONS, int(_lognormal(random, median=13, sigma=1.15)))
    newest = min(_LARGEST_TARBALL, int(_lognormal(random, median=49_000, sigma=1.5)))
    releases = [*(life.release() for _ in range(older)), life.release(newest)]
    readme = _prose(random, int(_lognormal(random, median=2_500, sigma=1.2)))
    extra = {
        "description": f"A {name} for everyone",
        "readme": readme,
        "readmeFilename": "README.md",
    }
    return Draft(name, tuple(releases), extra)


def _lognormal(random: Random, *, median: float, sigma: float) -> float:
    return random.lognormvariate(math.log(median), sigma)


def _word(random: Random) -> str:
    return "-".join(random.choices(WORDS, k=2))


def _prose(random: Random, size: int) -> str:
    words = random.choices(WORDS, k=size // 5)
    lines = (" ".join(words[start : start + 12]) for start in range(0, len(words), 12))
    return "# Readme\n\n" + "\n".join(lines)
