"""What a process writes to its standard error output, whoever writes in it, and however it ends."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.machine import missing

EVERYBODY = """
    import asyncio, logging, warnings

    import stamina, structlog
    from npmmirror.cli import logs
    from npmmirror.config import LogSection
    from npmmirror.upstream import ServerFault

    logs.configure(LogSection(), daemon=True)
    structlog.get_logger().info("ours")
    structlog.get_logger("named").warning("ours_by_name")
    logging.getLogger("aiohttp.client").warning("a library's")
    logging.getLogger().error("the root's")
    loop = asyncio.new_event_loop()
    loop.call_exception_handler({"message": "the loop's"})
    loop.close()
    warnings.warn("Python's")
    for attempt in stamina.retry_context(on=ServerFault, attempts=2, wait_initial=0, wait_jitter=0):
        with attempt:
            if attempt.num == 1:
                raise ServerFault("reset", "stamina's")
    for _ in range(3):
        structlog.get_logger().error("again", reason="and again")
    logs.finish()
"""
CRASH = """
    from npmmirror.cli import logs
    from npmmirror.config import LogSection

    logs.configure(LogSection(), daemon=True)
    raise ValueError("on purpose\\nin two lines")
"""
NOWHERE = """
    import os, sys, tempfile
    import structlog
    from npmmirror.cli import logs
    from npmmirror.config import LogSection

    logs.configure(LogSection(), daemon=True)
    structlog.get_logger().error("nobody reads this")
    with tempfile.TemporaryFile() as ours:
        print(sys.stderr, ours.fileno())
"""
LEVELS = """
    import structlog
    from npmmirror.cli import logs
    from npmmirror.config import LogSection

    logs.configure(LogSection(level="debug"), daemon=True)
    for level in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), level)("said", as_=level, odd="\\x1b[31m\\x9b\\n")
"""


def run(program: str, *before: str) -> subprocess.CompletedProcess[str]:
    """A Python program, run to its end; `before` are the words of a program that runs it."""
    command = [*before, sys.executable, "-W", "default", "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def lines(text: str) -> list[dict[str, Any]]:
    """Lines of JSON."""
    return [json.loads(line) for line in text.splitlines()]


def test_everybodys_lines_come_once_and_in_the_same_form() -> None:
    """Ours, those of libraries, of the event loop, of Python, and of stamina in our words."""
    done = run(EVERYBODY)
    assert done.stdout == ""
    told = lines(done.stderr)
    assert all({"timestamp", "level", "event"} <= line.keys() for line in told)
    *events, warning, retry, again, repeated = [str(line["event"]) for line in told]
    assert events == ["ours", "ours_by_name", "a library's", "the root's", "the loop's"]
    assert "UserWarning: Python's" in warning
    assert (retry, again, repeated) == ("request_retried", "again", "repeated")
    assert told[-1]["times"] == 2


def test_a_crash_is_one_line() -> None:
    """With its traceback in a field, so that the journal has it at a priority; status 1."""
    done = run(CRASH)
    assert done.returncode == 1
    [line] = lines(done.stderr)
    assert (line["level"], line["event"]) == ("critical", "crashed")
    assert line["exception"].endswith("ValueError: on purpose\nin two lines")


def test_the_journal_gets_complaints_as_errors(tmp_path: Path) -> None:
    """Why the service does not start is found by `journalctl -p err`, too."""
    with (tmp_path / "journal").open("w+", encoding="utf-8") as stream:
        found = os.fstat(stream.fileno())
        subprocess.run(
            [sys.executable, "-m", "npmmirror", "--config", str(tmp_path / "none.toml"), "run"],
            stderr=stream,
            env={**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"},
            check=False,
        )
        stream.seek(0)
        told = stream.read().splitlines()
    assert told
    assert all(line.startswith("<3>") for line in told)


def test_a_process_without_standard_error_output() -> None:
    """Nothing is told, and no file of ours takes its descriptor, which C libraries write to."""
    done = run(NOWHERE, "sh", "-c", 'exec "$0" "$@" 2>&-')
    assert done.returncode == 0
    assert done.stdout.split()[0] == "None"
    assert int(done.stdout.split()[1]) > 2


JOURNAL = """
mount -t tmpfs none /run && mount -t tmpfs none /var/log && mkdir -p /run/systemd/journal || exit 77
{journald} >/dev/null 2>&1 &
trap "kill $!" EXIT
for _ in $(seq 100); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.1; done
systemd-cat --identifier npmmirror-test sh -c \\
    'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$0" "$@"' "$@" || exit 1
journalctl --sync
journalctl --identifier npmmirror-test --output cat {options}
"""


def journal_of(program: Sequence[str], *options: str) -> list[dict[str, Any]]:
    """What a journal of its own, in a namespace of its own, has of a program."""
    found = [shutil.which("systemd-journald", path="/lib/systemd:/usr/lib/systemd")]
    found += [shutil.which(name) for name in ("unshare", "systemd-cat", "journalctl")]
    if None in found or os.geteuid() != 0:
        missing("a journal of our own (systemd, and root to start it)")
    script = JOURNAL.format(journald=found[0], options=" ".join(options))
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 77:
        missing("the right to mount (for a journal of our own)")
    assert done.returncode == 0, done.stderr
    return lines(done.stdout)


@pytest.mark.parametrize(
    ("least", "levels"),
    [("debug", ["debug", "info", "warning", "error"]), ("warning", ["warning", "error"])],
)
def test_journalctl_knows_the_levels(least: str, levels: list[str]) -> None:
    """`journalctl -p warning` shows warnings and errors; the journal took the prefix off."""
    program = [sys.executable, "-c", textwrap.dedent(LEVELS)]
    told = journal_of(program, "--priority", least)
    assert [line["level"] for line in told] == levels
    assert {line["odd"] for line in told} == {"\x1b[31m\x9b\n"}
