"""The packages of the demo's registry: invented, with the names and shapes that npm's have."""

import math
from collections.abc import Iterator
from random import Random

from npmmirror.testing.packages import WORDS, Life
from npmmirror.testing.registry import ScriptedRegistry

SCOPES = ("harborlight", "nightjar", "oakwire", "quayside", "tinkerbay")
"""Invented, so that nothing that befalls a scoped package here is said of anybody's."""

_MOST_VERSIONS = 20
_LARGEST_TARBALL = 300_000


def fill(registry: ScriptedRegistry, count: int, seed: int) -> dict[str, Life]:
    """Publish `count` packages, a revision each; they can go on from there."""
    random = Random(f"demo {seed}")
    lives = {}
    for name in names(count, random):
        life = lives[name] = Life(name, f"{seed} {name}", dependencies=random.randrange(10))
        versions = min(_MOST_VERSIONS, int(_lognormal(random, median=3.5, sigma=0.8)) or 1)
        releases = [life.release(tarball_bytes(random)) for _ in range(versions)]
        extra = {"description": f"The package {name}", "readme": f"# {name}\n"}
        registry.publish_all(name, releases, extra=extra)
    return lives


def names(count: int, random: Random) -> list[str]:
    """So many different names; about one in four has a scope."""
    found: dict[str, None] = {}
    for name in _names(random):
        found[name] = None
        if len(found) == count:
            break
    return list(found)


def tarball_bytes(random: Random) -> int:
    """The size of a version: 6 kB in the median, a few a hundred times that."""
    return min(_LARGEST_TARBALL, int(_lognormal(random, median=6_000, sigma=1.2)))


def _names(random: Random) -> Iterator[str]:
    while True:
        words = random.sample(WORDS, random.choice((2, 2, 3)))
        plain = "-".join(words)
        yield f"@{random.choice(SCOPES)}/{plain}" if random.random() < 0.25 else plain


def _lognormal(random: Random, *, median: float, sigma: float) -> float:
    return random.lognormvariate(math.log(median), sigma)
