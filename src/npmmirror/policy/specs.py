"""`NAME`, `NAME@VERSION`, `NAME@TAG`, `NAME@RANGE`: read, and resolved as npm does.

Source: npm-package-arg and npm-pick-manifest; engines are not looked at, for a mirror has none.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cmp_to_key
from typing import Any

import nodesemver

from npmmirror.packument import Packument

_MAX_VERSION_LENGTH = 256
_MAX_SPEC_LENGTH = 1024
_MAX_SAFE_INTEGER = 2**53 - 1
_URL = re.compile(r"(?:git[+])?[a-z]+:", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+")


def parse_spec(text: str) -> tuple[str, str | None]:
    """Split `@babel/core@^7` into the name and what is asked of it (None: nothing).

    Names are not judged: any that a registry could hold is a name.

    Raises:
        ValueError: in a sentence for whoever typed it: no name, or something that is no package of
            a registry (an alias, a URL, a repository, a path).
    """
    text = text.strip()
    at = text.find("@", 1)
    name, spec = (text, "") if at < 0 else (text[:at], text[at + 1 :].strip())
    if not name or name == "@":
        raise ValueError(f"{text!r} names no package; write NAME, NAME@VERSION or @SCOPE/NAME")
    if name.startswith("@") and not all(name[1:].partition("/")):
        raise ValueError(f"{text!r} is no package name; a scoped one looks like @SCOPE/NAME")
    if _URL.match(name):
        raise ValueError(f"{text!r} is a URL; only packages of the registry can be mirrored")
    if spec.lower().startswith("npm:"):
        raise ValueError(f"{text!r} is an alias; ask for {spec[4:] or 'the package'} itself")
    if _URL.match(spec) or "/" in spec or spec.startswith(("./", "~/")):
        raise ValueError(
            f"{text!r} asks for a URL, repository or path; only versions, dist-tags and ranges can be mirrored"
        )
    return name, spec or None


def resolve(spec: str | None, document: Packument) -> tuple[str, ...]:
    """The version that npm would install for a spec (None: for the bare name); at most one.

    A version is meant exactly; a range picks `latest` where that satisfies it and is not
    deprecated, else the highest that is not deprecated, else the highest; prereleases count only
    where the range names one of the same number. Anything else is a dist-tag.
    """
    # Long white space is what the port's patterns are slow on.
    wanted = "*" if spec is None else " ".join(spec.split())
    if wanted in document.versions and wanted not in document.tags:
        return (wanted,)
    exact = _version(wanted)
    if exact is not None:
        cleaned = str(exact)
        return tuple(v for v in (wanted, cleaned) if v in document.versions)[:1]
    allowed = _range(wanted)
    if allowed is not None:
        return _pick(allowed, document)
    version = document.tags.get(wanted)
    return (version,) if version is not None and version in document.versions else ()


def _pick(allowed: Any, document: Packument) -> tuple[str, ...]:
    latest = document.tags.get("latest")
    if (
        latest is not None
        and latest in document.versions
        and (_is_any(allowed) or _matches(allowed, latest))
        and not _is_deprecated(document, latest)
    ):
        return (latest,)
    matching = _descending(v for v in document.versions if _matches(allowed, v))
    for version in matching:
        if not _is_deprecated(document, version):
            return (version,)
    return tuple(matching[:1])


def _is_any(allowed: Any) -> bool:
    # npm lets a bare `*` take `latest` even where that is a prerelease.
    return str(allowed.raw) == "*"


def _is_deprecated(document: Packument, version: str) -> bool:
    if b"deprecated" not in bytes(document.versions[version]):
        return False
    return document.manifest(version).deprecated is not None


def _matches(allowed: Any, version: str) -> bool:
    parsed = _version(version)
    return parsed is not None and bool(allowed.test(parsed))


def _descending(versions: Iterable[str]) -> list[str]:
    return [version for _, version in sorted(_parsed(versions), key=cmp_to_key(_higher_first))]


def _higher_first(one: tuple[Any, str], other: tuple[Any, str]) -> int:
    return int(other[0].compare(one[0]))


def _parsed(versions: Iterable[str]) -> Iterator[tuple[Any, str]]:
    for version in versions:
        parsed = _version(version)
        if parsed is not None:
            yield parsed, version


def _version(text: str) -> Any:
    """A version as npm's semver reads it, loosely; None where it refuses it."""
    text = text.strip()
    if len(text) > _MAX_VERSION_LENGTH or not text.isascii():
        return None
    # The port's own constructor takes more than npm does ("1.2"); its pattern does not.
    if nodesemver.regexp[nodesemver.LOOSE].fullmatch(text) is None:
        return None
    parsed = nodesemver.make_semver(text, True)
    numbers = (parsed.major, parsed.minor, parsed.patch)
    return parsed if max(numbers) <= _MAX_SAFE_INTEGER else None


def _range(text: str) -> Any:
    if len(text) > _MAX_SPEC_LENGTH or not text.isascii():
        return None
    if any(len(number) > 16 for number in _NUMBER.findall(text)):
        return None
    try:
        return nodesemver.make_range(text, True)
    except ValueError:
        return None
