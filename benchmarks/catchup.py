"""How fast the mirror catches up with a feed, beside what the same machine does with bare tools.

    python benchmarks/catchup.py --changes 2000 --rounds 5
    python benchmarks/catchup.py --alone --kafka localhost:9092

Everything is on loopback: a scripted upstream in its own process gives the feed, nginx the
packuments, gzipped as npm gives them, and tarballs. In each round the contestants take turns, each
in a fresh directory; what they wrote is deleted at the end, for ext4 is slow to create files where
many were deleted a moment ago. `benchmarks/README.md` tells what the columns mean.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from npmmirror.testing.remote import RemoteUpstream

T = TypeVar("T")

MIRROR = "npmmirror run"
ON_KAFKA = "npmmirror run, buffer on Kafka"
BARE_GET = Path(__file__).with_name("bare_get.py")
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 600.0
LIBRARIES = ("aiohttp", "uvloop", "orjson", "msgspec", "aiosqlite", "backports.zstd")

NGINX_CONF = """
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    types {{ application/json json; }}
    default_type application/octet-stream;
    client_body_temp_path tmp;
    proxy_temp_path tmp;
    fastcgi_temp_path tmp;
    uwsgi_temp_path tmp;
    scgi_temp_path tmp;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        location / {{ try_files $uri $uri/index.json =404; gzip_static {gzip}; }}
    }}
}}
"""

MIRROR_TOML = """
[upstream]
feed = "{feed}"
registry = "{registry}"
[follow]
since = 0
[policy]
tarballs = "latest"
[server]
listen = ""

[storage]
data_dir = "{data}"
"""

KAFKA_TOML = """
[buffer]
backend = "kafka"
[buffer.kafka]
bootstrap_servers = ["{broker}"]
topic = "{topic}"
"""

CURL = """
curl --no-progress-meter --fail --parallel --parallel-max 64 --config urls
find files -type f -print0 | xargs -0 sha512sum > sums
sync -f .
"""

STANDING = """
SELECT
    (SELECT number FROM totals WHERE what = 'revisions'),
    (SELECT number FROM totals WHERE what = 'tarballs'),
    (SELECT count(*) FROM work_list),
    (SELECT count(*) FROM receipts WHERE finished = 0)
"""


@dataclass(frozen=True)
class Measured:
    """One run. `cpu` and `peak_mib` are the contestant's own, `serving_cpu` nginx's and the feed's.

    `before` is what went by between the start of the process and the start of following.
    """

    seconds: float
    cpu: float
    serving_cpu: float
    peak_mib: float
    before: float = 0.0


Contestant = Callable[[Path], Measured]
Runs = dict[str, list[Measured]]


@dataclass(frozen=True)
class Upstream:
    """What all contestants ask: pairs of URLs, the tarballs' SHA-512, and who answers."""

    feed: str
    registry: str
    pairs: list[tuple[str, str]]
    digests: frozenset[str]
    pids: tuple[int, ...]

    def cpu(self) -> float:
        """The CPU seconds that answering took so far."""
        return sum(map(cpu_seconds, self.pids))


def main() -> None:
    """Measure, print, clean up."""
    options = arguments()
    directory = Path(tempfile.mkdtemp(prefix="npmmirror-catchup-", dir=options.directory))
    idle = idle_share(5.0)
    try:
        with serving(options, directory) as upstream:
            runs = take_turns(options, directory, contestants(options, upstream))
        print("\n".join([*table(options, runs), "", *circumstances(options, directory, runs)]))
        print(f"Beforehand the machine was idle to {idle:.0%}.")
    finally:
        if options.keep:
            print(f"kept: {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory)


def contestants(options: argparse.Namespace, upstream: Upstream) -> dict[str, Contestant]:
    """Who takes part, in the order of their turns."""
    others: dict[str, Contestant] = {
        f"bare GET loop, {number} at a time": partial(bare, upstream, number)
        for number in options.bare
    }
    others["curl, sha512sum, sync -f"] = partial(curl, upstream)
    ours: dict[str, Contestant] = {MIRROR: partial(mirror, upstream)}
    if options.kafka:
        ours[ON_KAFKA] = partial(mirror, upstream, kafka=options.kafka)
    return {**({} if options.alone else others), **ours}


def take_turns(
    options: argparse.Namespace, directory: Path, taking_part: dict[str, Contestant]
) -> Runs:
    """All rounds."""
    runs: Runs = {name: [] for name in taking_part}
    for number in range(1, options.rounds + 1):
        for turn, (name, contestant) in enumerate(taking_part.items()):
            place = directory / f"round-{number}-{turn}"
            place.mkdir()
            os.sync()
            runs[name].append(contestant(place))
            rate = options.changes / runs[name][-1].seconds
            print(f"round {number}, {name}: {rate:,.0f} changes/s", file=sys.stderr)
    return runs


@contextmanager
def serving(options: argparse.Namespace, directory: Path) -> Iterator[Upstream]:
    """The feed in one process, nginx over the same registry in another."""
    static = directory / "static"
    words = ("--packages", options.changes, "--living", 0, "--write", static)
    with RemoteUpstream(*map(str, words)) as feed, nginx(directory, static, options) as server:
        registry, pid = server
        newest = {
            name: (told["dist_tags"]["latest"], told["versions"])
            for name, told in feed.do("state").items()
        }
        yield Upstream(
            feed=feed.feed,
            registry=registry,
            pairs=[pair(registry, name, version) for name, (version, _) in newest.items()],
            digests=frozenset(versions[version] for version, versions in newest.values()),
            pids=(pid, feed.process.pid),
        )


def pair(registry: str, name: str, version: str) -> tuple[str, str]:
    """The URLs of a packument and of a version's tarball."""
    tarball = f"{registry}/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
    return f"{registry}/{quote(name, safe='@')}", tarball


@contextmanager
def nginx(directory: Path, static: Path, options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """An nginx of our own; its URL, and the id of its first process."""
    port = free_port()
    file = directory / "nginx.conf"
    file.write_text(
        NGINX_CONF.format(
            port=port,
            root=static,
            gzip="off" if options.plain else "on",
            user="user root root;" if os.geteuid() == 0 else "",
        )
    )
    with subprocess.Popen(["nginx", "-p", directory, "-c", file, "-e", "stderr"]) as process:
        try:
            wait_for(lambda: listens(port), process)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()


def bare(upstream: Upstream, concurrency: int, place: Path) -> Measured:
    """Nothing but the requests: what any mirror in this language has to pay."""
    urls, told = place / "urls.json", place / "told.json"
    urls.write_text(json.dumps(upstream.pairs))
    serving_before = upstream.cpu()
    with urls.open() as given, told.open("w") as taken:
        command = [sys.executable, str(BARE_GET), str(concurrency)]
        usage = ended(subprocess.Popen(command, stdin=given, stdout=taken))
    took = json.loads(told.read_text())
    serving_cpu = upstream.cpu() - serving_before
    return Measured(took["seconds"], took["cpu"], serving_cpu, peak_mib(usage))


def curl(upstream: Upstream, place: Path) -> Measured:
    """The URLs to files, their digests to one more, everything durable."""
    lines = (
        f'url = "{url}"\noutput = "files/{number}.{kind}"\n'
        for number, both in enumerate(upstream.pairs)
        for kind, url in zip(("json", "tgz"), both, strict=True)
    )
    (place / "urls").write_text("".join(lines))
    (place / "files").mkdir()
    serving_before, started = upstream.cpu(), time.perf_counter()
    usage = ended(subprocess.Popen(["sh", "-euc", CURL], cwd=place))
    seconds = time.perf_counter() - started
    return Measured(seconds, cpu(usage), upstream.cpu() - serving_before, peak_mib(usage))


def mirror(upstream: Upstream, place: Path, kafka: str | None = None) -> Measured:
    """From the start of following until every change is durable in archive and index.

    `kafka` is the broker that the buffer lies on, in a topic of its own; else it is SQLite.
    """
    file, data = place / "mirror.toml", place / "data"
    text = MIRROR_TOML.format(feed=upstream.feed, registry=upstream.registry, data=data)
    if kafka is not None:
        text += KAFKA_TOML.format(broker=kafka, topic=f"catchup-{uuid.uuid4().hex[:8]}")
    file.write_text(text)
    command = [sys.executable, "-m", "npmmirror", "--config", str(file), "run"]
    serving_before, started = upstream.cpu(), time.time()
    with (place / "log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            following = wait_for(lambda: following_since(data), process)
            cpu_before = cpu_seconds(process.pid)
            wait_until_durable(data, len(upstream.pairs), process)
            seconds = time.time() - following
            cpu_taken = cpu_seconds(process.pid) - cpu_before
            serving_cpu = upstream.cpu() - serving_before
            process.send_signal(signal.SIGTERM)
            usage = ended(process)
        finally:
            process.kill()
    check(data, upstream)
    return Measured(seconds, cpu_taken, serving_cpu, peak_mib(usage), following - started)


def following_since(data: Path) -> float | None:
    """When following began; None before."""
    try:
        with closing(sqlite3.connect(f"file:{data}/index.db?mode=ro", uri=True)) as index:
            row = index.execute("SELECT at FROM followings ORDER BY ordinal LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        return None  # there is no index yet
    return None if row is None else datetime.fromisoformat(row[0]).timestamp()


def wait_until_durable(data: Path, changes: int, process: subprocess.Popen[bytes]) -> None:
    """Return once so many changes are past the checkpoint, and nothing is left to do.

    By one connection: opening one for each look took a fortieth of the machine.
    """
    with closing(sqlite3.connect(f"file:{data}/index.db?mode=ro", uri=True)) as index:
        done = (changes, changes, 0, 0)
        wait_for(lambda: index.execute(STANDING).fetchone() == done, process)


def check(data: Path, upstream: Upstream) -> None:
    """See that every tarball is there, byte for byte, and nothing else."""
    files = [path for path in (data / "packages").rglob("*.tgz") if path.is_file()]
    found = [hashlib.sha512(path.read_bytes()).hexdigest() for path in files]
    left = list((data / "staging").iterdir())
    if len(found) != len(upstream.pairs) or set(found) != upstream.digests or left:
        raise SystemExit(f"{data} does not hold what upstream has")


def table(options: argparse.Namespace, runs: Runs) -> Iterator[str]:
    """A row for each contestant: medians over the rounds."""
    yield (
        "| contestant | changes/s | lowest to highest | npmmirror to it | CPU ms/change "
        "| serving CPU ms/change | peak MiB |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, measured in runs.items():
        rates = [options.changes / one.seconds for one in measured]
        ratio = statistics.median(
            other.seconds / ours.seconds for ours, other in zip(runs[MIRROR], measured, strict=True)
        )
        own = statistics.median(one.cpu for one in measured) * 1000 / options.changes
        serving_cpu = statistics.median(one.serving_cpu for one in measured)
        yield (
            f"| {name} | {statistics.median(rates):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} "
            f"| {ratio:.2f} | {own:.2f} | {serving_cpu * 1000 / options.changes:.2f} "
            f"| {max(one.peak_mib for one in measured):.0f} |"
        )


def circumstances(options: argparse.Namespace, directory: Path, runs: Runs) -> Iterator[str]:
    """What the table was measured on."""
    before = statistics.median(one.before for one in runs[MIRROR])
    documents = "plain" if options.plain else "gzipped"
    yield (
        f"{options.changes} changes, {options.rounds} rounds, {documents} packuments; npmmirror "
        f"began to follow {before:.2f} s after the start of its process."
    )
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    filesystem = said("findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(directory))
    yield f"{datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} x {processor}, {filesystem}, {platform.platform()}"
    versions = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    tools = [said("nginx", "-v").rpartition(" ")[2], " ".join(said("curl", "-V").split()[:2])]
    python = f"Python {platform.python_version()}"
    yield ", ".join([python, f"SQLite {sqlite3.sqlite_version}", *versions, *tools])


def said(*command: str) -> str:
    """What a command says, on either output."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip()


def wait_for(condition: Callable[[], T | None], process: subprocess.Popen[bytes]) -> T:
    """What the condition gives once it gives something, as long as the process lives."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{process.args!r} ended, or took too long; --keep keeps its log")
        time.sleep(POLL_SECONDS)
    return found


def ended(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    """What a process used, once it has ended well, its own children included."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{process.args!r} ended with {process.returncode}")
    return usage


def cpu(usage: resource.struct_rusage) -> float:
    """CPU seconds."""
    return usage.ru_utime + usage.ru_stime


def peak_mib(usage: resource.struct_rusage) -> float:
    """The most memory that was resident in the process, or in the largest of its children."""
    return usage.ru_maxrss / 1024


def cpu_seconds(pid: int) -> float:
    """The CPU seconds that a living process and its children took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu_seconds(int(child)) for child in children)


def idle_share(seconds: float) -> float:
    """Which part of the CPU nobody wants just now: figures of a busy machine say little."""
    before = idle_and_all()
    time.sleep(seconds)
    idle, everything = (now - then for now, then in zip(idle_and_all(), before, strict=True))
    return idle / everything


def idle_and_all() -> tuple[int, int]:
    """CPU time since the machine started, in ticks."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def arguments() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--changes", type=int, default=2000, help="packages, each changed once")
    add("--rounds", type=int, default=5)
    add("--bare", type=int, nargs="*", default=[64, 32], help="concurrencies of the bare loop")
    add("--alone", action="store_true", help="npmmirror without the others")
    add("--kafka", metavar="HOST:PORT", help="npmmirror also with its buffer on this broker")
    add("--plain", action="store_true", help="packuments are not gzipped; npm's are")
    add("--directory", type=Path, help="where the files go; a disk, not memory")
    add("--keep", action="store_true", help="do not delete them at the end")
    return parser.parse_args()


if __name__ == "__main__":
    main()
