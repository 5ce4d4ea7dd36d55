"""The withheld list: what clients are not given, though it is held. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from npmmirror.patterns import FILE, Names, Pattern, check_pattern
from npmmirror.policy.order import Range, place

_KEPT: Final = 10_000
"""Names whose answer is remembered."""
_LITERAL: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Withheld:
    """What is withheld of one package: `whole`, or versions by their text and by ranges."""

    whole: bool = False
    versions: frozenset[str] = frozenset()
    ranges: tuple[Range, ...] = ()

    def covers(self, version: str) -> bool:
        """Whether clients are not given this version."""
        if self.whole or version in self.versions:
            return True
        at = place(version) if self.ranges else None
        return at is not None and any(one.holds(at) for one in self.ranges)


class WithheldList:
    """The entries of `server.withhold`, and what they withhold of a package."""

    def __init__(self, entries: Iterable["Entry"]) -> None:
        self._named: dict[str, list[Entry]] = {}
        self._patterned: list[Entry] = []
        self._known: dict[str, Withheld | None] = {}
        for entry in entries:
            if entry.pattern is None:
                self._named.setdefault(entry.name, []).append(entry)
            else:
                self._patterned.append(entry)

    @classmethod
    def parse(cls, entries: Sequence[str], lines: Names | None = None) -> Self:
        """Read the list; `lines` are those of each file that an entry stands for, by its path.

        Raises:
            ValueError: an entry is none, in a sentence for whoever wrote it.
        """
        return cls(map(Entry.parse, _spread(entries, lines or {})))

    def __bool__(self) -> bool:
        """Whether there is any entry."""
        return bool(self._named or self._patterned)

    def of(self, name: str) -> Withheld | None:
        """What is withheld of a package; None: nothing."""
        if not self:
            return None
        if name not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[name] = self._found(name)
        return self._known[name]

    def _found(self, name: str) -> Withheld | None:
        entries = [*self._named.get(name, ()), *(e for e in self._patterned if e.matches(name))]
        if not entries:
            return None
        return Withheld(
            whole=any(entry.spec is None for entry in entries),
            versions=frozenset(entry.spec for entry in entries if entry.spec is not None),
            ranges=tuple(entry.range for entry in entries if entry.range is not None),
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: a name or a pattern of names, and the version or range of it; None: all of it."""

    name: str
    pattern: Pattern | None
    spec: str | None
    range: Range | None

    @classmethod
    def parse(cls, text: str) -> "Entry":
        """Read `NAME`, `NAME@VERSION`, `NAME@RANGE`; the name may be a pattern.

        Raises:
            ValueError: it is none.
        """
        name, spec = split(text)
        try:
            check_pattern(name)
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from error
        pattern = Pattern.parse(name, {}) if _is_pattern(name) else None
        if spec is None:
            return cls(name, pattern, None, None)
        found = Range.parse(spec)
        if found is None:
            raise ValueError(f"{text!r}: {spec!r} is no version and no range")
        return cls(name, pattern, spec, found)

    def matches(self, name: str) -> bool:
        """Whether it is about this package."""
        return self.name == name if self.pattern is None else self.pattern.matches(name)


def split(text: str) -> tuple[str, str | None]:
    """The name (or pattern) and the spec behind it; a regular expression has none."""
    at = -1 if text.startswith("/") else text.find("@", 1)
    return (text, None) if at < 0 else (text[:at], text[at + 1 :].strip())


def files_of(entries: Sequence[str]) -> list[str]:
    """The paths of the files that entries stand for."""
    return [entry.removeprefix(FILE) for entry in entries if entry.startswith(FILE)]


def _spread(entries: Sequence[str], lines: Mapping[str, frozenset[str]]) -> Iterator[str]:
    for entry in entries:
        if entry.startswith(FILE):
            yield from sorted(lines.get(entry.removeprefix(FILE), ()))
        else:
            yield entry


def _is_pattern(name: str) -> bool:
    scope = name.startswith("@") and "/" not in name
    return scope or name.startswith("/") or not _LITERAL.isdisjoint(name)
