"""The servers that take part, each a process of its own on a port of loopback."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.catchup import cpu_seconds, free_port, said, wait_for

MIRROR = "npmmirror serve"
MIRROR_TWICE = "npmmirror serve, two processes"
MIRROR_COLD = "npmmirror serve, nothing kept in memory"
VERDACCIO = "Verdaccio"
NGINX = "nginx"
BARE = "bare aiohttp"

CACHE_BYTES = "NPMMIRROR_SERVER__CACHE_BYTES"

_VERDACCIO_PACKAGE = {
    "private": True,
    # Its dependency is named by a tag, which not every registry serves.
    "overrides": {"node-fetch": "^2.6.7"},
}
_VERDACCIO_CONFIG = """
storage: ./storage
auth:
  htpasswd: {file: ./htpasswd}
uplinks: {}
packages:
  '**': {access: $all, publish: $all}
max_body_size: 100mb
log: {type: stdout, format: json, level: fatal}
"""
_NGINX_CONFIG = """
daemon off;
USER
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache max=1000;
    types { application/vnd.npm.install-v1+json json; }
    default_type application/octet-stream;
    client_body_temp_path tmp;
    proxy_temp_path tmp;
    fastcgi_temp_path tmp;
    uwsgi_temp_path tmp;
    scgi_temp_path tmp;
    server {
        listen 127.0.0.1:PORT;
        root ROOT;
        location / { try_files $uri $uri/index.json =404; gzip_static on; }
    }
}
"""


class NoVerdaccioError(Exception):
    """Verdaccio is not to be had."""


@dataclass(frozen=True)
class Server:
    """One that answers. `pids` are its first processes."""

    name: str
    url: str
    pids: tuple[int, ...]

    def cpu(self) -> float:
        """The CPU seconds that it took so far."""
        return sum(map(cpu_seconds, self.pids))


Starting = Callable[[], AbstractContextManager[Server]]


def mirrored(config: Path) -> Mapping[str, Starting]:
    """Those that serve the mirror of a configuration file."""
    return {
        MIRROR: partial(mirror, MIRROR, config, 1),
        MIRROR_TWICE: partial(mirror, MIRROR_TWICE, config, 2),
        MIRROR_COLD: partial(mirror, MIRROR_COLD, config, 1, {CACHE_BYTES: "0"}),
    }


def others(directory: Path, bodies: Path) -> Mapping[str, Starting]:
    """Those that serve the same packages, or the bytes in `bodies`."""
    return {
        VERDACCIO: partial(verdaccio, directory),
        NGINX: partial(nginx, directory, bodies),
        BARE: partial(bare, directory, bodies),
    }


@contextmanager
def mirror(
    name: str, config: Path, processes: int, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """`npmmirror serve`, as many processes as asked for on one port."""
    port = free_port()
    words = ["--config", config, "serve", "--listen", f"127.0.0.1:{port}"]
    command = [sys.executable, "-m", "npmmirror", *map(str, words)]
    log = config.with_suffix(f".{port}.log")
    with running([command] * processes, port, log, environment or {}) as pids:
        yield Server(name, f"http://127.0.0.1:{port}", pids)


@contextmanager
def verdaccio(directory: Path) -> Iterator[Server]:
    """Verdaccio over the storage in the directory; fetched with npm where it is not there."""
    port, place = free_port(), installed_verdaccio(directory)
    config = place / "config.yaml"
    config.write_text(_VERDACCIO_CONFIG)
    words = ["--config", config, "--listen", f"127.0.0.1:{port}"]
    command = [str(place / "node_modules/.bin/verdaccio"), *map(str, words)]
    with running([command], port, place / "log", {"NODE_ENV": "production"}) as pids:
        yield Server(VERDACCIO, f"http://127.0.0.1:{port}", pids)


@contextmanager
def nginx(directory: Path, bodies: Path) -> Iterator[Server]:
    """nginx, one worker, over the files."""
    port, config = free_port(), directory / "nginx.conf"
    user = "user root root;" if os.geteuid() == 0 else ""
    text = _NGINX_CONFIG.replace("USER", user).replace("ROOT", str(bodies))
    config.write_text(text.replace("PORT", str(port)))
    command = ["nginx", "-p", str(directory), "-c", str(config), "-e", "stderr"]
    with running([command], port, directory / "nginx.log", {}) as pids:
        yield Server(NGINX, f"http://127.0.0.1:{port}", pids)


@contextmanager
def bare(directory: Path, bodies: Path) -> Iterator[Server]:
    """The handler of `serving.bare`."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.serving.bare", str(port), str(bodies)]
    with running([command], port, directory / "bare.log", {}) as pids:
        yield Server(BARE, f"http://127.0.0.1:{port}", pids)


@contextmanager
def running(
    commands: list[list[str]], port: int, log: Path, environment: Mapping[str, str]
) -> Iterator[tuple[int, ...]]:
    """Processes that listen on the port, and end with the block; their ids."""
    processes = []
    with log.open("wb") as file:
        try:
            for command in commands:
                process = subprocess.Popen(
                    command, stdout=file, stderr=file, env={**os.environ, **environment}
                )
                processes.append(process)
            for process in processes:
                wait_for(partial(_listens_itself, process.pid, port), process)
            yield tuple(process.pid for process in processes)
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(30)


def _listens_itself(pid: int, port: int) -> bool:
    """Whether that very process holds a listening socket of the port."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    sockets = {
        f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"
    }
    held = (_link(file) for file in Path(f"/proc/{pid}/fd").iterdir())
    return not sockets.isdisjoint(held)


def _link(file: Path) -> str:
    try:
        return str(file.readlink())
    except FileNotFoundError:
        return ""  # closed meanwhile


def installed_verdaccio(directory: Path) -> Path:
    """Where Verdaccio is, the newest that this machine's Node runs.

    Raises:
        NoVerdaccioError: it cannot be fetched.
    """
    place = directory / "verdaccio"
    if not (place / "node_modules/.bin/verdaccio").exists():
        major = int(said("node", "--version").lstrip("v").partition(".")[0])
        wanted = "^6" if major >= 22 else "~6.8" if major >= 20 else "~6.5"
        place.mkdir(parents=True, exist_ok=True)
        package = {**_VERDACCIO_PACKAGE, "dependencies": {"verdaccio": wanted}}
        (place / "package.json").write_text(json.dumps(package))
        print("npm fetches Verdaccio", file=sys.stderr)
        command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]
        try:
            subprocess.run(command, cwd=place, check=True, stdout=sys.stderr)
        except subprocess.CalledProcessError as fault:
            raise NoVerdaccioError(f"npm cannot fetch Verdaccio {wanted}: see above") from fault
    return place


def verdaccio_version(directory: Path) -> str:
    """The version of the one that is there."""
    file = directory / "verdaccio/node_modules/verdaccio/package.json"
    found = re.search(r'"version":\s*"([^"]+)"', file.read_text()) if file.exists() else None
    return found[1] if found else "not fetched"
