"""Records that are no changes, kept with their bytes for whoever wants to know what they were."""

import base64
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MOST: Final = 1000
"""Files that are kept. A topic that others flood must not fill the disk."""
SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Odd:
    """What is set aside: where it was met (`npm-changes[3]@17`), and why it cannot be used.

    `name` is a file name that is the same whenever the same record is met.
    """

    name: str
    place: str
    why: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class SetAside:
    """A directory with a file of JSON for each record that was set aside. Calls block."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, odd: Odd, at: str) -> bool:
        """Keep a record, durably; whether there was room, for at most `MOST` are kept.

        Raises:
            OSError: the disk does not take it.
        """
        self._directory.mkdir(exist_ok=True)
        path = self._directory / f"{odd.name}.json"
        if not path.exists():
            if sum(1 for _ in self._files()) >= MOST:
                return False
            self._write(path, json.dumps(_document(odd, at), indent=1).encode())
        return True

    def report(self) -> dict[str, Any]:
        """How many there are, where, and the newest of them, for `status`."""
        files = sorted(self._files(), key=_written_at, reverse=True)
        return {
            "count": len(files),
            "directory": str(self._directory),
            "newest": [told for path in files[:SHOWN] if (told := _told(path)) is not None],
        }

    def _files(self) -> Iterator[Path]:
        return self._directory.glob("*.json")

    def _write(self, path: Path, text: bytes) -> None:
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        for directory in (self._directory, self._directory.parent):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _document(odd: Odd, at: str) -> Mapping[str, Any]:
    return {
        "place": odd.place,
        "why": odd.why,
        "at": at,
        "text": (odd.value or b"")[:10_000].decode("utf-8", "replace"),
        "key_base64": _base64(odd.key),
        "value_base64": _base64(odd.value),
        "headers_base64": [[name, _base64(value)] for name, value in odd.headers],
    }


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _written_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _told(path: Path) -> dict[str, str] | None:
    """What is told of a file; None where somebody took it away, or wrote it himself."""
    try:
        document = json.loads(path.read_bytes())
        return {key: str(document[key]) for key in ("place", "why", "at")} | {"file": path.name}
    except (OSError, ValueError, KeyError, TypeError):
        return None
