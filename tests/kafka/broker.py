"""A real broker: Apache Kafka in KRaft mode, started, killed and put back from an older copy."""

import base64
import contextlib
import fcntl
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET

import pytest

from tests.machine import missing

POM = Path(__file__).with_name("pom.xml")
SECONDS = 120
"""Until a broker answers; what waits for one waits as long. A machine may be busy with others."""
HEAP = "256m"

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={advertised}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,PROXIED:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
log.cleaner.enable=false
"""


def version() -> str:
    """The version of Apache Kafka that is tested with."""
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    found = ET.parse(POM).find(".//m:dependency/m:version", space)  # noqa: S314 - our own file
    assert found is not None
    assert found.text is not None
    return found.text


def jars() -> Path:
    """The directory of the broker's jars, which Maven fetches once for all tests."""
    if shutil.which("java") is None:
        missing("java")
    directory = _cache() / f"kafka-{version()}"
    with locked(_cache() / "kafka.lock"):
        if not (directory / "complete").exists():
            _fetch(directory)
    return directory


def _cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "npmmirror"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else who locks this file is in such a block."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def one_at_a_time() -> contextlib.AbstractContextManager[None]:
    """Of all the brokers of this machine's tests, one starts at a time: each wants a core."""
    return locked(_cache() / "kafka-starts.lock")


def _fetch(directory: Path) -> None:
    if shutil.which("mvn") is None:
        missing("mvn, which fetches the broker")
    command = [
        *("mvn", "--batch-mode", "--quiet", "--file", str(POM)),
        *("dependency:copy-dependencies", f"-DoutputDirectory={directory}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        missing(f"what mvn fetches ({done.stdout[-300:].strip()})")
    (directory / "complete").touch()


class Broker:
    """A single broker with a data directory of its own.

    Args:
        directory: where configuration, data and log lie.
        listeners: names of further listeners beside PLAINTEXT; each gets a port.
        properties: of the broker, over `PROPERTIES`.
        advertised: what clients are told of a listener instead of its own address.
        users: passwords of SCRAM users by name.
        text: the whole of its properties, which lead to `address`, instead of all that.
    """

    def __init__(
        self,
        directory: Path,
        listeners: tuple[str, ...] = (),
        properties: Mapping[str, str] | None = None,
        *,
        advertised: Mapping[str, str] | None = None,
        users: Mapping[str, str] | None = None,
        text: str | None = None,
        address: str | None = None,
    ) -> None:
        self._directory = directory
        self._data = directory / "data"
        self._log = directory / "broker.log"
        self._file = directory / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        names = ("PLAINTEXT", *listeners)
        ports = free_ports(len(names) + 1)
        self.addresses = {
            name: f"127.0.0.1:{port}" for name, port in zip(names, ports[1:], strict=True)
        }
        directory.mkdir(parents=True, exist_ok=True)
        lines = PROPERTIES.format(
            controller=ports[0],
            listeners=_told(self.addresses),
            advertised=_told(self.addresses | dict(advertised or {})),
            data=self._data,
        )
        lines += "".join(f"{key}={value}\n" for key, value in (properties or {}).items())
        if address is not None:
            self.addresses["PLAINTEXT"] = address
        self._file.write_text(text or lines)
        scram = [
            word
            for name, password in (users or {}).items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for word in ("--add-scram", f"{mechanism}=[name={name},password={password}]")
        ]
        format_it = ("kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id())
        with one_at_a_time():
            self._java(*format_it, "-c", str(self._file), *scram)

    @property
    def address(self) -> str:
        """Host and port without encryption and password."""
        return self.addresses["PLAINTEXT"]

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        command = self._command("kafka.Kafka", str(self._file))
        with one_at_a_time(), self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
            self._wait(self._process)
        return self

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + SECONDS
        while not all(map(listens, self.addresses.values())):
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"the broker does not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def revive(self) -> Self:
        """See that it runs."""
        if self._process is None:
            return self.start()
        self.resume()
        return self

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: what is in its files then is whole."""
        self._end(signal.SIGTERM)

    def suspend(self) -> None:
        """Have it stand still, as a machine that hangs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def save(self) -> None:
        """Copy the data of a broker that is stopped."""
        self._delete(self._copy)
        shutil.copytree(self._data, self._copy)

    def put_back(self) -> None:
        """Put the copy in place of the data, as a loss of power may leave it."""
        self._delete(self._data)
        shutil.copytree(self._copy, self._data)

    @property
    def _copy(self) -> Path:
        return self._directory / "copy"

    def _delete(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        self._process.wait(SECONDS)
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def _command(self, *words: str) -> list[str]:
        options = [f"-Xmx{HEAP}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        return ["java", *options, "-cp", f"{jars()}/*", *words]

    def _java(self, *words: str) -> None:
        done = subprocess.run(
            self._command(*words), capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout


def cluster_id() -> str:
    """A cluster's identity that no tool takes for one of its options."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")


def _told(addresses: Mapping[str, str]) -> str:
    return ",".join(f"{name}://{address}" for name, address in addresses.items())


def listens(address: str) -> bool:
    """Whether somebody takes connections there."""
    host, _, port = address.rpartition(":")
    with socket.socket() as one:
        one.settimeout(1.0)
        return one.connect_ex((host, int(port))) == 0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, nor will before this process ends.

    The kernel hands out none of them, so that a broker finds its own again when it is restarted;
    a name that tells the port, and that is taken once, holds off the tests beside this one.
    """
    first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    others = range(10_000, int(first)) or range(int(last) + 1, 65_536)
    found = (port for port in random.sample(others, len(others)) if _take(port))
    return list(itertools.islice(found, count))


def _take(port: int) -> bool:
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0npmmirror-tests-port-{port}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # held as long as this process lives
    return not listens(f"127.0.0.1:{port}")


@contextlib.contextmanager
def shared_broker(directory: Path) -> Iterator[str]:
    """The address of a broker that nobody may break: `NPMMIRROR_TEST_KAFKA`, or one of our own.

    It is one for all processes that name the same directory. The one that came first starts it,
    and ends it when all the others are done.
    """
    if named := os.environ.get("NPMMIRROR_TEST_KAFKA"):
        yield named
        return
    directory.mkdir(exist_ok=True)
    told, users = directory / "address", directory / "users"
    with contextlib.ExitStack() as stack:
        with locked(directory / "coming"):
            if told.exists():
                stack.enter_context(_used(users))
            else:
                broker = Broker(Path(tempfile.mkdtemp(dir=directory))).start()
                stack.callback(_end_after_others, broker, directory)
                told.write_text(broker.address)
        yield told.read_text()


@contextlib.contextmanager
def _used(users: Path) -> Iterator[None]:
    with users.open("a") as one:
        fcntl.flock(one, fcntl.LOCK_SH)
        yield


def _end_after_others(broker: Broker, directory: Path) -> None:
    while not _ended(broker, directory):
        time.sleep(0.1)


def _ended(broker: Broker, directory: Path) -> bool:
    """Whether it is ended now, because nobody uses it."""
    # Who comes now waits at this lock, and starts another one.
    with locked(directory / "coming"), (directory / "users").open("a") as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        (directory / "address").unlink()
        broker.kill()
        return True
