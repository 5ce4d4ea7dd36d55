"""How fast the two buffers take pages of the feed, and give them back.

    python benchmarks/buffer.py --pages 20 --rounds 3

Pages of 10,000 changes are appended one after the other, each durable before the next, and then
read back in pieces of 500, as feed reads them. The broker is that of `--kafka HOST:PORT`, or one that
is started as the tests start theirs. `benchmarks/README.md` has figures.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from npmmirror.buffer.base import Buffer
from npmmirror.buffer.kafka import KafkaBuffer
from npmmirror.buffer.set_aside import SetAside
from npmmirror.buffer.sqlite import SqliteBuffer
from npmmirror.change import Change
from npmmirror.clock import SystemClock, timestamp
from npmmirror.config import KafkaSection
from npmmirror.pipeline.feed import READ_ROWS
from tests.kafka.broker import Broker

ROWS = 10_000
SOURCE = "https://feed.example/registry"

Open = Callable[[Path], Awaitable[Buffer]]


def main() -> None:
    """Measure both by turns, and print a table."""
    options = arguments()
    rates: dict[str, list[tuple[float, float]]] = {"sqlite": [], "kafka": []}
    with (
        tempfile.TemporaryDirectory(dir=options.directory) as directory,
        broker(options) as address,
    ):
        for number in range(options.rounds):
            for name, opened in (("sqlite", sqlite), ("kafka", kafka(address))):
                place = Path(directory) / f"{number}-{name}"
                place.mkdir()
                os.sync()
                rates[name].append(uvloop.run(measured(opened, place, options.pages)))
    print("| buffer | rows/s appended | lowest to highest | rows/s read back | lowest to highest |")
    print("|---|---|---|---|---|")
    for name, found in rates.items():
        print(f"| {name} | " + " | ".join(cell(rate) for rate in zip(*found, strict=True)) + " |")
    print()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}: {options.pages} pages of {ROWS:,} rows, {options.rounds} "
        f"rounds, {os.cpu_count()} cores, Python {platform.python_version()}; load "
        f"{os.getloadavg()[0]:.1f} at the end"
    )


def cell(rates: tuple[float, ...]) -> str:
    """The median, the lowest and the highest."""
    return f"{statistics.median(rates):,.0f} | {min(rates):,.0f} to {max(rates):,.0f}"


async def measured(opened: Open, place: Path, pages: int) -> tuple[float, float]:
    """Rows a second, appended and read."""
    buffer = await opened(place)
    async with buffer:
        await buffer.refresh()
        position = await buffer.start()
        began = time.perf_counter()
        for number in range(pages):
            at = timestamp(datetime.now(UTC))
            await buffer.append(page(number), observed_at=at, source=SOURCE)
        appended = time.perf_counter()
        count = 0
        while items := await buffer.read(position, READ_ROWS):
            position = buffer.advance(position, items)
            count += len(items)
        read = time.perf_counter()
    if count != pages * ROWS:
        raise SystemExit(f"{count} rows of {pages * ROWS} came back")
    return count / (appended - began), count / (read - appended)


def page(number: int) -> list[Change]:
    """Changes of as many packages, with names and revs as long as npm's."""
    first = number * ROWS
    return [
        Change(
            129_000_000 + first + n,
            f"@scope-{n % 97}/package-{first + n}",
            f"{n}-{uuid.uuid4().hex}",
        )
        for n in range(ROWS)
    ]


async def sqlite(place: Path) -> Buffer:
    """The embedded buffer, anew."""
    return await SqliteBuffer.open(place / "buffer.db")


def kafka(address: str) -> Open:
    """A topic of 12 partitions, anew."""

    async def opened(place: Path) -> Buffer:
        keys = {"bootstrap_servers": [address], "topic": f"benchmark-{uuid.uuid4().hex[:8]}"}
        section = KafkaSection.model_validate(keys)
        return KafkaBuffer(
            section, {"security_protocol": "PLAINTEXT"}, SetAside(place), SystemClock().now
        )

    return opened


@contextmanager
def broker(options: argparse.Namespace) -> Iterator[str]:
    """The address of the one that was named, or of one of our own."""
    if options.kafka:
        yield options.kafka
        return
    with tempfile.TemporaryDirectory() as directory, Broker(Path(directory)) as own:
        yield own.address


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker that is there")
    parser.add_argument("--directory", help="where the files are; /tmp by default")
    return parser.parse_args()


if __name__ == "__main__":
    main()
