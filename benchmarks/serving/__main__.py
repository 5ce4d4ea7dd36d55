"""How many requests a second the mirror answers, next to Verdaccio, nginx and bare aiohttp.

    python benchmarks/serve.py
    python benchmarks/serve.py --directory DIR --only speed --answers gzip

Packages with abbreviated packuments of 3, 54 and 500 KB and one with 64 tarballs of 150 KB are mirrored
with `npmmirror sync` and served with `npmmirror serve`; the same versions are published to
Verdaccio. nginx and a bare aiohttp handler answer the bytes that the mirror answers, the one from
files, the other from memory. Before anything is timed all are asked, and their answers compared
(`serving.answers`). wrk asks; each server is warmed up, and they take turns.

Then 10,000 packages are mirrored with `npmmirror run`, and the memory of `npmmirror serve` is told
while 100,000 requests go over them, with a cache that holds all of them and with one that does not.

With `--directory` what was mirrored and published stays there, and is taken from there the next
time. Exit status 0: all that is wanted was reached. 1: it was not, or a program is missing.
"""

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.catchup import idle_share, said
from benchmarks.serving import memory, speed
from benchmarks.serving.contestants import verdaccio_version
from benchmarks.serving.subjects import KINDS

PROGRAMS = {
    "wrk": "It asks, and nothing is timed without it. On Debian: apt install wrk",
    "nginx": "Files are not served for comparison. On Debian: apt install nginx-light",
    "node": "Verdaccio takes no part, which needs version 18 or newer. On Debian: apt install nodejs",
    "npm": "Verdaccio takes no part, which it would fetch. On Debian: apt install npm",
}


def main() -> int:
    """Measure, print, clean up; the exit status."""
    options = arguments()
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    for name in missing:
        print(f"{name} is missing. {PROGRAMS[name]}", file=sys.stderr)
    with ExitStack() as stack:
        directory = options.directory
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="npmmirror-serve-"))
            stack.callback(shutil.rmtree, directory)
        directory.mkdir(parents=True, exist_ok=True)
        reached = []
        print(f"Beforehand the machine was idle to {idle_share(2.0):.0%}.")
        if options.only != "memory" and "wrk" not in missing:
            reached.append(speed.measure(options, directory, frozenset(missing)))
        if options.only != "speed":
            reached.append(memory.measure(options, directory))
        print("\n".join(circumstances(directory, missing)))
    return 0 if all(reached) and not missing else 1


def circumstances(directory: Path, missing: list[str]) -> Iterator[str]:
    """What the tables were measured on."""
    processor = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    yield f"{datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} x {processor}, {platform.platform()}"
    told = [f"{name} {importlib.metadata.version(name)}" for name in ("aiohttp", "uvloop")]
    if "nginx" not in missing:
        told.append(said("nginx", "-v").rpartition(" ")[2])
    if "node" not in missing:
        told += [f"Node {said('node', '--version')}", f"Verdaccio {verdaccio_version(directory)}"]
    yield ", ".join([f"Python {platform.python_version()}", *told])


def arguments() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=3)
    add("--seconds", type=int, default=2, help="of each turn")
    add("--connections", type=int, default=16, help="that wrk holds")
    add("--only", choices=("speed", "memory"), help="one of the two parts")
    add("--answers", nargs="+", choices=KINDS, default=KINDS, help="that are timed")
    add("--without", action="append", default=[], help="a server that takes no part")
    add("--names", type=int, default=10_000, help="packages by which memory is measured")
    add("--requests", type=int, default=100_000, help="that go over them")
    add("--directory", type=Path, help="where the files go and stay; a disk, not memory")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
