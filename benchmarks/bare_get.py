"""A bare aiohttp loop: packument, then tarball, of each package; nothing is kept or looked at.

A process of its own for `catchup.py`, which gives it a JSON array of pairs of URLs on standard
input. It prints the seconds and the CPU seconds that it took, and the bytes that came, as JSON.
"""

import asyncio
import sys
import time
from collections.abc import Iterator

import aiohttp
import orjson
import uvloop

Pair = tuple[str, str]


async def main(pairs: list[Pair], concurrency: int) -> None:
    """Get everything, so many packages at a time."""
    received: list[int] = []
    waiting = iter(pairs)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as client:
        started, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrency):
                tasks.create_task(work(client, waiting, received))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(orjson.dumps({"seconds": seconds, "cpu": cpu, "bytes": sum(received)}).decode())


async def work(client: aiohttp.ClientSession, pairs: Iterator[Pair], received: list[int]) -> None:
    """One of the workers."""
    for pair in pairs:
        for url in pair:
            async with client.get(url) as response:
                response.raise_for_status()
                received.append(len(await response.read()))


if __name__ == "__main__":
    uvloop.run(main(orjson.loads(sys.stdin.buffer.read()), int(sys.argv[1])))
