"""How much memory the extremes of a registry take, and whether everything else keeps moving.

    python benchmarks/extremes.py
    python benchmarks/extremes.py --only document --only tarballs

Each part runs a real `npmmirror run` against a generated upstream (`extreme_upstream.py`), both in
processes of their own. While it works on the extreme, small packages change ten times a second; the
time from the announcement of each until it is committed is printed beside the daemon's peak of
resident memory. `benchmarks/README.md` tells what came of it.
"""

import argparse
import json
import platform
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

UPSTREAM = Path(__file__).with_name("extreme_upstream.py")
MOST_MIB = 600
PATIENCE_SECONDS = 1800.0
LOOK_SECONDS = 0.02
SMALL_EACH_SECONDS = 0.1
MIB = 1 << 20

MIRROR_TOML = """
[upstream]
feed = "{url}"
registry = "{url}"
[follow]
since = 0
poll_seconds = 0.05
[policy]
tarballs = "{tarballs}"
[server]
listen = ""

[storage]
data_dir = "{data}"
"""

COMMITTED = """
SELECT name, ordinal FROM packages
WHERE ordinal IS NOT NULL AND ordinal > ? ORDER BY ordinal
"""


Package = dict[str, Any]
"""The fields of `extreme_upstream.Package`."""


class Upstream:
    """The generated upstream: what it is told to do."""

    def __init__(self, directory: Path) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, str(UPSTREAM), str(directory)]
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        if self._process.stdout is None:
            raise SystemExit("started without a pipe")
        self.url = self._process.stdout.readline().strip()

    def make(self, *packages: Package) -> int:
        """Make a new revision of each; the bytes of their large documents."""
        lengths: list[int] = self._post("make", packages)
        return sum(lengths)

    def announce(self, *names: str) -> None:
        """Have the feed tell of them."""
        self._post("announce", names)

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def _post(self, what: str, said: Any) -> Any:
        asked = Request(f"{self.url}/-/{what}", json.dumps(said).encode())  # noqa: S310 - our own
        with urlopen(asked) as answer:  # noqa: S310 - our own
            return json.loads(answer.read())


class Daemon:
    """`npmmirror run` in a fresh directory, and how to see from outside where it is."""

    def __init__(self, directory: Path, upstream: Upstream, tarballs: str) -> None:
        directory.mkdir()
        self.data = directory / "data"
        file = directory / "mirror.toml"
        file.write_text(MIRROR_TOML.format(url=upstream.url, tarballs=tarballs, data=self.data))
        command = [sys.executable, "-m", "npmmirror", "--config", str(file), "run"]
        self.log = directory / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stderr=log)

    def __enter__(self) -> Self:
        self.wait_for(lambda: bool(self.committed(0)) or self.is_open())
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(120)
        finally:
            self.process.kill()

    def is_open(self) -> bool:
        """Whether following began."""
        return self.number("SELECT count(*) FROM followings") > 0

    def committed(self, after: int) -> list[tuple[Any, ...]]:
        """Packages (name, ordinal) that were captured behind an ordinal."""
        return self._rows(COMMITTED, after)

    def number(self, sql: str, *values: Any) -> int:
        """The number that a query gives; 0 while there is no index."""
        rows = self._rows(sql, *values)
        return int(rows[0][0]) if rows else 0

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            with closing(sqlite3.connect(f"file:{self.data}/index.db?mode=ro", uri=True)) as index:
                return index.execute(sql, values).fetchall()
        except sqlite3.OperationalError:
            return []

    def wait_for(self, is_true: Callable[[], bool]) -> None:
        """Wait until something is true of the index."""
        too_late = time.monotonic() + PATIENCE_SECONDS
        while not is_true():
            if self.process.poll() is not None or time.monotonic() > too_late:
                raise SystemExit(
                    f"the daemon ended or stands still\n{self.log.read_text()[-3000:]}"
                )
            time.sleep(LOOK_SECONDS)

    def peak_mib(self) -> float:
        """The peak of resident memory since it was forgotten."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [kib] = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        return int(kib) / 1024

    def forget_peak(self) -> None:
        """Begin to measure the peak anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


class SmallChanges:
    """Small packages that change all the time, and how long each took to be committed."""

    def __init__(self, upstream: Upstream, daemon: Daemon, prefix: str) -> None:
        self._upstream = upstream
        self._daemon = daemon
        self._prefix = prefix
        self._waiting: dict[str, float] = {}
        self._ordinal = daemon.number("SELECT coalesce(max(ordinal), 0) FROM packages")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seconds: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number, due = 0, time.monotonic()
        while not self._stop.is_set() or (self._waiting and self._daemon.process.poll() is None):
            if time.monotonic() >= due and not self._stop.is_set():
                name = f"{self._prefix}-{number:06}"
                self._upstream.make({"name": name})
                self._waiting[name] = time.monotonic()
                self._upstream.announce(name)
                number, due = number + 1, due + SMALL_EACH_SECONDS
            self._look()
            time.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        for name, ordinal in self._daemon.committed(self._ordinal):
            self._ordinal = ordinal
            if (since := self._waiting.pop(name, None)) is not None:
                self.seconds.append(time.monotonic() - since)


@dataclass(frozen=True)
class Step:
    """What was measured while one extreme was worked on."""

    what: str
    before_mib: float
    peak_mib: float
    seconds: float
    small: list[float] = field(repr=False)

    def row(self) -> str:
        """A row of the table."""
        small = sorted(self.small)
        return (
            f"| {self.what} | {self.before_mib:,.0f} | {self.peak_mib:,.0f} | {self.seconds:.1f} | {len(small)} | "
            f"{statistics.median(small):.2f} | {small[int(len(small) * 0.95)]:.2f} "
            f"| {small[-1]:.2f} |"
        )


class Bench:
    """A daemon and its upstream, put through steps."""

    def __init__(self, upstream: Upstream, daemon: Daemon) -> None:
        self._upstream = upstream
        self.daemon = daemon
        self._steps = 0

    def step(self, what: str, packages: list[Package], is_done: Callable[[], bool]) -> Step:
        """Publish packages; what it took until something is true."""
        length = self._upstream.make(*packages)
        print(f"{what}: documents of {length:,} bytes", file=sys.stderr)
        self._steps += 1
        self.daemon.forget_peak()
        before = self.daemon.peak_mib()
        began = time.monotonic()
        with SmallChanges(self._upstream, self.daemon, f"small-{self._steps}") as small:
            self._upstream.announce(*(package["name"] for package in packages))
            self.daemon.wait_for(is_done)
            seconds = time.monotonic() - began
        step = Step(what, before, self.daemon.peak_mib(), seconds, small.seconds)
        print(step.row(), file=sys.stderr)
        return step

    def has(self, table: str, number: int, where: str = "true") -> Callable[[], bool]:
        """Whether a table has so many rows of the extreme packages."""
        sql = (
            f"SELECT count(*) FROM {table} JOIN packages ON packages.id = package_id "  # noqa: S608
            f"WHERE name NOT LIKE 'small-%' AND {where}"
        )
        return lambda: self.daemon.number(sql) >= number


def document(bench: Bench) -> Iterator[Step]:
    """A document of 105 MB with 9,000 versions, and its next revisions."""
    names = ("at first sight", "2nd revision", "3rd", "4th", "5th, some versions deprecated")
    for number, name in enumerate(names):
        package: Package = {
            "name": "huge",
            "versions": 9000 + number,
            "manifest_bytes": 12_250,
            "deprecated": 500 * (number // 4),
        }
        done = bench.has("revisions", number + 1, "name = 'huge'")
        yield bench.step(f"105 MB, 9,000 versions: {name}", [package], done)


def versions(bench: Bench) -> Iterator[Step]:
    """A package of 37,000 versions, all of whose tarballs are wanted, and its next revisions."""
    for number in range(3):
        package: Package = {"name": "many", "versions": 37_000 + number}
        done = bench.has("versions", 37_000 + number, "versions.state = 'held'")
        name = "all tarballs" if not number else f"revision {number + 1}"
        yield bench.step(f"37,000 versions: {name}", [package], done)


def tarballs(bench: Bench) -> Iterator[Step]:
    """Tarballs of 250 MB."""
    packages = [{"name": f"heavy-{n}", "tarball_bytes": 250_000_000} for n in range(8)]
    done = bench.has("versions", len(packages), "versions.state = 'held'")
    yield bench.step("8 tarballs of 250 MB", packages, done)


def documents(bench: Bench) -> Iterator[Step]:
    """Many documents that are large, but not so large that they would pass one at a time."""
    packages = [of_size(f"middle-{n}", 1000, 1_900) for n in range(400)]
    yield bench.step("400 documents of 1.9 MB", packages, bench.has("revisions", 400))
    packages = [of_size(f"large-{n}", 4000, 5_000) for n in range(30)]
    yield bench.step("30 documents of 20 MB", packages, bench.has("revisions", 430))


def of_size(name: str, versions: int, manifest_bytes: int) -> Package:
    """A package with so many versions, each described by about so many bytes."""
    return {"name": name, "versions": versions, "manifest_bytes": manifest_bytes}


def pending(bench: Bench, number: int) -> Iterator[Step]:
    """A daemon that has to catch up from far behind, and the large document after that."""
    packages: list[Package] = [{"name": f"pending-{each:06}"} for each in range(number)]
    yield bench.step(f"{number:,} pending changes", packages, bench.has("revisions", number))
    for step in document(bench):
        yield replace(step, what=f"then {step.what}")


def main() -> None:
    """Measure, print, clean up; exit status 1 where a peak is too high."""
    options = arguments()
    parts: dict[str, tuple[str, Callable[[Bench], Iterable[Step]]]] = {
        "document": ("latest", document),
        "versions": ("all", versions),
        "tarballs": ("latest", tarballs),
        "documents": ("none", documents),
        "pending": ("latest", partial(pending, number=options.pending)),
    }
    steps: list[Step] = []
    for name, (policy, part) in parts.items():
        if name in options.only or not options.only:
            with opened(options.directory, policy) as here:
                steps += part(here)
    print(*table(steps), circumstances(), sep="\n")
    sys.exit(any(step.peak_mib > MOST_MIB for step in steps))


@contextmanager
def opened(parent: Path | None, policy: str) -> Iterator[Bench]:
    """A fresh upstream and a fresh daemon that follows it."""
    directory = Path(tempfile.mkdtemp(prefix="npmmirror-extremes-", dir=parent))
    upstream = Upstream(directory)
    try:
        with Daemon(directory / "mirror", upstream, policy) as daemon:
            yield Bench(upstream, daemon)
    finally:
        upstream.close()
        shutil.rmtree(directory)


def table(steps: list[Step]) -> Iterator[str]:
    """The figures."""
    yield (
        "| what | MiB before | peak MiB | seconds | small changes meanwhile | median s | 95 % below s "
        "| longest s |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    yield from (step.row() for step in steps)


def circumstances() -> str:
    """When and where."""
    return f"\n{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    names = ("document", "versions", "tarballs", "documents", "pending")
    parser.add_argument("--only", action="append", default=[], choices=names)
    parser.add_argument("--pending", type=int, default=200_000)
    parser.add_argument("--directory", type=Path, help="where the files lie meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    main()
