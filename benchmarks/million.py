"""A registry of a million names: how long backfill's enumeration and a reconciliation take.

    python benchmarks/million.py [--names 1000000]

The feed is a real HTTP server in its own process that makes its rows as they are asked for and
keeps none. The parts are measured each in a process of its own, whose peak memory is told: the
enumeration, as fast as rows are taken off the work list again; looks at a work list that has all of
them at once (which a backfill never makes: it stops some thousands ahead of fetching); and a
reconciliation that is to find 500 packages that the index lost, 500 whose captured revision is
older, and 500 that are listed no more.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio
import uvloop
from aiohttp import web

from npmmirror.backfill import Wish
from npmmirror.clock import SystemClock, timestamp
from npmmirror.config import Config
from npmmirror.daemon import cold_commands
from npmmirror.daemon.cold_start import ColdStart
from npmmirror.daemon.mirror import Manner, Source
from npmmirror.daemon.open_mirror import open_mirror
from npmmirror.index import IndexReader
from npmmirror.pipeline.reconcile import Asked

NPM = 4_400_000
LOST = 500


def name(number: int) -> str:
    """A package's name, of npm's mean length; the names sort as their numbers."""
    return f"package-{number:08}-x"


class Feed:
    """The list, the root and an empty feed of changes."""

    def __init__(self, count: int) -> None:
        self._count = count

    async def root(self, _request: web.Request) -> web.Response:
        """The feed's root."""
        return web.json_response({"doc_count": self._count, "update_seq": 2 * self._count})

    async def changes(self, _request: web.Request) -> web.Response:
        """Nothing changes."""
        return web.json_response({"results": [], "last_seq": 2 * self._count})

    async def all_docs(self, request: web.Request) -> web.Response:
        """Rows from a key on."""
        key = request.query.get("startkey")
        first = 0 if key is None else int(json.loads(key).split("-")[1])
        rows = [
            f'{{"id":"{name(n)}","key":"{name(n)}","value":{{"rev":"{n % 40 + 2}-0123456789abcdef"}}}}'
            for n in range(first, min(first + int(request.query["limit"]), self._count))
        ]
        text = f'{{"total_rows":{self._count},"offset":{first},"rows":[{",".join(rows)}]}}'
        return web.Response(text=text, content_type="application/json")


def serve(count: int, told: Connection) -> None:
    """Serve until killed; tell the port."""

    async def main() -> None:
        feed = Feed(count)
        app = web.Application()
        app.add_routes(
            [
                web.get("/", feed.root),
                web.get("/_changes", feed.changes),
                web.get("/_all_docs", feed.all_docs),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        told.send(runner.addresses[0][1])
        await anyio.sleep_forever()

    uvloop.run(main())


async def enumerate_all(config: Config, source: Source) -> dict[str, Any]:
    """All names onto the work list as a backfill puts them; what is put is taken off at once.

    So it is as beside a registry that answers in no time.
    """
    async with open_mirror(config, source, clock=SystemClock(), manner=Manner()) as mirror:
        cold_start = ColdStart(mirror, source)
        await cold_start.load()
        await cold_start.take_cursor()
        await cold_start.begin(Wish(metadata_only=True))
        started, slowest = time.perf_counter(), 0.0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cold_start.backfiller.run)
            while cold_start.backfiller.state is not None:
                before = time.perf_counter()
                await mirror.opened.index.withdraw("backfill")
                slowest = max(slowest, time.perf_counter() - before)
                await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        return {"seconds": time.perf_counter() - started, "slowest": slowest}


async def look(config: Config, _source: Source) -> dict[str, Any]:
    """Looks at a work list that has a row of each package, which no backfill makes."""
    now = timestamp(SystemClock().now())
    paused = ("backfill", "backfill_metadata")
    with closing(sqlite3.connect(config.storage.index_path)) as index, index:
        index.execute(
            "INSERT INTO work_list (package_id, item, reason, not_before, attempts, deleted, "
            "since, detail, origin) SELECT id, '', 'backfill', ?1, 0, 0, ?1, '', 'backfill' "
            "FROM packages",
            (now,),
        )
    async with await IndexReader.open(config.storage.index_path) as reader:
        found = {
            "status": await timed(reader.status),
            "due": await timed(lambda: reader.due(now, packages=32, rows_each=50)),
            "due while paused": await timed(
                lambda: reader.due(now, packages=32, rows_each=50, held=paused)
            ),
        }
    with closing(sqlite3.connect(config.storage.index_path)) as index, index:
        index.execute("DELETE FROM work_list")
    return found


async def timed(call: Callable[[], Any]) -> float:
    """The seconds that a call takes."""
    started = time.perf_counter()
    await call()
    return time.perf_counter() - started


async def reconcile(config: Config, source: Source) -> dict[str, Any]:
    """A reconciliation of an index that holds nearly all."""
    started = time.perf_counter()
    report = await cold_commands.reconcile(config, source, Asked(), tell=lambda _: None)
    return {"seconds": time.perf_counter() - started, **(report or {})}


def capture_all(config: Config, count: int) -> None:
    """Make an index that holds all packages but `LOST`, as many too old, as many of no list."""
    with closing(sqlite3.connect(config.storage.index_path)) as index, index:
        index.execute("DELETE FROM resumptions")
        index.execute("INSERT OR REPLACE INTO meta VALUES ('backfilled', '{\"wishes\":[{}]}')")
        index.execute(
            "UPDATE packages SET state = 'live', revision = id, "
            "rev = (CAST(substr(name, 9, 8) AS INTEGER) % 40 + 2) || '-0123456789abcdef'"
        )
        index.execute("UPDATE packages SET rev = '1-0' WHERE id % ? = 7", (count // LOST,))
        index.execute("DELETE FROM packages WHERE id % ? = 9", (count // LOST,))
        for n in range(LOST):
            index.execute(
                "INSERT INTO packages (name, state, rev) VALUES (?, 'live', '3-0')", (f"gone-{n}",)
            )
        index.execute("INSERT INTO totals VALUES ('packages_live', ?)", (count,))


def measured(work: Callable[[Config, Source], Any], config: Config, source: Source) -> Any:
    """What a part tells, with the peak memory of its own process."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=part, args=(work, config, source, theirs)
    )
    process.start()
    result = ours.recv()
    process.join()
    return result


def part(
    work: Callable[[Config, Source], Any], config: Config, source: Source, told: Connection
) -> None:
    """A process of its own."""
    result = uvloop.run(work(config, source))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told.send({**result, "peak MiB": peak})


def main() -> int:
    """Measure, print a table; 1 where the reconciliation found something else."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, help="where the mirror lies meanwhile")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(options.names, theirs), daemon=True
    )
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}"
    place = Path(tempfile.mkdtemp(prefix="npmmirror-million-", dir=options.directory))
    try:
        config = Config.model_validate(
            {"storage": {"data_dir": str(place / "data"), "min_free_bytes": 0}}
        )
        listed = measured(enumerate_all, config, Source(url, url))
        size = config.storage.index_path.stat().st_size / 1e6
        looked = measured(look, config, Source(url, url))
        capture_all(config, options.names)
        compared = measured(reconcile, config, Source(url, url))
    finally:
        server.kill()
        shutil.rmtree(place)
    print_table(options.names, listed, compared, looked, size)
    found = {kind: compared[kind] for kind in ("missing", "older", "returned", "unlisted")}
    print(f"found: {found}")
    return int(found != {"missing": LOST, "older": LOST, "returned": 0, "unlisted": LOST})


def print_table(count: int, listed: Any, compared: Any, looked: Any, size: float) -> None:
    """As in the README; the last column is for all of npm."""
    print(f"| part | {count:,} names | all of npm ({NPM:,}) |\n|---|---|---|")
    for title, seconds in (
        ("enumeration", listed["seconds"]),
        ("reconciliation", compared["seconds"]),
    ):
        print(f"| {title}, s | {seconds:,.0f} | {seconds * NPM / count:,.0f} |")
    print(f"| index.db with the names alone, MB | {size:,.0f} | {size * NPM / count:,.0f} |")
    print(f"| enumeration, peak MiB | {listed['peak MiB']:,.0f} | as much |")
    print(f"| reconciliation, peak MiB | {compared['peak MiB']:,.0f} | as much |")
    print(
        f"| enumeration, slowest write beside it, ms | {listed['slowest'] * 1000:,.0f} | as much |"
    )
    for title, seconds in looked.items():
        if title != "peak MiB":
            print(f"| {title}, ms | {seconds * 1000:,.1f} | not measured |")


if __name__ == "__main__":
    sys.exit(main())
