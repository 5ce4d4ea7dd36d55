"""What a version requires: packages of the registry by version, range or tag, and things elsewhere.

Source: npm-package-arg, and arborist's way of loading a manifest's dependencies.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from npmmirror.policy.semver import range_of, version_of

ANY = "*"
"""What npm makes of an empty spec."""

_FILE = re.compile(r"file:|[.]|~/|/|[a-z]:[\\/]", re.IGNORECASE)
_ARCHIVE = re.compile(r"[.](?:tgz|tar[.]gz|tar)\Z", re.IGNORECASE)
_PROTOCOL = re.compile(r"(?:git[+])?([a-z]+):", re.IGNORECASE)
_SHORTHAND = re.compile(r"[^/:@\s]+/[^/:#\s]+(?:#\S*)?")
_SCP = re.compile(r"[^/@\s]+@[^/:\s]+:")
_PLAIN = re.compile(r"[A-Za-z0-9\-_.!~*'()]+")
_GIT = frozenset({"git", "ssh", "github", "gitlab", "bitbucket", "gist"})
_OWN = frozenset({"workspace", "link", "portal", "patch", "catalog", "jsr", "exec"})


class Requirement(msgspec.Struct, frozen=True, gc=False):
    """That a version requires a package, or something elsewhere.

    `package` and `spec` are what the registry is asked for; of an alias, the package behind it.
    `elsewhere` is "" then. Otherwise it is a stable word for what is required instead (`git`,
    `url`, `file`, `workspace`, `link`, `portal`, `patch`, `catalog`, `jsr`, `exec`, `protocol`,
    `invalid_name`, `invalid_tag`, `nested_alias`), `package` is the name that it goes by, and
    `spec` is as it was written.

    `optional` says that npm goes on without it. `dormant` is an optional peer: it counts only
    where something else requires the package.
    """

    package: str
    spec: str
    elsewhere: str = ""
    optional: bool = False
    dormant: bool = False


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    what: str


def requirement(
    name: str, spec: str, *, optional: bool = False, dormant: bool = False
) -> Requirement:
    """What the entry `name: spec` of a manifest means."""
    target = _target(name, spec.strip())
    if isinstance(target, _Elsewhere):
        return Requirement(name, spec, target.what, optional, dormant)
    return Requirement(*target, "", optional, dormant)


def requirements(body: Mapping[str, Any], *, developed: bool = False) -> tuple[Requirement, ...]:
    """What a manifest requires, each once.

    As a package that is installed: `dependencies`, `optionalDependencies` and `peerDependencies`,
    without those that are bundled. As a project that is `developed`: with `devDependencies`, and
    bundled ones too, which npm fetches there.
    """
    told: dict[Requirement, None] = {}
    bundled = frozenset[str]() if developed else _bundled(body)
    for each in _required(body, developed=developed):
        if each[0] not in bundled:
            told[requirement(each[0], each[1], optional=each[2], dormant=each[3])] = None
    return tuple(told)


def _required(body: Mapping[str, Any], *, developed: bool) -> Iterator[tuple[str, str, bool, bool]]:
    optional = dict(_entries(body, "optionalDependencies"))
    for name, spec in _entries(body, "dependencies"):
        if name not in optional:
            yield name, spec, False, False
    for name, spec in optional.items():
        yield name, spec, True, False
    for name, spec in _entries(body, "peerDependencies"):
        waived = _is_waived(body, name)
        yield name, spec, waived, waived
    if developed:
        for name, spec in _entries(body, "devDependencies"):
            yield name, spec, False, False


def _entries(body: Mapping[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    found = body.get(kind)
    if isinstance(found, dict):
        yield from ((name, spec) for name, spec in found.items() if isinstance(spec, str))


def _is_waived(body: Mapping[str, Any], name: str) -> bool:
    meta = body.get("peerDependenciesMeta")
    told = meta.get(name) if isinstance(meta, dict) else None
    return isinstance(told, dict) and bool(told.get("optional"))


def _bundled(body: Mapping[str, Any]) -> frozenset[str]:
    told = body.get("bundleDependencies", body.get("bundledDependencies"))
    if told is True:  # npm: everything that the version depends on
        return frozenset(name for name, _ in _entries(body, "dependencies"))
    names = told if isinstance(told, list) else ()
    return frozenset(name for name in names if isinstance(name, str))


def _target(name: str, spec: str) -> tuple[str, str] | _Elsewhere:
    """Package and spec to ask the registry for; npm's order of looking."""
    if spec[:4].lower() == "npm:":
        return _behind_alias(spec[4:])
    if elsewhere := _elsewhere(spec):
        return _Elsewhere(elsewhere)
    if not is_name(name):
        return _Elsewhere("invalid_name")
    wanted = " ".join(spec.split()) or ANY
    if version_of(wanted) is None and range_of(wanted) is None and not _PLAIN.fullmatch(wanted):
        return _Elsewhere("invalid_tag")
    return name, wanted


def _elsewhere(spec: str) -> str:
    """What a spec names that is not asked of a registry; "" where it is."""
    if _FILE.match(spec):
        return "file"
    if (protocol := _PROTOCOL.match(spec)) is not None:
        return _of_protocol(protocol[0].lower(), protocol[1].lower())
    if _SHORTHAND.fullmatch(spec) or _SCP.match(spec):
        return "git"
    return "file" if "/" in spec or _ARCHIVE.search(spec) else ""


def _behind_alias(text: str) -> tuple[str, str] | _Elsewhere:
    at = text.find("@", 1)
    name, spec = (text, "") if at < 0 else (text[:at], text[at + 1 :])
    if spec[:4].lower() == "npm:":
        return _Elsewhere("nested_alias")
    return _target(name, spec.strip())


def _of_protocol(whole: str, protocol: str) -> str:
    if whole.startswith("git+") or protocol in _GIT:
        return "git"
    if protocol in {"http", "https"}:
        return "url"
    return protocol if protocol in _OWN else "protocol"


def is_name(name: str) -> bool:
    """Whether npm would ask a registry for a package of this name."""
    if name.startswith((".", "-", "_")) or name.lower() in {"node_modules", "favicon.ico"}:
        return False
    scope, slash, rest = name.partition("/")
    if not slash:
        return _PLAIN.fullmatch(name) is not None
    parts = scope.startswith("@") and _PLAIN.fullmatch(scope[1:]) and _PLAIN.fullmatch(rest)
    return bool(parts) and not rest.startswith(".")
