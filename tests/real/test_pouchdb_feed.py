"""`npmmirror run` against PouchDB Server, as feed and as registry of the documents.

It speaks CouchDB's protocol: tombstones, design documents, attachments, no npm of any kind.
"""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror.archive import CaptureReader
from npmmirror.capture import Kind, Record
from npmmirror.control.address import socket_path
from npmmirror.control.client import ControlClient
from npmmirror.testing import ScriptedRegistry, ScriptedUpstream
from tests.kill import endstate
from tests.real.conftest import SECONDS, PouchDB

pytestmark = [pytest.mark.pouchdb, pytest.mark.anyio]

CONFIG = """
[upstream]
feed = "{feed}"
tarball_hosts = ["{tarballs}"]

[follow]
since = 0
poll_seconds = 0.05

[fetch]
retry_seconds = 0.05
retry_max_seconds = 0.2

[server]
listen = ""

[storage]
min_free_bytes = 0

[policy]
confirm_removal_hours = 0
"""
Packages = dict[str, endstate.PackageState]


@dataclass
class Following:
    """A mirror of a PouchDB database, whose tarballs lie on another host."""

    directory: Path
    pouchdb: PouchDB
    tarballs: ScriptedRegistry

    def publish(self, name: str, version: str) -> bytes:
        """A version more; the document as PouchDB gives it."""
        self.tarballs.publish(name, version)
        return self.copy(name)

    def copy(self, name: str) -> bytes:
        """Put the document as it is now into the database."""
        return self.pouchdb.put(name, json.loads(self.tarballs.document(name)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """`npmmirror run` at work inside the block; SIGTERM ends it well."""
        command = [sys.executable, "-m", "npmmirror", "run"]
        with (self.directory / "log").open("ab") as log:
            process = await anyio.open_process(
                command, cwd=self.directory, stdout=subprocess.DEVNULL, stderr=log
            )
        async with process:
            try:
                yield
                process.send_signal(signal.SIGTERM)
                with anyio.fail_after(SECONDS):
                    assert await process.wait() == 0, self.log()
            finally:
                if process.returncode is None:
                    process.kill()  # it would be waited for, whatever went wrong here

    async def does(self, *words: str) -> str:
        """What a command prints that succeeds, and follows from now on."""
        done = await anyio.run_process(
            [sys.executable, "-m", "npmmirror", *words],
            cwd=self.directory,
            env={**os.environ, "NPMMIRROR_FOLLOW__SINCE": "now"},
        )
        return done.stdout.decode()

    async def at_head(self) -> Packages:
        """Wait until everything that the feed tells is finished; what is held then."""
        head = await anyio.to_thread.run_sync(self.pouchdb.head)
        await self.until(
            lambda status: status["feed"]["cursor"] == head and status["mirror"]["at_head"]
        )
        return dict(endstate.read(self.data_dir).packages)

    async def until(self, true_of: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until something is true of the daemon's status."""
        socket = socket_path(self.data_dir)
        with anyio.fail_after(SECONDS):
            while not socket.exists():  # noqa: ASYNC110 - as another program would
                await anyio.sleep(0.02)
            async with ControlClient(socket) as client:
                while not true_of(await client.status()):  # noqa: ASYNC110 - as above
                    await anyio.sleep(0.02)

    @property
    def data_dir(self) -> Path:
        """Where the mirror is."""
        return self.directory / "data"

    def log(self) -> str:
        """What the daemon wrote."""
        return (self.directory / "log").read_text(encoding="utf-8")

    def captured(self, name: str) -> list[bytes]:
        """The documents of a package in the capture log, oldest first."""
        with CaptureReader(self.data_dir / "captures") as reader:
            return [
                reader.document(record.place)
                for record in reader.scan()
                if isinstance(record, Record)
                and record.kind is Kind.PACKUMENT
                and record.name == name
            ]


@pytest.fixture
async def following(pouchdb: PouchDB, tmp_path: Path) -> AsyncIterator[Following]:
    """A mirror that has not been started yet."""
    async with ScriptedUpstream(ScriptedRegistry(without_revs=True)) as upstream:
        registry = upstream.registry
        registry.base = upstream.url
        host = upstream.url.partition("://")[2]
        text = CONFIG.format(feed=pouchdb.url, tarballs=host)
        (tmp_path / "mirror.toml").write_text(text, encoding="utf-8")
        yield Following(tmp_path, pouchdb, registry)


def held(package: endstate.PackageState) -> dict[str, str]:
    """The versions whose tarballs are held, and their SHA-512."""
    return {row[0]: row[17].hex() for row in package.versions if row[13] == "held"}


def kinds(package: endstate.PackageState) -> list[str]:
    """The kinds of a package's events."""
    return [row[1] for row in package.events]


async def test_it_is_followed_from_its_beginning(following: Following) -> None:
    """Documents from before and after the start, byte for byte; tarballs; no design document."""
    mirror = following
    early = mirror.publish("left-pad", "1.0.0")
    mirror.pouchdb.put("_design/app", {"views": {}})
    async with mirror.running():
        await mirror.at_head()
        scoped = mirror.publish("@scope/n", "1.0.0")
        packages = await mirror.at_head()
    assert packages.keys() == {"left-pad", "@scope/n"}
    assert mirror.captured("left-pad") == [early]
    assert mirror.captured("@scope/n") == [scoped]
    for name, package in packages.items():
        expected = hashlib.sha512(mirror.tarballs.tarball(name, "1.0.0")).hexdigest()
        assert held(package) == {"1.0.0": expected}
    assert endstate.leftovers(mirror.data_dir, endstate.read(mirror.data_dir)) == []


async def test_updates_are_captured_one_by_one(following: Following) -> None:
    """Each document that the feed announces, with its revision and its event."""
    mirror = following
    documents = [mirror.publish("left-pad", "1.0.0")]
    async with mirror.running():
        await mirror.at_head()
        mirror.tarballs.set_time("2100-01-01T00:00:00Z")
        documents.append(mirror.publish("left-pad", "1.1.0"))
        await mirror.at_head()
        mirror.tarballs.deprecate("left-pad", "1.0.0", "old")
        documents.append(mirror.copy("left-pad"))
        package = (await mirror.at_head())["left-pad"]
    assert mirror.captured("left-pad") == documents
    assert package.package[2] == json.loads(documents[-1])["_rev"]
    assert held(package).keys() == {"1.0.0", "1.1.0"}
    assert kinds(package) == [
        "package_observed",
        "version_published",
        "dist_tag_set",
        "deprecated",
    ]


async def test_a_tombstone_is_a_removal(following: Following) -> None:
    """The package is gone, what is held stays, and it may come back."""
    mirror = following
    mirror.publish("left-pad", "1.0.0")
    async with mirror.running():
        await mirror.at_head()
        mirror.pouchdb.delete("left-pad")
        gone = (await mirror.at_head())["left-pad"]
        mirror.copy("left-pad")
        back = (await mirror.at_head())["left-pad"]
    assert gone.package[0] == "removed"
    assert held(gone).keys() == {"1.0.0"}
    assert kinds(gone) == ["package_observed", "package_removed"]
    assert back.package[0] == "live"
    assert kinds(back)[-1] == "package_restored"


async def test_a_restart_goes_on_from_the_cursor(following: Following) -> None:
    """The feed is asked for what is new alone, and no document is asked for again."""
    mirror = following
    mirror.publish("left-pad", "1.0.0")
    async with mirror.running():
        await mirror.at_head()
    cursor = mirror.pouchdb.head()
    document = mirror.publish("chalk", "1.0.0")
    asked = {
        path: mirror.pouchdb.asked(f"/npm/{path}") for path in ("left-pad", "_changes?since=0")
    }
    async with mirror.running():
        packages = await mirror.at_head()
    assert mirror.captured("chalk") == [document]
    assert packages.keys() == {"left-pad", "chalk"}
    assert mirror.pouchdb.asked(f"/npm/_changes?since={cursor}") > 0
    for path, times in asked.items():
        assert mirror.pouchdb.asked(f"/npm/{path}") == times > 0


async def test_tarballs_may_be_attachments(following: Following) -> None:
    """A database that holds both, as npm's own did once: `dist.tarball` leads into it."""
    mirror = following
    mirror.tarballs.publish("left-pad", "1.0.0")
    archive = mirror.tarballs.tarball("left-pad", "1.0.0")
    document = json.loads(mirror.tarballs.document("left-pad"))
    file = "left-pad-1.0.0.tgz"
    document["versions"]["1.0.0"]["dist"]["tarball"] = f"{mirror.pouchdb.url}/left-pad/{file}"
    data = base64.b64encode(archive).decode()
    document["_attachments"] = {file: {"content_type": "application/octet-stream", "data": data}}
    stored = mirror.pouchdb.put("left-pad", document)
    async with mirror.running():
        package = (await mirror.at_head())["left-pad"]
    assert mirror.captured("left-pad") == [stored]
    assert held(package) == {"1.0.0": hashlib.sha512(archive).hexdigest()}


async def test_its_list_brings_everything_and_agrees_with_the_index(following: Following) -> None:
    """`backfill` and `reconcile` read `_all_docs`; design documents and tombstones are none."""
    mirror = following
    for name in ("left-pad", "@scope/n", "gone"):
        mirror.publish(name, "1.0.0")
    mirror.pouchdb.put("_design/app", {"views": {}})
    mirror.pouchdb.delete("gone")
    await mirror.does("backfill")
    found = endstate.read(mirror.data_dir).packages
    assert found.keys() == {"left-pad", "@scope/n"}
    assert all(held(package).keys() == {"1.0.0"} for package in found.values())
    report = json.loads(await mirror.does("reconcile", "--json"))
    assert (report["listed"], report["total"], report["disbelieved"]) == (3, 3, None)
    async with mirror.running():
        mirror.publish("left-pad", "1.1.0")
        packages = await mirror.at_head()
    assert held(packages["left-pad"]).keys() == {"1.0.0", "1.1.0"}
    assert packages.keys() == {"left-pad", "@scope/n"}
