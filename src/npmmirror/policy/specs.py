"""`NAME`, `NAME@VERSION`, `NAME@TAG`, `NAME@RANGE`: read, and resolved as npm does.

Source: npm-package-arg and npm-pick-manifest; engines are not looked at, for a mirror has none.
"""

import re
from typing import Any

from npmmirror.packument import Packument
from npmmirror.policy.semver import descending, matches, range_of, version_of

_URL = re.compile(r"(?:git[+])?[a-z]+:", re.IGNORECASE)


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
    exact = version_of(wanted)
    if exact is not None:
        cleaned = str(exact)
        return tuple(v for v in (wanted, cleaned) if v in document.versions)[:1]
    allowed = range_of(wanted)
    if allowed is not None:
        return _pick(allowed, document)
    version = document.tags.get(wanted)
    return (version,) if version is not None and version in document.versions else ()


def _pick(allowed: Any, document: Packument) -> tuple[str, ...]:
    latest = document.tags.get("latest")
    if (
        latest is not None
        and latest in document.versions
        and (_is_any(allowed) or matches(allowed, latest))
        and not _is_deprecated(document, latest)
    ):
        return (latest,)
    matching = descending(v for v in document.versions if matches(allowed, v))
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
