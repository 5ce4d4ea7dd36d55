"""`package-lock.json` and `npm-shrinkwrap.json`, lockfileVersion 1, 2 and 3."""

from typing import Any

import orjson

from npmmirror.lockfiles.locked import (
    Collected,
    Lockfile,
    LockfileError,
    elsewhere,
    is_yes,
    mapping,
    text,
)
from npmmirror.policy.requirements import requirement
from npmmirror.policy.semver import version_of

_FOLDER = "node_modules/"
_VERSIONS = frozenset({1, 2, 3})


def read_npm(raw: bytes) -> Lockfile:
    """Read one.

    Raises:
        LockfileError: it is none, in a sentence.
    """
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise LockfileError(f"line {error.lineno}: not JSON ({error.msg})") from error
    if not isinstance(found, dict):
        raise LockfileError("line 1: a lock file of npm is an object")
    version = found.get("lockfileVersion", 1)
    if type(version) is not int or version not in _VERSIONS:
        raise LockfileError(f"lockfileVersion {version!r} is not 1, 2 or 3")
    if "packages" not in found and "dependencies" not in found and "name" not in found:
        raise LockfileError("it has neither packages nor dependencies")
    collected = Collected(f"npm {version}")
    if "packages" in found:
        _take_packages(mapping(found["packages"], "packages"), collected)
    else:
        _take_tree(mapping(found.get("dependencies"), "dependencies"), collected)
    return collected.end()


def _take_packages(packages: dict[str, Any], collected: Collected) -> None:
    """The flat table of 2 and 3: by the place in the tree."""
    for place, told in packages.items():
        entry = mapping(told, place)
        if is_yes(entry.get("link")):
            target = text(entry.get("resolved"), place) or ""
            collected.leave(_name_of(place), target, "workspace" if target else "link")
        elif _FOLDER in place and not is_yes(entry.get("inBundle")):
            _take_package(place, entry, collected)


def _take_package(place: str, entry: dict[str, Any], collected: Collected) -> None:
    name = text(entry.get("name"), place) or _name_of(place)
    version = text(entry.get("version"), place) or ""
    resolved = text(entry.get("resolved"), place)
    if resolved is not None and (what := elsewhere(resolved, name)):
        collected.leave(name, resolved, what)
        return
    if not version:  # a place that npm left empty: optional, and for another platform
        return
    integrity = text(entry.get("integrity"), place)
    collected.take(name, version, integrity, optional=is_yes(entry.get("optional")))


def _name_of(place: str) -> str:
    return place.rpartition(_FOLDER)[2]


def _take_tree(dependencies: dict[str, Any], collected: Collected) -> None:
    """The nested tree of 1, on a stack of our own: it is as deep as its author likes."""
    waiting = [(dependencies, "dependencies")]
    while waiting:
        level, where = waiting.pop()
        for name, told in level.items():
            place = name if len(where) > 200 else f"{where}.{name}"
            entry = mapping(told, place)
            if is_yes(entry.get("bundled")):
                continue
            _take_node(name, entry, place, collected)
            waiting.append((mapping(entry.get("dependencies"), place), place))


def _take_node(name: str, entry: dict[str, Any], place: str, collected: Collected) -> None:
    version = text(entry.get("version"), place) or ""
    resolved = text(entry.get("resolved"), place)
    integrity = text(entry.get("integrity"), place)
    optional = is_yes(entry.get("optional"))
    meant = requirement(name, version)
    if meant.elsewhere == "url" and not elsewhere(version, name):
        resolved, version = version, _version_in(version)
        meant = requirement(name, version)
    if meant.elsewhere or not version:
        collected.leave(name, version, meant.elsewhere or "no_version")
    elif resolved is not None and (what := elsewhere(resolved, meant.package)):
        collected.leave(name, resolved, what)
    else:
        collected.take(meant.package, meant.spec, integrity, optional=optional)


def _version_in(url: str) -> str:
    """The version in the name of a registry's tarball; npm 5 wrote the URL in its place."""
    stem = url.partition("?")[0].partition("#")[0].rpartition("/")[2].removesuffix(".tgz")
    parts = stem.split("-")
    for start in range(1, len(parts)):
        version = "-".join(parts[start:])
        if version_of(version) is not None:
            return version
    return ""
