"""The packages brought to where they are served from: mirrored, and published to Verdaccio."""

import base64
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from benchmarks.catchup import STANDING, wait_for
from benchmarks.serving.contestants import verdaccio
from benchmarks.serving.subjects import PACKUMENTS, TARBALLS
from npmmirror.testing.remote import RemoteUpstream

NAMES = (*PACKUMENTS, *TARBALLS)
FIXED = len(NAMES)
"""Packages of the upstream beside the small ones."""

_CONFIG = """
[upstream]
feed = "{feed}"
registry = "{registry}"
[follow]
since = 0
poll_seconds = 1.0
[policy]
tarballs = "all"
[server]
listen = ""
[storage]
data_dir = "{data}"
"""


def synced(directory: Path) -> Path:
    """The configuration of a mirror of `NAMES`; made where it is not there."""
    config, done = directory / "mirror.toml", directory / "mirror.done"
    if not done.exists():
        with upstream(0) as registry:
            configure(config, registry, directory / "data")
            mirror_command(config, "sync", *NAMES)
        done.touch()
    return config


def followed(directory: Path, names: int) -> Path:
    """The configuration of a mirror of so many small packages; made where it is not there."""
    place = directory / f"names-{names}"
    config, done = place / "mirror.toml", place / "done"
    if not done.exists():
        place.mkdir(parents=True, exist_ok=True)
        with upstream(names) as registry:
            configure(config, registry, place / "data")
            command = [sys.executable, "-m", "npmmirror", "--config", str(config), "run"]
            with (place / "log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
                wait_for(lambda: is_mirrored(place / "data", names), process)
                process.terminate()
        done.touch()
    return config


def is_mirrored(data: Path, names: int) -> bool:
    """Whether everything of the feed is held and nothing is left to do."""
    try:
        with closing(sqlite3.connect(f"file:{data}/index.db?mode=ro", uri=True)) as index:
            revisions, _, waiting, unfinished = index.execute(STANDING).fetchone()
    except sqlite3.OperationalError:
        return False  # there is no index yet
    return (revisions, waiting, unfinished) == (names + FIXED, 0, 0)


def published(directory: Path) -> None:
    """Have Verdaccio hold the same versions as the mirror; one after the other, as npm does."""
    done = directory / "verdaccio.done"
    if done.exists():
        return
    shutil.rmtree(directory / "verdaccio/storage", ignore_errors=True)  # of a run that was stopped
    with upstream(0) as registry, verdaccio(directory) as server:
        for name in NAMES:
            for document in _publications(registry.url, name):
                put(f"{server.url}/{name}", document)
    done.touch()


@contextmanager
def upstream(names: int) -> Iterator[RemoteUpstream]:
    """The registry of `serving.upstream`."""
    with RemoteUpstream(str(names), module="benchmarks.serving.upstream") as found:
        yield found


def configure(file: Path, registry: RemoteUpstream, data: Path) -> None:
    """Write mirror.toml."""
    file.write_text(_CONFIG.format(feed=registry.feed, registry=registry.url, data=data))


def mirror_command(config: Path, *words: str) -> None:
    """Run a command that has to succeed."""
    command = [sys.executable, "-m", "npmmirror", "--config", str(config), *words]
    subprocess.run(command, check=True, stdout=sys.stderr)


def _publications(registry: str, name: str) -> Iterator[dict[str, Any]]:
    """What npm would send to publish each version of a package, oldest first."""
    for version, manifest in got_json(f"{registry}/{name}")["versions"].items():
        path = urlsplit(manifest["dist"]["tarball"]).path
        body = got(f"{registry}{path}")
        attachment = {
            "content_type": "application/octet-stream",
            "data": base64.b64encode(body).decode(),
            "length": len(body),
        }
        yield {
            "_id": name,
            "name": name,
            "dist-tags": {"latest": version},
            "versions": {version: manifest},
            "_attachments": {path.rpartition("/")[2]: attachment},
        }


def put(url: str, document: dict[str, Any]) -> None:
    """PUT it; raises where it is refused."""
    body, headers = json.dumps(document).encode(), {"Content-Type": "application/json"}
    with urlopen(Request(url, body, headers, method="PUT")) as answer:  # noqa: S310 - loopback
        answer.read()


def got(url: str) -> bytes:
    """The body."""
    with urlopen(url) as answer:  # noqa: S310 - loopback
        body: bytes = answer.read()
        return body


def got_json(url: str) -> Any:
    """The document."""
    return json.loads(got(url))
