"""What `npmmirror serve` has resident while requests go over many packages."""

import argparse
import asyncio
import random
import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import uvloop

from benchmarks.serving.contestants import CACHE_BYTES, mirror
from benchmarks.serving.publishing import followed
from benchmarks.serving.subjects import ACCEPT, small_name

AT_ONCE = 16
MARKS = (0.01, 0.1, 0.5, 1.0)
"""Parts of the requests behind which memory is told."""
SMALL_CACHE = 4 << 20
GROWTH = 1.1
"""From the mark at which each package was asked for to the end, memory may grow by a tenth."""
CACHES = {"all": None, "a part": SMALL_CACHE}


def measure(options: argparse.Namespace, directory: Path) -> bool:
    """Print the table; whether memory is flat."""
    config = followed(directory, options.names)
    marks = [round(options.requests * part) for part in MARKS]
    titles = (f"MiB behind {mark:,}" for mark in marks)
    print(f"| the cache holds | MiB at first | {' | '.join(titles)} | largest | requests/s |")
    print(f"|{'---|' * (len(marks) + 4)}")
    flat = True
    for words, limit in CACHES.items():
        environment = {} if limit is None else {CACHE_BYTES: str(limit)}
        with mirror("memory", config, 1, environment) as server:
            told, rate = uvloop.run(ask(server.url, server.pids[0], options, marks))
            largest = resident(server.pids[0], "VmHWM")
        figures = " | ".join(f"{figure:.0f}" for figure in [*told, largest])
        print(f"| {words} | {figures} | {rate:,.0f} |", flush=True)
        flat = flat and told[-1] <= told[2] * GROWTH
    print(f"\nmemory is {'flat' if flat else 'NOT FLAT'}\n")
    return flat


async def ask(
    url: str, pid: int, options: argparse.Namespace, marks: list[int]
) -> tuple[list[float], float]:
    """MiB resident at first and behind each mark, and requests a second."""
    paths = requests(options.names, options.requests)
    told, loop = [resident(pid)], asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip,deflate"}
    async with aiohttp.ClientSession(url, connector=connector, auto_decompress=False) as client:
        started, done = loop.time(), 0
        for mark in marks:
            part = iter([next(paths) for _ in range(mark - done)])
            async with asyncio.TaskGroup() as tasks:
                for _ in range(AT_ONCE):
                    tasks.create_task(work(client, headers, part))
            told.append(resident(pid))
            done = mark
        return told, done / (loop.time() - started)


async def work(
    client: aiohttp.ClientSession, headers: dict[str, str], paths: Iterator[str]
) -> None:
    """One that asks."""
    for path in paths:
        async with client.get(path, headers=headers) as answer:
            answer.raise_for_status()
            await answer.read()


def requests(names: int, count: int) -> Iterator[str]:
    """Each package once in each turn, in an order of its own."""
    dice = random.Random(7)
    numbers = list(range(names))
    asked = 0
    while asked < count:
        dice.shuffle(numbers)
        for number in numbers:
            yield f"/{small_name(number)}"
            asked += 1


def resident(pid: int, key: str = "VmRSS") -> float:
    """MiB of memory that a process has, or had at most (`VmHWM`)."""
    told = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(told[1]) / 1024 if told else float("nan")
