"""How long `npmmirror coverage` takes, and how much memory: on an index of generated rows.

`python benchmarks/coverage.py [--packages 100000] [--all]` makes an index in a directory of its own,
with as many versions a package as npm has in the mean (a few have thousands), then runs the command
in each of its forms as a process of its own. `--all`: the policy wants all versions, and each has a
row of the work list, as in the midst of a backfill.
"""

import argparse
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha512
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import anyio

from npmmirror.index import IndexWriter

MEAN = 16.7
"""Versions a package: 73 of 4.37 million."""
EACH = 1000
AT = "2026-11-20T10:00:00.000000Z"


async def main(packages: int, *, everything: bool) -> None:
    """Make the index, and look at it."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "data", "index.db")
        path.parent.mkdir()
        await (await IndexWriter.open(path)).close()
        versions = fill(path, packages, everything=everything)
        size = os.stat(path).st_size  # noqa: PTH116 - nothing else runs here
        print(f"{packages:,} packages, {versions:,} versions, index {size / 1e6:,.0f} MB")
        for words in ((), ("--list",), ("--manifest", "manifest.jsonl")):
            seconds, cpu, peak, written = measure(directory, words, everything=everything)
            each = 1e6 * cpu / versions
            print(
                f"coverage {' '.join(words):26} {seconds:7.1f} s, {cpu:6.1f} s of CPU, "
                f"{each:5.2f} us a version, {peak / 1e6:4.0f} MB resident at most, "
                f"{written / 1e6:,.0f} MB written"
            )


def fill(path: Path, packages: int, *, everything: bool) -> int:
    """Put generated rows in; how many versions there are."""
    dice, total = Random(7), 0
    with closing(sqlite3.connect(path)) as index, index:
        index.execute("INSERT INTO marks VALUES (?, ?, zeroblob(32), 1, 256, 1)", (10**12, AT))
        for first in range(1, packages + 1, EACH):
            counts = {n: number(dice) for n in range(first, min(first + EACH, packages + 1))}
            total += sum(counts.values())
            index.executemany(
                "INSERT INTO packages (id, name, state, latest, ordinal) VALUES (?, ?, 'live', ?, ?)",
                ((n, f"package-{n}", f"1.{count - 1}.0", n) for n, count in counts.items()),
            )
            index.executemany(
                "INSERT INTO versions VALUES (?, ?, ?, 1, ?, ?, ?, ?, 5, ?, 'MIT', ?, NULL, 0, "
                "?, NULL, ?, ?, ?, ?, ?)",
                (row for n, count in counts.items() for row in rows(n, count)),
            )
            if everything:
                index.executemany(
                    "INSERT INTO work_list (package_id, item, reason, not_before, attempts, "
                    "deleted, since, detail) VALUES (?, ?, 'wanted', ?, 0, 0, ?, '')",
                    ((n, f"1.{v}.0", AT, AT) for n, c in counts.items() for v in range(c - 1)),
                )
    return total


def number(dice: Random) -> int:
    """Versions of a package: most have few, some have thousands."""
    return min(1 + int(dice.paretovariate(1.065)) * 2, 30_000)


def rows(package: int, count: int) -> Iterator[tuple[object, ...]]:
    """The newest version is held."""
    for n in range(count):
        digest = sha512(b"%d %d" % (package, n)).digest()
        url = f"https://registry.example/package-{package}/-/package-{package}-1.{n}.0.tgz"
        held = n == count - 1
        file = (f"ab/package-{package}/package-{package}-1.{n}.0.tgz", 700_000, digest, AT, n + 1)
        yield (
            *(package, f"1.{n}.0", digest[:16], AT, url, digest[:20].hex(), digest.hex()),
            *(2_400_000, f"author-{package}"),
            *(("held", *file) if held else ("", None, None, None, None, None)),
        )


def measure(
    directory: str, words: tuple[str, ...], *, everything: bool
) -> tuple[float, float, int, int]:
    """Seconds, CPU seconds, bytes resident at most, bytes written, of one run."""
    command = [sys.executable, "-m", "npmmirror", "coverage", *words]
    tarballs = "all" if everything else "new"
    environment = {**os.environ, "NPMMIRROR_POLICY__TARBALLS": tarballs}
    out = Path(directory, "out")
    with out.open("wb") as file:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=file, stderr=subprocess.DEVNULL
        )
        _, _, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    manifest = Path(directory, "manifest.jsonl")
    written = out.stat().st_size + (manifest.stat().st_size if manifest.exists() else 0)
    cpu = usage.ru_utime + usage.ru_stime
    return seconds, cpu, usage.ru_maxrss * 1024, written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=int, default=100_000)
    parser.add_argument("--all", action="store_true")
    told = parser.parse_args()
    anyio.run(lambda: main(told.packages, everything=told.all))
