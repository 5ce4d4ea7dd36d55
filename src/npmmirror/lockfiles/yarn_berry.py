"""`yarn.lock` of Yarn 2 and later.

Its checksums are of the zip files that Yarn makes of tarballs, and so say nothing of those.
"""

from typing import Any

from npmmirror.lockfiles.locked import Collected, Lockfile, LockfileError, mapping, split, text
from npmmirror.policy.requirements import requirement

METADATA = "__metadata"
_REGISTRY = "npm:"
_BUILT_IN = "builtin<"
"""Patches that Yarn brings along for what stands beside them in the file."""


def read_yarn_berry(top: dict[str, Any]) -> Lockfile:
    """Read the document of one.

    Raises:
        LockfileError: it is none, in a sentence.
    """
    version = text(mapping(top.get(METADATA), METADATA).get("version"), METADATA)
    if version is None:
        raise LockfileError(f"{METADATA} has no version")
    collected = Collected(f"yarn berry {version}")
    for key, told in top.items():
        if key != METADATA:
            _take(key, mapping(told, key), collected)
    return collected.end()


def _is_built_in(reference: str) -> bool:
    return reference.startswith("patch:") and _BUILT_IN in reference


def _take(key: str, entry: dict[str, Any], collected: Collected) -> None:
    resolution = text(entry.get("resolution"), key)
    if resolution is None:
        raise LockfileError(f"{key[:80]!r} has no resolution")
    name, reference = split(resolution)
    if reference == "workspace:." or _is_built_in(reference):
        return
    if not reference.startswith(_REGISTRY):
        collected.leave(name, reference, requirement(name, reference).elsewhere or "no_version")
        return
    # Behind `::` stand bindings such as the archive's URL at a registry of odd paths.
    version = reference.removeprefix(_REGISTRY).partition("::")[0]
    meant = requirement(name, reference.partition("::")[0]) if "@" in version else None
    if meant is None:
        collected.take(name, version)
    else:
        collected.take(meant.package, meant.spec)
