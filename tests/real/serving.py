"""`npmmirror serve` over a mirror's data directory, in a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

SECONDS = 30
"""How long it may take to begin, and to end."""


@dataclass
class Serving:
    """A server at work; its log has a line for each answer."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def end(self) -> None:
        """Have it end, its log whole."""
        self.process.terminate()
        self.process.wait(SECONDS)

    @property
    def answers(self) -> list[dict[str, Any]]:
        """What was asked and answered; for this it is ended."""
        self.end()
        lines = self._lines()
        assert not [line for line in lines if line["level"] in {"warning", "error"}], lines
        return [line for line in lines if line["event"] == "request"]

    @property
    def missed(self) -> list[str]:
        """The paths that got a 404; for this it is ended."""
        return [unquote(line["path"]).lstrip("/") for line in self.answers if line["status"] == 404]

    def _lines(self) -> list[dict[str, Any]]:
        text = self.log.read_bytes()
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]

    def wait(self) -> None:
        """Return when it says where it listens."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            for line in self._lines():
                if line["event"] == "serving":
                    self.url = line["urls"][0].rstrip("/")
                    return
            time.sleep(0.02)
        pytest.fail(f"`npmmirror serve` does not begin:\n{self.log.read_text('utf-8')}")


@contextmanager
def serving(data_dir: Path, **settings: str) -> Iterator[Serving]:
    """Serve a mirror on loopback; `settings` are variables of `[server]` (`PUBLIC_URL`)."""
    own = {
        "NPMMIRROR_STORAGE__DATA_DIR": str(data_dir),
        "NPMMIRROR_SERVER__ACCESS_LOG": "true",
        "NPMMIRROR_LOG__FORMAT": "json",
        **{f"NPMMIRROR_SERVER__{key}": text for key, text in settings.items()},
    }
    own.setdefault("NPMMIRROR_SERVER__LISTEN", "127.0.0.1:0")
    number = len([*data_dir.parent.glob("serve*.log")])
    log = data_dir.parent / f"serve{number}.log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [sys.executable, "-m", "npmmirror", "serve"],
            cwd=data_dir.parent,
            env={**os.environ, **own},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        ) as process,
    ):
        served = Serving(process, log)
        try:
            served.wait()
            yield served
        finally:
            served.end()
