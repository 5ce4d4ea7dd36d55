"""Patterns of package names: an exact name, a glob, a scope, a regular expression, a file of names."""

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

FILE: Final = "file:"
"""What a pattern begins with that stands for the names in a file."""
_GLOB: Final = re.compile(r"[*?\[]")

Names = Mapping[str, frozenset[str]]
"""The names in each file, by the path that the pattern tells."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern as it was written, and what it matches."""

    text: str
    _matches: Callable[[str], object] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str, names: Names) -> "Pattern":
        """Read a pattern.

        `@scope` is every package of the scope; `*`, `?` and `[…]` make a glob, in which `*` stands
        for slashes too; `/…/` is a regular expression, found anywhere in the name; `file:PATH` the
        names in a file, which `names` has by its path; everything else is one name.

        Raises:
            ValueError: it is none, in a sentence for whoever wrote it.
        """
        if text.startswith(FILE):
            return cls(text, names.get(text.removeprefix(FILE), frozenset()).__contains__)
        if text.startswith("/"):
            return cls(text, _regex(text))
        if text.startswith("@") and "/" not in text and not _GLOB.search(text):
            return cls(text, _begins(f"{text}/"))
        if _GLOB.search(text):
            return cls(text, re.compile(fnmatch.translate(text)).match)
        return cls(text, text.__eq__)

    def matches(self, name: str) -> bool:
        """Whether it matches a package's name."""
        return bool(self._matches(name))


def check_pattern(text: str) -> str:
    """The text, if it is a pattern.

    Raises:
        ValueError: as `Pattern.parse`.
    """
    if not text or not text.isprintable() or text != text.strip():
        raise ValueError("must be a pattern of names: no empty text, no spaces around it")
    if text.startswith(FILE) and len(text) == len(FILE):
        raise ValueError('must name a file behind "file:", one that lists a name a line')
    Pattern.parse(text, {})
    return text


def first_match(patterns: Sequence[Pattern], name: str) -> Pattern | None:
    """The first of the patterns that matches a name."""
    return next((pattern for pattern in patterns if pattern.matches(name)), None)


def _begins(prefix: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(prefix)


def _regex(text: str) -> Callable[[str], object]:
    if len(text) < 3 or not text.endswith("/"):
        raise ValueError("must end with a slash as it begins with one: it is a regular expression")
    try:
        return re.compile(text[1:-1]).search
    except re.error as error:
        raise ValueError(f"must be a regular expression between its slashes ({error})") from error
