"""Versions and ranges as npm's semver reads them, loosely. Source: node-semver."""

import re
from collections.abc import Iterable, Iterator
from functools import cmp_to_key
from typing import Any

import nodesemver

_MAX_VERSION_LENGTH = 256
_MAX_RANGE_LENGTH = 1024
_MAX_SAFE_INTEGER = 2**53 - 1
_NUMBER = re.compile(r"[0-9]+")


def version_of(text: str) -> Any:
    """A version; None where npm refuses it."""
    text = text.strip()
    if len(text) > _MAX_VERSION_LENGTH or not text.isascii():
        return None
    # The port's own constructor takes more than npm does ("1.2"); its pattern does not.
    if nodesemver.regexp[nodesemver.LOOSE].fullmatch(text) is None:
        return None
    parsed = nodesemver.make_semver(text, True)
    numbers = (parsed.major, parsed.minor, parsed.patch)
    return parsed if max(numbers) <= _MAX_SAFE_INTEGER else None


def range_of(text: str) -> Any:
    """A range; None where npm refuses it. Its white space must be single spaces."""
    if len(text) > _MAX_RANGE_LENGTH or not text.isascii():
        return None
    if any(len(number) > 16 for number in _NUMBER.findall(text)):
        return None
    try:
        return nodesemver.make_range(text, True)
    except ValueError:
        return None


def matches(allowed: Any, version: str) -> bool:
    """Whether a range allows a version; prereleases as npm allows them."""
    parsed = version_of(version)
    return parsed is not None and bool(allowed.test(parsed))


def descending(versions: Iterable[str]) -> list[str]:
    """Those that are versions, the highest first."""
    return [version for _, version in sorted(_parsed(versions), key=higher_first)]


def _compared(one: tuple[Any, str], other: tuple[Any, str]) -> int:
    return int(other[0].compare(one[0]))


higher_first = cmp_to_key(_compared)
"""Sorts pairs of a parsed version and its text, the highest first."""


def _parsed(versions: Iterable[str]) -> Iterator[tuple[Any, str]]:
    for version in versions:
        parsed = version_of(version)
        if parsed is not None:
            yield parsed, version
