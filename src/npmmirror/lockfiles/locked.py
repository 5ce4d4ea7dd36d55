"""What a lock file says, whichever program wrote it."""

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from npmmirror.policy.requirements import is_name, requirement
from npmmirror.policy.semver import version_of

_SHASUM = re.compile(r"[0-9a-f]{40}")


class LockfileError(ValueError):
    """The text is no lock file that is understood; `str()` says why, with the line or the key."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A version of a package of the registry that the file wants.

    `integrity` is SRI as in `dist.integrity` (or only `sha1-`); None where the file tells none.
    `optional` says that the project can be installed without it.
    """

    package: str
    version: str
    integrity: str | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Unlocked:
    """What the file wants that is not of a registry: `what` as `Requirement.elsewhere` has it."""

    name: str
    spec: str
    what: str


@dataclass(frozen=True, slots=True)
class Lockfile:
    """What a lock file wants. `format` names program and version: `npm 3`, `pnpm 9.0`, `yarn 1`."""

    format: str
    packages: tuple[Locked, ...]
    elsewhere: tuple[Unlocked, ...]


@dataclass(slots=True)
class Collected:
    """The entries of a file while it is read; each thing is kept once."""

    format: str
    _packages: dict[tuple[str, str, str | None], bool] = field(default_factory=dict)
    _elsewhere: dict[Unlocked, None] = field(default_factory=dict)

    def take(
        self, package: str, version: str, integrity: str | None = None, *, optional: bool = False
    ) -> None:
        """A version of a package; what is neither is kept as that."""
        if not is_name(package):
            self.leave(package, version, "invalid_name")
        elif version_of(version) is None:
            self.leave(package, version, requirement(package, version).elsewhere or "no_version")
        else:
            key = (package, version, integrity)
            self._packages[key] = self._packages.get(key, True) and optional

    def leave(self, name: str, spec: str, what: str) -> None:
        """Something that is not of a registry."""
        self._elsewhere[Unlocked(name, spec, what)] = None

    def end(self) -> Lockfile:
        """Everything, in the order of the file."""
        packages = (Locked(*key, optional) for key, optional in self._packages.items())
        return Lockfile(self.format, tuple(packages), tuple(self._elsewhere))


def mapping(found: Any, place: str) -> dict[str, Any]:
    """An object of the file; none at all is an empty one.

    Raises:
        LockfileError: something else is there.
    """
    if found is None or found == "":  # the second is YAML's way to say nothing
        return {}
    if not isinstance(found, dict):
        refuse(place, "an object")
    return found


def text(found: Any, place: str) -> str | None:
    """A string of the file, or None where there is none.

    Raises:
        LockfileError: something else is there.
    """
    if found is not None and not isinstance(found, str):
        refuse(place, "a string")
    return found


def refuse(place: str, expected: str) -> NoReturn:
    """Say that something else stands there than has to.

    Raises:
        LockfileError: always.
    """
    raise LockfileError(f"{shown(place)} is not {expected}")


def shown(place: str) -> str:
    """A key of the file, short enough for a message."""
    return repr(place if len(place) <= 80 else place[:79] + "…")


def elsewhere(resolved: str, name: str) -> str:
    """What `resolved` names that is not a tarball of a registry; "" where it is one.

    A registry's has `/-/` in its path, or names the package as its first words; any other URL is
    a tarball from anywhere.
    """
    what = requirement("x", resolved).elsewhere
    if what != "url":
        return what or "file"
    try:
        path = unquote(urlsplit(resolved).path)
    except ValueError:
        return "url"
    return "" if "/-/" in path or path.startswith(f"/{name}/") else "url"


def sha1_of(resolved: str) -> str | None:
    """The SHA-1 that Yarn and old npm write behind a URL's `#`, in hex."""
    fragment = resolved.partition("#")[2].lower()
    return fragment if _SHASUM.fullmatch(fragment) else None


def split(key: str) -> tuple[str, str]:
    """`NAME@SPEC` as its two halves; the name may have a scope."""
    at = key.find("@", 1)
    return (key, "") if at < 0 else (key[:at], key[at + 1 :])


def is_yes(found: Any) -> bool:
    """Whether a flag of JSON or of YAML is set."""
    return found is True or found == "true"
