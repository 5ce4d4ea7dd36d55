"""Out of file descriptors: fetching pauses, nothing is lost, nothing spins."""

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from npmmirror.control.address import socket_path
from npmmirror.testing.remote import RemoteUpstream
from tests.disks.conftest import Start
from tests.kill.trial import settled

LOOK_SECONDS = 2.0


@contextmanager
def no_descriptors(pid: int) -> Iterator[None]:
    """While inside, the process can open nothing."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    free = next(number for number in range(max(taken) + 2) if number not in taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def cpu_seconds(pid: int) -> float:
    """What the process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def test_without_descriptors_everything_waits(start: Start, upstream: RemoteUpstream) -> None:
    """The log names the cause, no attempt is used up, and it goes on by itself.

    Whoever asks on the control socket meanwhile is turned away, which costs the daemon nothing.
    """
    daemon = start(FETCH__MAX_ATTEMPTS=1)
    upstream.do("publish", name="p0", version="1.0.0")
    daemon.wait_for_head()
    with no_descriptors(daemon.pid), socket.socket(socket.AF_UNIX) as asking:
        for number in range(1, 30):
            upstream.do("publish", name=f"p{number}", version="1.0.0")
        daemon.wait_for_line(b'"fetching_', b"file descriptor")  # paused, or held by a move
        asking.connect(str(socket_path(daemon.data_dir)))
        computed = cpu_seconds(daemon.pid)
        time.sleep(LOOK_SECONDS)  # long enough for a loop that spins to show
        assert cpu_seconds(daemon.pid) - computed < LOOK_SECONDS / 4
    daemon.wait_for_head()
    settled(upstream, daemon)
