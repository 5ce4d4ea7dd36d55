"""Commands that somebody types while the daemon works, and what they must never do."""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import IO, Any

from benchmarks.soaking.verified import problems

EACH_SECONDS = 4.0
PATIENCE_SECONDS = 600.0
AT_ONCE = 2
STATUSES = {0, 1, 75}
"""What is documented, of commands that are well written and not interrupted."""


@dataclass(slots=True)
class _Running:
    words: Sequence[str]
    process: subprocess.Popen[bytes]
    said: IO[bytes]
    began: float
    was_sound: bool


class Outside:
    """Types commands now and then. `deviations` are those that ended as none may."""

    def __init__(
        self, config: Path, dice: Random, names: Callable[[], list[str]], sound: Callable[[], bool]
    ) -> None:
        self._config = config
        self._dice = dice
        self._names = names
        self._sound = sound
        self._running: list[_Running] = []
        self._next = time.monotonic()
        self.deviations: list[str] = []
        self.counts: Counter[str] = Counter()

    def tick(self) -> None:
        """Look at those that run, and type another one now and then."""
        self._running = [one for one in self._running if not self._is_over(one)]
        now = time.monotonic()
        if now >= self._next and len(self._running) < AT_ONCE:
            self._next = now + self._dice.expovariate(1 / EACH_SECONDS)
            self._type(self._words())

    def wait(self) -> None:
        """Wait for those that run."""
        while self._running:
            self._running = [one for one in self._running if not self._is_over(one)]
            time.sleep(0.05)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the driver's own, waited for."""
        self.counts[words[0]] += 1
        return subprocess.run(self._command(words), capture_output=True, text=True, check=False)

    def _words(self) -> Sequence[str]:
        names = self._names()
        name = self._dice.choice(names)
        choices = (
            ("sync", name),
            ("sync", "--force", name),
            ("sync", "--json", f"{name}@latest", f"nobody-{self._dice.randrange(20)}"),
            ("retry",),
            ("retry", name),
            ("verify", name),
            ("verify", "--json"),
            ("status",),
            ("status", "--json"),
            ("show", name),
            ("show", "--json", name),
        )
        return self._dice.choice(choices)

    def _type(self, words: Sequence[str]) -> None:
        said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the command is over
        process = subprocess.Popen(self._command(words), stdout=said, stderr=said, process_group=0)
        self.counts[words[0]] += 1
        self._running.append(_Running(words, process, said, time.monotonic(), self._sound()))

    def _is_over(self, one: _Running) -> bool:
        status = one.process.poll()
        if not self._sound():
            one.was_sound = False
        if status is None and time.monotonic() - one.began < PATIENCE_SECONDS:
            return False
        if status is None:
            one.process.kill()
            one.process.wait()
        self.deviations += self._wrong(one, status)
        one.said.close()
        return True

    @staticmethod
    def _wrong(one: _Running, status: int | None) -> Iterator[str]:
        one.said.seek(0)
        whole = one.said.read().decode(errors="replace")
        said = whole[-4_000:]
        typed = f"npmmirror {' '.join(one.words)}"
        if status is None:
            yield f"{typed}: no end after {PATIENCE_SECONDS:.0f} s\n{said}"
        elif status not in STATUSES or "Traceback" in said:
            yield f"{typed}: exit status {status}\n{said}"
        elif one.words[0] == "verify" and one.was_sound and _found(one, whole):
            yield f"{typed}: found something wrong\n{said}"

    def _command(self, words: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "npmmirror", "--config", str(self._config), *words]

    def close(self) -> None:
        """End those that run."""
        for one in self._running:
            if one.process.poll() is None:
                os.killpg(one.process.pid, 9)
                one.process.wait()
            one.said.close()
        self._running.clear()


def _found(one: _Running, said: str) -> list[Any]:
    return problems(said, as_json="--json" in one.words)
