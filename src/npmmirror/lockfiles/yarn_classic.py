"""`yarn.lock` of Yarn 1: a format of its own.

Lines of two kinds, `KEY VALUE` and `KEY, KEY...:`, the second followed by lines indented by two
spaces more. Keys and values are JSON strings, or bare words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from npmmirror.integrity import sri
from npmmirror.lockfiles.locked import (
    Collected,
    Lockfile,
    LockfileError,
    elsewhere,
    sha1_of,
    split,
)
from npmmirror.policy.requirements import requirement

_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s:,"][^\s,]*?(?=:?(?:[\s,]|\Z))')
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
_MAX_DEPTH = 2


@dataclass(slots=True)
class _Entry:
    """A paragraph: the patterns that it answers, and what it says of them."""

    line: int
    patterns: list[str]
    told: dict[str, str] = field(default_factory=dict)


def read_yarn_classic(raw: bytes) -> Lockfile:
    """Read one.

    Raises:
        LockfileError: it is none, with the line.
    """
    collected = Collected("yarn 1")
    for entry in _entries(_text(raw)):
        for name, package, spec in _meant(entry):
            _take(entry, name, package, spec, collected)
    return collected.end()


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise LockfileError(f"line {line}: no UTF-8") from error


def _meant(entry: _Entry) -> Iterator[tuple[str, str, str]]:
    """Name, package behind it and spec of each of an entry's patterns; each package once."""
    seen: set[str] = set()
    for pattern in entry.patterns:
        name, spec = split(pattern)
        meant = requirement(name, spec)
        package = name if meant.elsewhere else meant.package
        if package not in seen:
            seen.add(package)
            yield name, package, spec


def _take(entry: _Entry, name: str, package: str, spec: str, collected: Collected) -> None:
    version, resolved = entry.told.get("version"), entry.told.get("resolved")
    if version is None:
        raise LockfileError(f"line {entry.line}: {entry.patterns[0][:80]!r} has no version")
    what = requirement(name, spec).elsewhere
    if resolved is not None and (not what or what == "url"):
        what = elsewhere(resolved, package)
    if what:
        collected.leave(name, resolved or spec, what)
        return
    sha1 = sha1_of(resolved or "")
    integrity = entry.told.get("integrity") or (sri(sha1, "sha1") if sha1 else None)
    collected.take(package, version, integrity)


def _entries(text: str) -> Iterator[_Entry]:
    entry: _Entry | None = None
    depth = 0
    for number, line in enumerate(text.split("\n"), start=1):
        body = line.rstrip("\r ").lstrip(" ")
        if not body or body.startswith("#"):
            continue
        indent = len(line) - len(line.lstrip(" "))
        opened = indent // 2
        if indent % 2 or opened > depth or body.startswith(_CONFLICT):
            raise _unreadable(number, body)
        words, opens = _words(body, number)
        depth = opened + 1 if opens else opened
        if depth > _MAX_DEPTH or (opened == 0 and not opens):
            raise _unreadable(number, body)
        if opened == 0:
            if entry is not None:
                yield entry
            entry = _Entry(number, words)
        elif opened == 1 and not opens and entry is not None:
            entry.told[words[0]] = _single(words, number, body)
    if entry is not None:
        yield entry


def _single(words: list[str], number: int, body: str) -> str:
    if len(words) != 2:
        raise _unreadable(number, body)
    return words[1]


def _words(body: str, number: int) -> tuple[list[str], bool]:
    """The words of a line, and whether it opens a paragraph."""
    words: list[str] = []
    at = 0
    while (found := _WORD.match(body, at)) is not None:
        words.append(_unquoted(found[0], number))
        at = found.end()
        if body.startswith(":", at) and at + 1 == len(body):
            return words, True
        step = re.compile(r",? +").match(body, at)
        if step is None:
            break
        at = step.end()
    if at != len(body) or not words:
        raise _unreadable(number, body)
    return words, False


def _unquoted(word: str, number: int) -> str:
    if not word.startswith('"'):
        return word
    try:
        return str(orjson.loads(word))
    except orjson.JSONDecodeError as error:
        raise LockfileError(f"line {number}: no string ({word[:80]})") from error


def _unreadable(number: int, body: str) -> LockfileError:
    if body.startswith(_CONFLICT):
        return LockfileError(f"line {number}: a merge conflict that nobody resolved")
    return LockfileError(f"line {number}: not understood ({body[:80]!r})")
