"""What a revision of a packument costs in the capture log: bytes, time to write, time to read.

    python benchmarks/captures.py

Documents made up, and real ones where the machine's npm is configured for a registry that
answers: cut back to as many versions as they had before, version by version, by publish time.
Every revision goes through the log's own encoder, writer and reader, and is compared byte for
byte. `--levels` prints instead what the levels of zstd make of the same documents, and `--files`
what ways of writing and syncing tarballs cost.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiofiles

from npmmirror import zstd
from npmmirror.archive import (
    CaptureLog,
    CaptureReader,
    PayloadEncoder,
    TarballStore,
    needed_numbers,
    records,
)
from npmmirror.archive.deltas import base_of
from npmmirror.capture import Chain, Location
from npmmirror.integrity import Hasher
from npmmirror.testing.packages import revisions
from npmmirror.worker_threads import WorkerThreads

AT = "2026-11-20T10:00:00.000000Z"
SMALL, LARGE = 1_536, 16 * 1_024
"""The most bytes a revision may take in the mean, of 300 and of 3,000 versions."""
BODY = os.urandom(150_000)
FILES = 400


@dataclass(frozen=True)
class Subject:
    """A document's revisions, and the bytes that each may take in the mean (None: no limit)."""

    name: str
    documents: list[bytes]
    limit: int | None


def subjects() -> Iterator[Subject]:
    """Everything that is measured."""
    yield from real("express", 200, SMALL)
    yield from real("typescript", 50, LARGE)
    yield Subject("made up, lean", [*lean(101, 199, 1_900)], SMALL)
    yield Subject("made up, lean", [*lean(2_951, 49, 3_400)], LARGE)
    yield Subject("made up, all of npm's fields", [*revisions(101, 199)], None)
    yield Subject(
        "made up, all of npm's fields", [*revisions(2_951, 49, version_bytes=3_300)], None
    )


def real(package: str, count: int, limit: int) -> Iterator[Subject]:
    """The last revisions of a real package, made from its document of today."""
    try:
        whole = json.loads(fetch(package))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"{package}: not to be had ({error})", file=sys.stderr)
        return
    times = whole["time"]
    order = sorted(whole["versions"], key=lambda version: str(times.get(version, "")))
    ends = range(len(order) - count + 1, len(order) + 1)
    documents = [
        cut(whole, order[:end], f"{end}-{random.Random(end).randbytes(16).hex()}") for end in ends
    ]
    yield Subject(package, documents, limit)


def fetch(package: str) -> bytes:
    """The packument from the registry that npm is configured for."""
    asked = subprocess.run(
        ["npm", "config", "get", "registry"], check=True, capture_output=True, text=True
    )
    with urllib.request.urlopen(f"{asked.stdout.strip().rstrip('/')}/{package}") as answer:  # noqa: S310 - npm's own configuration
        body: bytes = answer.read()
    return body


def cut(whole: dict[str, Any], versions: list[str], rev: str) -> bytes:
    """The document as it was when it had these versions."""
    kept = set(versions)
    gone = whole["versions"].keys() - kept
    return json.dumps(
        whole
        | {
            "_rev": rev,
            "dist-tags": whole["dist-tags"] | {"latest": versions[-1]},
            "versions": {key: value for key, value in whole["versions"].items() if key in kept},
            "time": {key: value for key, value in whole["time"].items() if key not in gone},
        },
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()


def lean(versions: int, more: int, version_bytes: int) -> Iterator[bytes]:
    """Documents made up without `gitHead` and `tmp`: an integrity, a shasum and a signature each."""
    for raw in revisions(versions, more, version_bytes=version_bytes):
        whole = json.loads(raw)
        for manifest in whole["versions"].values():
            manifest.pop("gitHead", None)
            manifest.pop("_npmOperationalInternal", None)
        yield json.dumps(whole, separators=(",", ":")).encode()


def measure(subject: Subject, directory: Path) -> tuple[str, ...]:
    """Write all revisions and read them back; a row of the table."""
    places, written = write(subject.documents, directory)
    with CaptureReader(directory) as reader:
        deepest, started = 0, time.process_time()
        for place, raw in zip(places, subject.documents, strict=True):
            before = reader.frames_read
            if reader.document(place) != raw:
                sys.exit(f"{subject.name}: a revision came back changed")
            deepest = max(deepest, reader.frames_read - before)
        read = time.process_time() - started
        stored = [reader.record(place) for place in places]
    count = len(places)
    mean = sum(path.stat().st_size for path in directory.glob("*.log")) / count
    limit = "" if subject.limit is None else f"{subject.limit:,}"
    if subject.limit is not None and mean > subject.limit:
        limit += " MISSED"
    deltas = [record.stored_length for record in stored if record.base is not None]
    wholes = [record.stored_length for record in stored if record.base is None]
    return (
        subject.name,
        f"{len(json.loads(subject.documents[-1])['versions']):,}",
        f"{len(subject.documents[-1]) / 1e6:.2f} MB",
        f"{count}",
        f"{mean:,.0f}",
        limit,
        f"{len(wholes)} of {sum(wholes) / len(wholes):,.0f}",
        f"{sum(deltas) / len(deltas):,.0f}",
        f"{deepest}",
        f"{written / count * 1e3:.1f} ms",
        f"{read / count * 1e3:.1f} ms",
    )


def write(documents: Iterable[bytes], directory: Path) -> tuple[list[Location], float]:
    """Their places in a new log, and the CPU seconds that it took."""
    encoder, chain = PayloadEncoder(), None
    places: list[Location] = []
    positions: dict[int, Location] = {}
    with CaptureLog.open(directory) as log, CaptureReader(directory) as reader:
        started = time.process_time()
        for turn, raw in enumerate(documents):
            payload = encoder.encode(raw, chain, reader)
            rev, etag = f"{turn}-{payload.sha256[:32]}", f'"{payload.sha256[32:]}"'
            record = records.packument(AT, "package", payload, seq=130_000_000, rev=rev, etag=etag)
            place = log.append(record).place
            log.write()
            log.sync()
            places.append(place)
            positions[payload.number] = place
            needed = needed_numbers(payload.number)
            chain = Chain(payload.number, {number: positions[number] for number in needed})
        return places, time.process_time() - started


def levels(subject: Subject) -> Iterator[tuple[str, ...]]:
    """What each level of zstd makes of the newest whole, and of all deltas."""
    parameter = zstd.CompressionParameter
    documents = subject.documents
    for level in (3, 4, 5, 6, 7, 8, 9):
        plain: dict[int, int] = {parameter.compression_level: level, parameter.checksum_flag: 0}
        started = time.process_time()
        whole = len(zstd.compress(documents[-1], options=plain))
        took_whole = time.process_time() - started
        total, started = 0, time.process_time()
        for number, raw in enumerate(documents):
            if (base := base_of(number)) is not None:
                window = (len(raw) + len(documents[base])).bit_length()
                options = plain | {
                    parameter.enable_long_distance_matching: 1,
                    parameter.window_log: window,
                }
                prefix = zstd.ZstdDict(documents[base], is_raw=True).as_prefix
                total += len(zstd.compress(raw, options=options, zstd_dict=prefix))
        took = (time.process_time() - started) / (len(documents) - 1)
        mean = total / (len(documents) - 1)
        yield (
            subject.name,
            f"{level}",
            f"{whole:,}",
            f"{took_whole * 1e3:.1f} ms",
            f"{mean:,.0f}",
            f"{took * 1e3:.2f} ms",
        )


async def files(directory: Path) -> list[tuple[str, ...]]:
    """Ways of writing and of syncing 150 KB files: time a file."""
    with WorkerThreads(2, "files") as threads:
        store = TarballStore(staging=directory / "st", packages=directory / "pk", threads=threads)
        store.prepare_staging()
        store.attach()
        rows = [
            await received("one thread call a file", partial(by_store, store)),
            await received("aiofiles", partial(by_aiofiles, directory)),
        ]
        return rows + [await published(store, threads, group) for group in (1, 4, 8, 50, 200)]


async def chunks() -> AsyncIterator[bytes]:
    """A body as it comes from a socket."""
    for start in range(0, len(BODY), 16_384):
        yield BODY[start : start + 16_384]


async def by_store(store: TarballStore, turn: int) -> None:
    """As the mirror does it."""
    await store.receive(f"{turn}", chunks(), Hasher(None), max_bytes=1 << 30)


async def by_aiofiles(directory: Path, turn: int) -> None:
    """The other way, as it is usually done."""
    hasher = Hasher(None)
    async with aiofiles.open(directory / f"a{turn}", "wb") as file:
        async for chunk in chunks():
            hasher.update(chunk)
            await file.write(chunk)


async def received(name: str, way: Callable[[int], Awaitable[None]]) -> tuple[str, ...]:
    """A row: files received one after the other."""
    wall, cpu = time.perf_counter(), time.process_time()
    for turn in range(FILES):
        await way(turn)
    return timed(f"receive, {name}", time.perf_counter() - wall, time.process_time() - cpu, FILES)


async def published(store: TarballStore, threads: WorkerThreads, group: int) -> tuple[str, ...]:
    """A row: groups of so many files made durable, each in a directory of its own."""
    wall = cpu = 0.0
    groups = FILES // group
    for first in range(0, groups * group, group):
        moves = []
        for turn in range(first, first + group):
            path = store.temp_path(f"g{group}-{turn}", ".tgz")
            await threads.run(path.write_bytes, BODY)
            moves.append((path, f"{turn % 256:02x}/g{group}-{turn}/p-1.0.0.tgz"))
        wall_before, cpu_before = time.perf_counter(), time.process_time()
        await threads.run(store.publish, moves)
        wall += time.perf_counter() - wall_before
        cpu += time.process_time() - cpu_before
    return timed(f"publish, groups of {group}", wall, cpu, groups * group)


def timed(name: str, wall: float, cpu: float, count: int) -> tuple[str, ...]:
    """A row: milliseconds a file, by the clock and of CPU."""
    return (name, f"{wall / count * 1e3:.2f}", f"{cpu / count * 1e3:.2f}")


def table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows as they come, as a table that a README can take over."""
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--levels", action="store_true", help="compare the levels of zstd")
    parser.add_argument("--files", action="store_true", help="compare ways of storing tarballs")
    asked = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="captures-", dir="."))
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    run: Callable[[Path], None] = show_captures
    if asked.levels:
        run = show_levels
    elif asked.files:
        run = show_files
    try:
        run(directory)
    finally:
        shutil.rmtree(directory)


def show_captures(directory: Path) -> None:
    """The main table."""
    titles = (
        *("document", "versions", "size", "revisions", "bytes a revision", "limit"),
        *("whole frames", "a delta", "frames read", "write", "read"),
    )
    rows = (measure(each, directory / f"{turn}") for turn, each in enumerate(subjects()))
    table(titles, rows)


def show_levels(_: Path) -> None:
    """The table of zstd's levels."""
    titles = ("document", "level", "newest whole", "time", "a delta in the mean", "time")
    table(titles, (row for each in subjects() for row in levels(each)))


def show_files(directory: Path) -> None:
    """The table of ways to store files."""
    table(("150 KB files", "ms a file", "ms of CPU"), asyncio.run(files(directory)))


if __name__ == "__main__":
    main()
