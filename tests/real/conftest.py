"""The machine's npm and the registry that it is configured for, and a real PouchDB Server."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from npmmirror.cli.registry import registry_without_feed
from npmmirror.config import UpstreamSection
from tests.machine import missing

Result = subprocess.CompletedProcess[str]

SECONDS = 60
"""How long anything here may take."""
POUCHDB_VARIABLE = "NPMMIRROR_TEST_POUCHDB"


@pytest.fixture(scope="session")
def npm() -> str:
    """The npm of this machine, whose registry answers."""
    found = shutil.which("npm")
    if found is None:
        missing("npm")
    registry = registry_without_feed(UpstreamSection())
    try:
        with urllib.request.urlopen(f"{registry.url.rstrip('/')}/left-pad", timeout=SECONDS):  # noqa: S310 - http or https, by our own check
            return found
    except (urllib.error.URLError, OSError) as error:
        missing(f"an answer of the registry of {registry.origin} ({error})")


@dataclass(frozen=True, slots=True)
class RealMirror:
    """A data directory that is filled by the real program."""

    directory: Path

    @property
    def data_dir(self) -> Path:
        """Where its data is, by default."""
        return self.directory / "data"

    def run(self, *words: str, **variables: str) -> Result:
        """`npmmirror` with these words, to its end; its data is in `directory`."""
        return subprocess.run(
            [sys.executable, "-m", "npmmirror", *words],
            cwd=self.directory,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def json(self, *words: str, **variables: str) -> Any:
        """What a command prints with `--json`; it must succeed."""
        done = self.run(*words, "--json", **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def real_mirror(tmp_path: Path) -> RealMirror:
    """An empty mirror, configured by nothing but the machine."""
    return RealMirror(tmp_path)


@pytest.fixture
def npm_pack(npm: str, tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """What npm itself downloads of `NAME@VERSION`s, with a cache that was empty."""

    def pack(*specs: str) -> dict[str, bytes]:
        place = tmp_path / "packed"
        place.mkdir()
        options = ["--json", "--pack-destination", str(place), "--cache", str(tmp_path / "cache")]
        packed = subprocess.run(
            [npm, "pack", *specs, *options],
            cwd=place,
            check=True,
            stdout=subprocess.PIPE,
            timeout=SECONDS,
        )
        # some versions of npm told the scoped name, and wrote the plain one
        files = {one["id"]: one["filename"] for one in json.loads(packed.stdout)}
        return {
            spec: (place / name.removeprefix("@").replace("/", "-")).read_bytes()
            for spec, name in files.items()
        }

    return pack


@dataclass(frozen=True, slots=True)
class PouchDB:
    """A PouchDB Server with one empty database."""

    url: str
    log: Path

    def put(self, name: str, document: dict[str, Any]) -> bytes:
        """Write a document over what is there; its bytes as the server gives them then."""
        there = self._asked("GET", name)
        current = {"_rev": json.loads(there)["_rev"]} if there is not None else {}
        self._asked("PUT", name, {**document, **current})
        return self.get(name)

    def get(self, name: str) -> bytes:
        """A document as the server gives it."""
        found = self._asked("GET", name)
        assert found is not None, name
        return found

    def delete(self, name: str) -> None:
        """Leave a tombstone."""
        rev = json.loads(self.get(name))["_rev"]
        self._asked("DELETE", f"{name}?rev={rev}")

    def head(self) -> Any:
        """The feed's end."""
        return json.loads(self.get(""))["update_seq"]

    def asked(self, path: str) -> int:
        """How many requests the server has logged whose path begins so."""
        return self.log.read_text(encoding="utf-8").count(f"GET {path}")

    def _asked(
        self, method: str, path: str, document: dict[str, Any] | None = None
    ) -> bytes | None:
        """An answer's body; None where it is 404."""
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.url}/{path.replace('/', '%2f') if path.startswith('@') else path}",
            method=method,
            data=None if document is None else json.dumps(document).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - as above
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:
                    raise
            return None


@pytest.fixture(scope="session")
def pouchdb_server() -> str:
    """The executable: `NPMMIRROR_TEST_POUCHDB`, else where `.ci/run` keeps it, else on the PATH."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = cache / "npmmirror" / "pouchdb-server" / "node_modules" / ".bin" / "pouchdb-server"
    named = os.environ.get(POUCHDB_VARIABLE)
    found = shutil.which(named or kept) or (None if named else shutil.which("pouchdb-server"))
    if found is None or shutil.which("node") is None:
        missing(f"PouchDB Server (npm install pouchdb-server; {POUCHDB_VARIABLE} names it)")
    return found


@pytest.fixture
def pouchdb(pouchdb_server: str, tmp_path: Path) -> Iterator[PouchDB]:
    """A server of its own, in memory, with the database `npm`."""
    home = tmp_path / "pouchdb"
    home.mkdir()
    log = home / "out"
    url = f"http://127.0.0.1:{free_port()}"
    port = url.rpartition(":")[2]
    command = [pouchdb_server, "--in-memory", "--host", "127.0.0.1", "--port", port, "--no-color"]
    with log.open("wb") as out, subprocess.Popen(command, cwd=home, stdout=out, stderr=out) as one:
        try:
            wait_for(url, one)
            database = PouchDB(f"{url}/npm", log)
            database._asked("PUT", "", {})
            yield database
        finally:
            one.terminate()


def free_port() -> int:
    """A port that nobody listens on now; the server takes no 0."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        number: int = one.getsockname()[1]
        return number


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=SECONDS):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"{process.args!r} does not answer at {url}")
