"""`pnpm-lock.yaml`, lockfileVersion 5 to 9."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from npmmirror.lockfiles.locked import (
    Collected,
    Lockfile,
    LockfileError,
    elsewhere,
    is_yes,
    mapping,
    split,
    text,
)
from npmmirror.policy.requirements import requirement
from npmmirror.policy.semver import version_of

_FORMAT = re.compile(r"([5-9])(?:[.]\d+)?")
_HOST = re.compile(r"[^/@]*[.:+][^/@]*/")
_KINDS = ("dependencies", "devDependencies", "optionalDependencies")


def read_pnpm(found: Sequence[Any]) -> Lockfile:
    """Read the documents of one: pnpm 11 puts what it needs itself into a first one.

    Raises:
        LockfileError: they are none, in a sentence.
    """
    tops = [mapping(top, "the document") for top in found if top]
    version = next((told for top in tops if (told := top.get("lockfileVersion"))), None)
    version = text(version, "lockfileVersion")
    if version is None or (major := _FORMAT.fullmatch(version)) is None:
        raise LockfileError(f"lockfileVersion {version!r} is not one of 5 to 9")
    collected = Collected(f"pnpm {version}")
    for top in tops:
        _take(top, int(major[1]), collected)
    return collected.end()


def _take(top: dict[str, Any], major: int, collected: Collected) -> None:
    optional = _optional(mapping(top.get("snapshots"), "snapshots"))
    for key, told in mapping(top.get("packages"), "packages").items():
        _take_package(key, mapping(told, key), major, optional, collected)
    for key in mapping(top.get("patchedDependencies"), "patchedDependencies"):
        collected.leave(*split(key), "patch")
    for name, target in _links(top):
        what = requirement("x", target).elsewhere
        collected.leave(name, target, "workspace" if what == "link" else what or "link")


def _optional(snapshots: dict[str, Any]) -> dict[str, bool]:
    """From 9 on the flag stands with the snapshots, of which a version may have several."""
    found: dict[str, bool] = {}
    for key, told in snapshots.items():
        name = key.partition("(")[0]
        found[name] = found.get(name, True) and is_yes(mapping(told, key).get("optional"))
    return found


def _take_package(
    key: str, entry: dict[str, Any], major: int, optional: dict[str, bool], collected: Collected
) -> None:
    resolution = mapping(entry.get("resolution"), key)
    keyed = _named(key, major)
    name = text(entry.get("name"), key) or keyed[0]
    version = text(entry.get("version"), key) or keyed[1]
    if what := _elsewhere(resolution, name, keyed[1]):
        collected.leave(name or key, version or key, what)
        return
    waived = is_yes(entry.get("optional")) or optional.get(key, False)
    integrity = text(resolution.get("integrity"), key)
    collected.take(name, version, integrity, optional=waived)


def _named(key: str, major: int) -> tuple[str, str]:
    """Package and version of a key: `/a/1.0.0_b@2`, `/a@1.0.0(b@2)`, `a@1.0.0`."""
    bare = key.partition("(")[0]
    if _HOST.match(bare):  # of another registry than the default
        bare = bare[bare.index("/") :]
    bare = bare.removeprefix("/")
    if major > 5:
        return split(bare)
    name, _, version = bare.rpartition("/")
    if name.startswith("@") and "/" not in name:  # the peers' suffix has a slash of its own
        return bare, ""
    return name, version.partition("_")[0]


def _elsewhere(resolution: dict[str, Any], name: str, keyed: str) -> str:
    """What an entry is that is not of a registry; "" where it is. `keyed` is its key's version."""
    kind = text(resolution.get("type"), name)
    if kind is not None or "repo" in resolution or "directory" in resolution:
        return "git" if kind == "git" or "repo" in resolution else "file"
    tarball = text(resolution.get("tarball"), name)
    # The URLs of some registries look like no other's; then a version in the key tells one.
    if tarball is None or version_of(keyed) is not None:
        return ""
    return elsewhere(tarball, name) or "url"


def _links(top: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The dependencies of the project that lie in its own tree."""
    importers = mapping(top.get("importers"), "importers")
    for place, told in [*importers.items(), (".", top)]:
        importer = mapping(told, place)
        for kind in _KINDS:
            for name, entry in mapping(importer.get(kind), kind).items():
                target = entry.get("version") if isinstance(entry, dict) else entry
                if isinstance(target, str) and target.startswith(("link:", "file:")):
                    yield name, target
