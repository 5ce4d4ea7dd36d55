"""systemd's journal: whether a stream leads there, and the priorities that it reads off a line."""

import os
from collections.abc import Mapping
from typing import TextIO

PRIORITIES: Mapping[str, int] = {
    "debug": 7,
    "info": 6,
    "warning": 4,
    "error": 3,
    "critical": 2,
}
"""Syslog's numbers, which `journalctl -p` compares."""


def is_journal(stream: TextIO | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the stream is the very one that systemd connected to the journal.

    `JOURNAL_STREAM` is inherited by whatever the service starts, with its output sent elsewhere
    or not; so device and inode are compared.
    """
    try:
        found = os.fstat(stream.fileno())  # type: ignore[union-attr]  # None is caught
    except (AttributeError, OSError, ValueError):  # none, closed, or no file
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def prefixed(text: str, level: str) -> str:
    """The text with the priority in front of each of its lines; the journal takes it off again."""
    prefix = f"<{PRIORITIES.get(level, PRIORITIES['info'])}>"
    return "\n".join(prefix + line for line in text.split("\n"))
