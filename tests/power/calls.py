"""System calls on files, read from what strace wrote."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

WRITES = ("write", "pwrite64", "pwritev", "pwritev2", "writev")
SYNCS = ("fsync", "fdatasync", "syncfs", "sync")
NAMES = ("mkdir", "mkdirat", "rename", "renameat", "renameat2", "rmdir", "unlink", "unlinkat")
UNKNOWN = ("fallocate", "copy_file_range", "sendfile", "link", "linkat", "sync_file_range", "creat")
"""Calls that change files too, and that nothing here understands: one of them is an error."""
TRACED = (*WRITES, *SYNCS, *NAMES, *UNKNOWN, "openat", "lseek", "ftruncate", "truncate")

END_SECONDS = 30

_FD = r"(\d+)<((?:\\x[0-9a-f]{2})*)>(\(deleted\))?"
_STRING = r'"((?:\\x[0-9a-f]{2})*)"'
_LINE = re.compile(r"(\d+) +(.*)", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(.*)", re.DOTALL)
_FIRST_FD = re.compile(_FD)
_STRINGS = re.compile(_STRING)
_AT = re.compile(rf"(?:AT_FDCWD<[^>]*>|{_FD}), {_STRING}")
_OPENED = re.compile(rf"AT_FDCWD<[^>]*>, {_STRING}, ([A-Z_|]+)")


@dataclass(frozen=True, slots=True)
class Call:
    """A call that succeeded on a path of interest.

    `begun` and `ended` count the lines of the trace: what another thread did in between may have
    come before or after it. `data` is what was written at `offset`, `size` what was cut to, `to`
    the new name of a `rename`.
    """

    name: str
    path: str
    begun: int
    ended: int
    data: bytes = b""
    offset: int = 0
    size: int = 0
    to: str = ""
    flags: frozenset[str] = frozenset()


def strace(trace: Path) -> tuple[str, ...]:
    """A command before a program that has its calls written to a file, all bytes included.

    The tracer is the program's grandchild, so that its process id and exit status are its own.
    """
    words = ["strace", "-D", "-f", "-q", "-y", "-xx", "-s", "16777216", "--seccomp-bpf"]
    return (*words, "-e", "signal=none", "-e", f"trace={','.join(TRACED)}", "-o", str(trace))


@cache
def reason_against() -> str | None:
    """Why nothing can be traced here; None where it can."""
    if shutil.which("strace") is None:
        return "strace"
    done = subprocess.run(["strace", "-f", "-q", "-o", "/dev/null", "true"], check=False)
    return "the permission to trace processes (ptrace)" if done.returncode else None


def wait_for_end(trace: Path, pid: int) -> None:
    """Wait until the tracer has written the program's end.

    Raises:
        TimeoutError: it does not.
    """
    end = f"{pid} ".encode()
    for _ in range(END_SECONDS * 50):
        with trace.open("rb") as file:
            file.seek(max(0, trace.stat().st_size - 200))
            last = file.read().splitlines()[-1:]
        if last and last[0].startswith(end) and b"+++ exited with" in last[0]:
            return
        time.sleep(0.02)
    raise TimeoutError(f"{trace} does not end with the end of process {pid}")


def read(trace: Path, root: Path) -> list[Call]:
    """The calls on paths under `root`, in the order of their ends.

    Raises:
        ValueError: one of them is a call whose effect is not understood.
    """
    reader = _Reader(str(root))
    with trace.open() as lines:
        return [call for number, line in enumerate(lines) for call in reader.take(number, line)]


def without(calls: Sequence[Call], name: str, part: str) -> list[Call]:
    """The same calls, but those of this name on paths that hold `part`: as if never made."""
    return [call for call in calls if not (call.name in name.split("|") and part in call.path)]


class _Reader:
    """Puts together calls that were interrupted, and keeps the offsets of files."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._halves: dict[str, tuple[int, str]] = {}
        self._offsets: dict[str, int] = {}

    def take(self, number: int, line: str) -> Iterator[Call]:
        if (split := _LINE.fullmatch(line.rstrip("\n"))) is None:
            return
        pid, text = split.groups()
        if text.endswith(" <unfinished ...>"):
            self._halves[pid] = number, text.removesuffix(" <unfinished ...>")
            return
        begun = number
        if (resumed := _RESUMED.fullmatch(text)) is not None:
            begun, first = self._halves.pop(pid)
            text = first + resumed[2]
        if (match := _CALL.fullmatch(text)) is None or match[3].startswith(("-", "?")):
            return
        yield from self._call(Call(match[1], "", begun, number), match[2], match[3], match[4])

    def _call(self, call: Call, words: str, result: str, rest: str) -> Iterator[Call]:
        name = call.name
        if name == "openat":
            found = self._opened(call, words, result)
        elif name in NAMES or name == "truncate":
            found = _named(call, words)
        else:
            found = self._on_descriptor(call, words, result)
        del rest
        if found is None or not (self._ours(found.path) or self._ours(found.to)):
            return
        if name in UNKNOWN:
            raise ValueError(f"{name} of {found.path} is not understood")
        if name != "lseek":
            yield found

    def _ours(self, path: str) -> bool:
        return path == self._root or path.startswith(f"{self._root}/")

    def _opened(self, call: Call, words: str, result: str) -> Call | None:
        if (match := _OPENED.match(words)) is None:
            return None
        self._offsets[result] = 0
        return replace(call, path=_text(match[1]), flags=frozenset(match[2].split("|")))

    def _on_descriptor(self, call: Call, words: str, result: str) -> Call | None:
        if (match := _FIRST_FD.match(words)) is None or match[3]:
            return None
        number, path = match[1], _text(match[2])
        if call.name == "lseek":
            self._offsets[number] = int(result)
        elif call.name == "ftruncate":
            return replace(call, path=path, size=int(words.rpartition(", ")[2]))
        elif call.name in WRITES:
            if not self._ours(path):
                return None
            return self._written(call, number, path, words[match.end() :], int(result))
        return replace(call, path=path)

    def _written(self, call: Call, fd: str, path: str, words: str, length: int) -> Call:
        data = b"".join(_bytes(text) for text in _STRINGS.findall(words))[:length]
        if len(data) < length:
            raise ValueError(f"the trace holds {len(data)} of {length} bytes written to {path}")
        if call.name in {"write", "writev"}:
            offset = self._offsets.get(fd, 0)
            self._offsets[fd] = offset + length
        else:
            numbers = words.rpartition("]")[2] if "]" in words else words.rpartition('"')[2]
            # pwrite64(fd, data, length, offset), pwritev(fd, [...], count, offset[, flags])
            offset = int(numbers.strip(", ").split(", ")[1])
        return replace(call, path=path, data=data, offset=offset)


def _named(call: Call, words: str) -> Call:
    strings = [_text(text) for text in _STRINGS.findall(words)]
    if call.name.endswith(("at", "at2")) and not all(text.startswith("/") for text in strings):
        strings = [
            text if text.startswith("/") else f"{_text(fd)}/{text}"
            for (_, fd, _), text in zip(_FIRST_FD.findall(words), strings, strict=False)
        ]
    name = call.name.removesuffix("2").removesuffix("at")
    if call.name == "truncate":
        return replace(call, path=strings[0], size=int(words.rpartition(", ")[2]))
    if "AT_REMOVEDIR" in words:
        name = "rmdir"
    return replace(call, name=name, path=strings[0], to=strings[1] if name == "rename" else "")


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _text(escaped: str) -> str:
    return _bytes(escaped).decode()
