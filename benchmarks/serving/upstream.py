"""The registry that is mirrored and published: a scripted upstream, a process of its own.

    python -m benchmarks.serving.upstream NAMES

Packages whose abbreviated packuments, or whose tarballs, have the sizes to be measured, and so many
small ones. All are in the feed.
"""

import asyncio
import sys
from collections.abc import Iterator
from itertools import islice
from random import Random

import uvloop

from benchmarks.serving.subjects import (
    PACKUMENTS,
    TARBALLS,
    small_name,
)
from npmmirror.testing import ScriptedRegistry, ScriptedUpstream
from npmmirror.testing.commands import Commands
from npmmirror.testing.history import History
from npmmirror.testing.packages import Life
from npmmirror.testing.process import attend
from npmmirror.testing.release import Release

PROBE = 20
"""Versions by which is found out how many make a packument of a size."""
OLD_TARBALL = 500


def filled(names: int) -> ScriptedRegistry:
    """Everything published."""
    registry = ScriptedRegistry()
    for name, size in PACKUMENTS.items():
        registry.publish_all(name, islice(releases(name), versions_for(name, size)))
    for name, (size, count) in TARBALLS.items():
        life = Life(name, name, dependencies=6)
        registry.publish_all(name, [life.release(size) for _ in range(count)])
    dice = Random(7)
    for number in range(names):
        name = small_name(number)
        registry.publish_all(name, islice(releases(name), dice.randint(1, 3)))
    return registry


def releases(name: str) -> Iterator[Release]:
    """The life of a package without end; the dice fall alike each time."""
    life = Life(name, name, dependencies=6)
    while True:
        yield life.release(OLD_TARBALL)


def versions_for(name: str, size: int) -> int:
    """How many versions make an abbreviated packument of about so many bytes."""
    probe = ScriptedRegistry()
    probe.publish_all(name, islice(releases(name), PROBE))
    short = probe.revision(name).abbreviated
    return 1 if short is None else max(1, round(size * PROBE / len(short.raw)))


async def main(names: int) -> None:
    """Serve until standard input ends."""
    registry = filled(names)
    history = History(registry, seed=0, packages=0, moves=None, share=0)
    async with ScriptedUpstream(registry) as upstream, asyncio.TaskGroup():
        await attend(upstream, Commands(upstream, history))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
