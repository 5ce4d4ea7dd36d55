"""A systemd of our own that runs the shipped unit: booted in namespaces, from units of ours alone.

It sees the machine's files, but `/etc`, `/opt`, `/run` and `/var/lib` are its own, and none of the
machine's units is there to be started.
"""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "npmmirror.service"
SYSUSERS = ROOT / "systemd" / "npmmirror.sysusers"
PATIENCE = 60.0

BOOT = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$HERE"
mkdir "$HERE/etc" "$HERE/work" "$HERE/lib"
mount -t tmpfs -o mode=755 tmpfs /run
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t overlay -o "lowerdir=/etc,upperdir=$HERE/etc,workdir=$HERE/work" overlay /etc
mount --bind "$HERE/lib" /var/lib
for units in /etc/systemd/system /usr/lib/systemd/system /usr/lib/systemd/system-generators; do
    mkdir -p "$units"
    mount -t tmpfs -o mode=755 tmpfs "$units"
done
for target in basic multi-user network-online shutdown sysinit; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$target" \
        > "/usr/lib/systemd/system/$target.target"
done
mount -t tmpfs -o mode=755 tmpfs /opt
mkdir -p /opt/npmmirror/bin /opt/npmmirror/python /opt/npmmirror/site /opt/npmmirror/src
mount --bind "$PYTHON" /opt/npmmirror/python
mount --bind "$SITE" /opt/npmmirror/site
mount --bind "$SRC" /opt/npmmirror/src
printf '%s' "$PROGRAM" > /opt/npmmirror/bin/npmmirror
chmod 755 /opt/npmmirror/bin/npmmirror
systemd-sysusers "$SYSUSERS"
mkdir /etc/npmmirror
printf '%s' "$CONFIG" > /etc/npmmirror/mirror.toml
cp "$UNIT" /etc/systemd/system/npmmirror.service
exec env -i container=unshare PATH="$PATH" "$SYSTEMD" --system --unit=multi-user.target \
    --log-target=console --log-level=warning --show-status=no
"""
PROGRAM = """#!/bin/sh
export LD_LIBRARY_PATH=/opt/npmmirror/python/lib
export PYTHONPATH=/opt/npmmirror/src:/opt/npmmirror/site
exec /opt/npmmirror/python/bin/{python} -m npmmirror "$@"
"""
"""The program as it is installed, with the Python that runs this: the unit hides home directories,
and that one may be in one."""


class NoSystemdError(Exception):
    """This machine does not let us boot one; the reason is in the text."""


class BootedSystemd:
    """systemd as process 1 of its own namespaces. `config` is the mirror.toml of the service."""

    def __init__(self, directory: Path, config: str) -> None:
        self._here = directory
        self._config = config
        self._cgroup = _cgroup() / f"npmmirror-test-{os.getpid()}"
        self._said = directory.with_name("systemd.log")
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0

    def __enter__(self) -> Self:
        systemd = Path("/usr/lib/systemd/systemd")
        if os.geteuid() != 0 or not systemd.exists() or shutil.which("nsenter") is None:
            raise NoSystemdError("root and systemd")
        self._here.mkdir()
        try:
            self._cgroup.mkdir()
        except OSError as error:
            raise NoSystemdError(f"a writable cgroup ({error})") from error
        try:
            self._boot(systemd)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def run(self, *command: str) -> str:
        """What a command in there prints.

        Raises:
            AssertionError: it failed.
        """
        done = self._run(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr, self._said.read_text())
        return done.stdout.strip()

    def show(self, name: str) -> str:
        """A property of the service."""
        return self.run("systemctl", "show", "--value", "--property", name, "npmmirror")

    def until(self, name: str, true_of: Callable[[str], bool]) -> str:
        """The first value of a property of which something is true."""
        value, deadline = "", time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if true_of(value := self.show(name)):
                return value
            time.sleep(0.1)
        raise AssertionError(f"{name} stays {value!r}")

    def drop_in(self, text: str) -> None:
        """Change the service, as an operator does."""
        path = "/etc/systemd/system/npmmirror.service.d/test.conf"
        self.run(
            "sh", "-c", f"mkdir -p {Path(path).parent}; printf '%s' \"$1\" > {path}", "-", text
        )
        self.run("systemctl", "daemon-reload")

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        entered = ["nsenter", "--target", str(self._first), "--all", "--", *command]
        return subprocess.run(
            entered, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def _boot(self, systemd: Path) -> None:
        here = sys.base_prefix
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        environment = {
            "PATH": os.environ["PATH"],
            "HERE": str(self._here),
            "CGROUP": str(self._cgroup),
            "PYTHON": here,
            "SITE": sysconfig.get_path("purelib"),
            "SRC": str(ROOT / "src"),
            "PROGRAM": PROGRAM.format(python=python),
            "CONFIG": self._config,
            "UNIT": str(UNIT),
            "SYSUSERS": str(SYSUSERS),
            "SYSTEMD": str(systemd),
            "BOOT": BOOT,
        }
        unshare = "unshare --mount --pid --fork --kill-child --cgroup --ipc --uts --mount-proc"
        command = f'echo $$ > "$CGROUP/cgroup.procs"; exec {unshare} sh -c "$BOOT"'
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                ["sh", "-c", command], env=environment, stdout=said, stderr=said
            )
        self._wait(self._process)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            self._first = int((children.read_text().split() or ["0"])[0])
            if self._first:
                state = self._run("systemctl", "is-system-running").stdout.strip()
                if state in {"running", "degraded"}:
                    return
            time.sleep(0.1)
        raise NoSystemdError(
            f"a systemd that boots in namespaces ({self._said.read_text()[-500:]})"
        )

    def _end(self) -> None:
        if self._process is not None:
            if self._first:
                os.kill(self._first, signal.SIGKILL)  # and with it all of its namespace
            self._process.kill()
            self._process.wait()
        groups = [path.parent for path in self._cgroup.rglob("cgroup.procs")]
        deadline = time.monotonic() + PATIENCE
        for group in sorted(groups, key=lambda path: len(path.parts), reverse=True):
            while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
                time.sleep(0.05)
            group.rmdir()


def _cgroup() -> Path:
    """The directory of our own control group, in the hierarchy that systemd uses."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    found = [Path(place) for _, place, kind, *_ in mounts if kind == "cgroup2"]
    own = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::"]
    if not found or not own:
        raise NoSystemdError("cgroup v2")
    return found[0] / own[0].removeprefix("0::").strip("/")
