"""`npmmirror run` as a process on disks that fail."""

import signal
import sys
import time

from tests.kill.daemon_process import DEADLINE_SECONDS, POLL_SECONDS, MirrorDaemon


class DiskDaemon(MirrorDaemon):
    """A daemon of whose log and end tests ask more."""

    def command(self, *words: str) -> list[str]:
        """A command about the same mirror."""
        return [sys.executable, "-m", "npmmirror", "--config", str(self._config), *words]

    def wait_for_line(self, *parts: bytes) -> bytes:
        """The first line of the process's log that holds these parts."""
        began = time.monotonic()
        while True:
            for line in self._lines():
                if all(part in line for part in parts):
                    return line
            self._assert_alive()
            waited = time.monotonic() - began
            assert waited < DEADLINE_SECONDS, f"no {parts!r} in the log\n{self.tail()}"
            time.sleep(POLL_SECONDS)

    def stop_within(self, seconds: float) -> int:
        """SIGTERM; the exit status, which has to come soon."""
        assert self._process is not None
        self._assert_alive()
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(seconds)
