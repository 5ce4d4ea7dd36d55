"""A package that gets the process killed is set aside; nobody else is, and nothing stands still."""

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from npmmirror.pipeline.in_work import CLEAR_DEATHS, MOST_DEATHS
from npmmirror.testing.remote import RemoteUpstream
from tests.kill import endstate
from tests.machine import missing

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300), pytest.mark.long]

PATIENCE = 60
PACKAGES = 40
WORKERS = 32

DEADLY = """
import os, signal, sys
from npmmirror.pipeline.look import Looker

found = Looker._found

async def deadly(self, job, *others):
    if job.package == "deadly":
        {death}
    return await found(self, job, *others)

Looker._found = deadly
from npmmirror.__main__ import main
main()
"""
CRASH = "import faulthandler; faulthandler._sigsegv()"
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
EAT = "whole = []\n        while True: whole.append(bytearray(os.urandom(1 << 20)))"
HARMLESS = "pass"

CONFIG = """
[upstream]
feed = "{upstream.feed}"
registry = "{upstream.url}"
[follow]
since = 0
poll_seconds = 0.05
[fetch]
concurrency = {workers}
[storage]
data_dir = "{data}"
commit_seconds = 0.02
min_free_bytes = 0
"""


class DeadlyDaemon:
    """`npmmirror run`, in which the package `deadly` does what its name says."""

    def __init__(self, directory: Path, upstream: RemoteUpstream) -> None:
        self.data = directory / "data"
        self._config = directory / "mirror.toml"
        self._config.write_text(
            CONFIG.format(upstream=upstream, workers=WORKERS, data=self.data), encoding="utf-8"
        )
        self._log = directory / "log"
        self._log_before = 0

    @contextmanager
    def started(
        self, death: str = HARMLESS, cgroup: Path | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """The process, which is killed at the block's end."""

        def enter() -> None:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if cgroup is not None:
                (cgroup / "cgroup.procs").write_text(str(os.getpid()))

        program = DEADLY.format(death=death)
        with self._log.open("ab") as log:
            self._log_before = log.tell()
            command = [sys.executable, "-c", program, "--config", str(self._config), "run"]
            process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=enter)  # noqa: PLW1509 - this test has no threads
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def deaths_until(self, finished: int, death: str, cgroup: Path | None = None) -> int:
        """Start again and again until so many revisions are finished; how often it died."""
        for deaths in range(MOST_DEATHS + 5):
            with self.started(death, cgroup) as process:
                too_late = time.monotonic() + PATIENCE
                while process.poll() is None:
                    # A process that has not said that it started would not drain on SIGTERM yet.
                    if self._has_started() and self.number(FINISHED) >= finished:
                        process.send_signal(signal.SIGTERM)
                        assert process.wait(PATIENCE) == 0
                        return deaths
                    assert time.monotonic() < too_late, self._log.read_text()[-3000:]
                    time.sleep(0.02)
        raise AssertionError(f"it never got on\n{self._log.read_text()[-3000:]}")

    def _has_started(self) -> bool:
        with self._log.open("rb") as log:
            log.seek(self._log_before)
            return b'"event":"started"' in log.read()

    def command(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        """Another command of the program, with nothing deadly."""
        program = [sys.executable, "-m", "npmmirror", "--config", str(self._config)]
        return subprocess.run([*program, *words], check=False, capture_output=True)

    def said(self, event: str) -> int:
        """How often the log has an event."""
        return self._log.read_text(encoding="utf-8").count(f'"event":"{event}"')

    def number(self, sql: str) -> int:
        """What the index answers; 0 while there is none."""
        try:
            with closing(endstate.connect(self.data)) as index:
                return int(index.execute(sql).fetchone()[0] or 0)
        except sqlite3.OperationalError:
            return 0

    def dead_letters(self) -> list[tuple[str, str]]:
        """Packages and reasons of rows that are never tried by themselves."""
        with closing(endstate.connect(self.data)) as index:
            return index.execute(DEAD).fetchall()


FINISHED = "SELECT sum(CAST(rev AS INTEGER)) FROM finished"
"""A revision's number is that of the package's changes."""
DEAD = (
    "SELECT name, reason FROM work_list JOIN packages ON packages.id = package_id "
    "WHERE not_before IS NULL"
)


@contextmanager
def mirrored(directory: Path) -> Iterator[tuple[RemoteUpstream, DeadlyDaemon]]:
    with RemoteUpstream("--living", str(PACKAGES)) as upstream:
        yield upstream, DeadlyDaemon(directory, upstream)


def revisions(upstream: RemoteUpstream) -> int:
    """How many changes there were in all."""
    return sum(int(told["rev"].partition("-")[0]) for told in upstream.do("state").values())


def differences(upstream: RemoteUpstream, daemon: DeadlyDaemon, *, without: str = "") -> list[str]:
    """What is not as upstream has it, but for one package."""
    told = upstream.do("state")
    told.pop(without, None)
    return endstate.untruths(endstate.read(daemon.data), told)


def test_a_package_that_crashes_the_process_is_set_aside(tmp_path: Path) -> None:
    """At the third crash; whoever was in work beside it is mirrored."""
    with mirrored(tmp_path) as (upstream, daemon):
        upstream.do("publish", name="deadly", version="1.0.0")
        assert daemon.deaths_until(revisions(upstream), CRASH) == CLEAR_DEATHS
        assert daemon.dead_letters() == [("deadly", "sudden_deaths")]
        assert differences(upstream, daemon, without="deadly") == []


def test_what_was_set_aside_is_tried_again_with_its_next_change(tmp_path: Path) -> None:
    """One death more and it is a dead letter again; once it is harmless it is mirrored."""
    with mirrored(tmp_path) as (upstream, daemon):
        upstream.do("publish", name="deadly", version="1.0.0")
        daemon.deaths_until(revisions(upstream), CRASH)
        assert daemon.deaths_until(revisions(upstream), CRASH) == 0
        upstream.do("publish", name="deadly", version="1.1.0")
        assert daemon.deaths_until(revisions(upstream), CRASH) == 1
        assert daemon.dead_letters() == [("deadly", "sudden_deaths")]
        upstream.do("publish", name="deadly", version="1.2.0")
        assert daemon.deaths_until(revisions(upstream), HARMLESS) == 0
        assert daemon.dead_letters() == []
        assert differences(upstream, daemon) == []


def test_what_was_set_aside_is_tried_again_at_a_persons_word(tmp_path: Path) -> None:
    """`npmmirror retry`, also where no daemon runs."""
    with mirrored(tmp_path) as (upstream, daemon):
        upstream.do("publish", name="deadly", version="1.0.0")
        daemon.deaths_until(revisions(upstream), CRASH)
        assert daemon.command("retry", "deadly").returncode == 0
        assert differences(upstream, daemon) == []


def test_whoever_dies_of_nothing_known_gets_on_too(tmp_path: Path) -> None:
    """It takes more deaths where nobody can tell them from those that a person brings."""
    with mirrored(tmp_path) as (upstream, daemon):
        upstream.do("publish", name="deadly", version="1.0.0")
        assert daemon.deaths_until(revisions(upstream), KILL) == MOST_DEATHS
        assert daemon.dead_letters() == [("deadly", "sudden_deaths")]
        assert differences(upstream, daemon, without="deadly") == []


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A control group whose processes get 200 MB together."""
    for parent, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = parent / f"npmmirror-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(200 << 20))
            break
        except OSError:
            with suppress(OSError):
                group.rmdir()
    else:
        missing("a memory cgroup that groups can be made in")
    yield group
    group.rmdir()


def test_a_package_that_gets_the_process_killed_for_memory_is_set_aside(
    tmp_path: Path, cgroup: Path
) -> None:
    """By the kernel, for want of memory, three times; the others are mirrored."""
    with mirrored(tmp_path) as (upstream, daemon):
        upstream.do("publish", name="deadly", version="1.0.0")
        assert daemon.deaths_until(revisions(upstream), EAT, cgroup) == CLEAR_DEATHS
        assert daemon.dead_letters() == [("deadly", "sudden_deaths")]
        assert differences(upstream, daemon, without="deadly") == []


def test_random_kills_set_nobody_aside(tmp_path: Path) -> None:
    """25 of them, with all workers busy, at moments of chance."""
    dice = random.Random(0)
    with mirrored(tmp_path) as (upstream, daemon):
        for _ in range(25):
            upstream.do("step")
            asked = upstream.do("count", scope="packument") + dice.randrange(1, WORKERS)
            with daemon.started() as process:
                too_late = time.monotonic() + 6  # a busy machine takes long to start it
                while upstream.do("count", scope="packument") < asked:
                    if time.monotonic() > too_late:
                        break
                    time.sleep(0.002)
                time.sleep(dice.uniform(0, 0.03))
                assert process.poll() is None
        assert daemon.deaths_until(1, HARMLESS) == 0
        assert daemon.dead_letters() == []
        assert daemon.said("sudden_death") > 5, "the kills came too late to prove anything"
