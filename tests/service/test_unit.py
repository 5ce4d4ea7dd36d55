"""The shipped unit: checked by systemd's own tools, and run by a real systemd."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from npmmirror.config import Config
from npmmirror.daemon.mirror import COMMIT_SECONDS
from npmmirror.daemon.supervision import CLOSE_SECONDS
from npmmirror.testing.remote import RemoteUpstream
from tests.machine import missing
from tests.service.booted_systemd import SYSUSERS, UNIT, BootedSystemd, NoSystemdError

MOST_EXPOSURE = 2.0
CONFIG = """
[upstream]
feed = "{feed}"
registry = "{registry}"
[follow]
since = 0
poll_seconds = 0.1
[storage]
data_dir = "/var/lib/npmmirror"
min_free_bytes = 0
"""


def analyzed(*words: str) -> str:
    """What systemd-analyze prints, having found nothing wrong."""
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze")
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent about the unit, with a program that is there."""
    unit = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/npmmirror/bin/npmmirror", sys.executable), encoding="utf-8")
    assert analyzed("verify", str(unit)) == ""


def test_little_is_exposed() -> None:
    """By the measure of `systemd-analyze security`, from 0 (nothing) to 10."""
    report = analyzed("security", "--offline=true", "--no-pager", str(UNIT))
    [level] = re.findall(r"Overall exposure level for npmmirror.service: ([\d.]+)", report)
    assert float(level) <= MOST_EXPOSURE


def test_the_service_gets_its_user(tmp_path: Path) -> None:
    """systemd-sysusers makes user and group of the shipped file; the user has no shell."""
    if shutil.which("systemd-sysusers") is None:
        missing("systemd-sysusers")
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", str(SYSUSERS)], check=True)
    assert re.search(
        r"(?m)^npmmirror:x:\d+:\d+:npmmirror:/var/lib/npmmirror:/usr/sbin/nologin$",
        (tmp_path / "etc" / "passwd").read_text(encoding="utf-8"),
    )
    assert "npmmirror:" in (tmp_path / "etc" / "group").read_text(encoding="utf-8")


def test_systemd_waits_for_the_drain() -> None:
    """The default drain, the last commit and closing fit into TimeoutStopSec."""
    [minutes] = re.findall(r"(?m)^TimeoutStopSec=(\d+)min$", UNIT.read_text(encoding="utf-8"))
    longest = Config().fetch.drain_seconds + COMMIT_SECONDS + CLOSE_SECONDS
    assert int(minutes) * 60 >= longest


@pytest.fixture(scope="module")
def upstream() -> Iterator[RemoteUpstream]:
    """What is mirrored: enough for a group of many tarballs."""
    with RemoteUpstream("--living", "20") as remote:
        yield remote


@pytest.fixture(scope="module")
def systemd(
    upstream: RemoteUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BootedSystemd]:
    """A real one, with the unit installed and not started."""
    config = CONFIG.format(feed=upstream.feed, registry=upstream.url)
    try:
        booted = BootedSystemd(tmp_path_factory.mktemp("systemd") / "root", config)
        with booted:
            yield booted
    except NoSystemdError as reason:
        missing(str(reason))


def test_a_real_systemd_runs_it(systemd: BootedSystemd, upstream: RemoteUpstream) -> None:
    """READY, STATUS, WATCHDOG, STOPPING, with all that is forbidden to the service."""
    systemd.run("systemctl", "start", "npmmirror")  # returns with READY
    systemd.run("test", "-S", "/var/lib/npmmirror/control.sock")
    systemd.until("StatusText", lambda text: "at the head, 0 in work" in text)
    status = systemd.run("/opt/npmmirror/bin/npmmirror", "status")
    assert "20 held" in status
    fed = systemd.show("WatchdogTimestampMonotonic")
    systemd.until("WatchdogTimestampMonotonic", lambda now: int(now) > int(fed))
    threads = systemd.run("chrt", "--all-tasks", "--pid", systemd.show("MainPID"))
    assert "SCHED_BATCH" in threads  # worker_threads.py is let do it
    modes = systemd.run("find", "/var/lib/npmmirror", "-printf", "%M %u %g\n").splitlines()
    assert {line[7:] for line in modes} == {"--- npmmirror npmmirror"}  # nothing for the others
    assert all(line[4] == "r" for line in modes)  # the group reads

    upstream.do("fault", fault={"kind": "stall"}, scope="packument", times=1)
    upstream.do("publish", name="slow", version="1.0.0")
    systemd.until("StatusText", lambda text: ", 1 in work" in text)
    systemd.run("systemctl", "stop", "--no-block", "npmmirror")
    systemd.until("StatusText", lambda text: text == "draining: 1 in work")
    assert systemd.show("ActiveState") == "deactivating"
    upstream.do("release")
    systemd.until("ActiveState", lambda state: state == "inactive")
    assert systemd.show("Result") == "success"


def test_a_daemon_that_hangs_is_started_again(systemd: BootedSystemd) -> None:
    """The word from it is missed: it is killed, and another one started."""
    systemd.drop_in("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\nRestartSec=100ms\n")
    systemd.run("systemctl", "start", "npmmirror")
    before = systemd.show("MainPID")
    systemd.run("systemctl", "kill", "--signal=SIGSTOP", "npmmirror")
    systemd.until("NRestarts", lambda times: times == "1")
    systemd.until("SubState", lambda state: state == "running")
    assert systemd.show("MainPID") != before
    systemd.run("systemctl", "stop", "npmmirror")


def test_a_wrong_configuration_is_not_tried_again(systemd: BootedSystemd) -> None:
    """It would be wrong the next time, too."""
    systemd.drop_in("[Service]\nEnvironment=NPMMIRROR_FETCH__CONCURRENCY=none\nRestartSec=100ms\n")
    systemd.run("sh", "-c", "! systemctl start npmmirror")
    systemd.until("SubState", lambda state: state == "failed")
    assert systemd.show("ExecMainStatus") == "2"
    assert systemd.show("NRestarts") == "0"
