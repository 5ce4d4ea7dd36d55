"""What a request asks for, read from the raw path of its address. Pure.

Nothing here makes a path on a disk of what a client sent: names are looked up, and only there.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote_to_bytes

MAX_PATH: Final = 4096
"""Bytes of a path with its query; beyond that no name of npm's is."""
MAX_NAME: Final = 512
"""Bytes of a package's name, of a version, tag or range, or of a file name."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ORIGIN: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class ViewKind(Enum):
    """Which registry: as it is now, byte for byte as captured, or as it stood once."""

    LIVE = "live"
    RAW = "raw"
    PAST = "past"


class Route(Enum):
    """What is asked for within a view; `REPLICATE` is beside the views."""

    PACKUMENT = "packument"
    MANIFEST = "manifest"
    TARBALL = "tarball"
    DIST_TAGS = "dist_tags"
    PING = "ping"
    WHOAMI = "whoami"
    SEARCH = "search"
    ADVISORIES = "advisories"
    AUDIT = "audit"
    KEYS = "keys"
    ATTESTATIONS = "attestations"
    MOMENT = "moment"
    REVISION = "revision"
    REVISIONS = "revisions"
    REPLICATE = "replicate"


@dataclass(frozen=True, slots=True)
class View:
    """One of the registries that are served.

    Attributes:
        kind: Which.
        base: Its address as the client used it, without a slash at the end: what tarball URLs of
            its answers begin with.
        bound: For the past: which moment, as the client wrote it (decoded), such as
            `2026-11-20T10:00:00Z` or `seq:1234`. Else empty.
    """

    kind: ViewKind
    base: str
    bound: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was understood.

    Attributes:
        view: The registry that is asked.
        route: What of it.
        name: The package, where the route has one; decoded, otherwise as it was written.
        rest: What is asked of it: a version, tag or range (MANIFEST, ATTESTATIONS), a file name
            (TARBALL), an ordinal (REVISION), or the path behind `/-/replicate/` (REPLICATE).
        query: The raw query, without its question mark.
    """

    view: View
    route: Route
    name: str = ""
    rest: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is not understood: its status (400, 404 or 414) and the word for the client."""

    status: int
    error: str


NOT_FOUND: Final = Refused(404, "Not found")
_BAD: Final = Refused(400, "Bad request")
_TOO_LONG: Final = Refused(414, "URI too long")

_WORDS: Final = {
    ("ping",): Route.PING,
    ("whoami",): Route.WHOAMI,
    ("v1", "search"): Route.SEARCH,
    ("npm", "v1", "security", "advisories", "bulk"): Route.ADVISORIES,
    ("npm", "v1", "security", "audits"): Route.AUDIT,
    ("npm", "v1", "security", "audits", "quick"): Route.AUDIT,
    ("npm", "v1", "keys"): Route.KEYS,
}
_ATTESTATIONS: Final = ("npm", "v1", "attestations")
_OURS: Final = frozenset({"ping", "whoami", "v1", "npm", "package", "all", "raw", "at"}) | {
    "replicate",
    "npmmirror",
}


def parse(raw: str, base: str = "") -> Asked | Refused:
    """What the raw target of a request line asks for; never raises.

    `base` is the server's address as the client used it (`npmmirror.server.addresses`).
    """
    if len(raw) > MAX_PATH:
        return _TOO_LONG
    path, _, query = without_origin(raw).partition("?")
    path = path.partition("#")[0]
    segments = _segments(path)
    if segments is None:
        return _BAD
    found = _of_view(segments, path.split("/")[1:], base, query)
    if isinstance(found, Asked) and not _is_name(found.name):
        return NOT_FOUND
    return found


def without_origin(raw: str) -> str:
    """A request's target from its path on: some name the server, too, and a password for it."""
    return raw if raw.startswith("/") else _ORIGIN.sub("", raw, count=1)


def _is_name(name: str) -> bool:
    """Whether a package may be called so: it has no slash but that of a scope."""
    if "/" not in name:
        return True
    scope, _, bare = name.partition("/")
    return scope.startswith("@") and len(scope) > 1 and "/" not in bare and _is_possible(bare)


def _segments(path: str) -> list[str] | None:
    """The decoded segments of a path; None where it is no path, or holds what no name has."""
    if not path.startswith("/") or _BAD_ESCAPE.search(path):
        return None
    try:
        found = [unquote_to_bytes(part).decode() for part in path[1:].split("/")]
    except UnicodeError:
        return None
    if any(_CONTROL.search(part) for part in found):
        return None
    if found[-1] == "" and len(found) > 1:
        found.pop()
    return found


def _of_view(segments: list[str], raw: list[str], base: str, query: str) -> Asked | Refused:
    match segments:
        case ["-", "replicate", *rest]:
            return Asked(View(ViewKind.LIVE, base), Route.REPLICATE, "", "/".join(rest), query)
        case ["-", "raw", *rest]:
            return _of_registry(View(ViewKind.RAW, f"{base}/-/raw"), rest, query)
        case ["-", "at", bound, *rest]:
            view = View(ViewKind.PAST, f"{base}/-/at/{raw[2]}", bound)
            if not rest:
                return Asked(view, Route.MOMENT, query=query)
            return _of_registry(view, rest, query)
    return _of_registry(View(ViewKind.LIVE, base), segments, query)


def _of_registry(view: View, segments: list[str], query: str) -> Asked | Refused:
    if not segments or not all(map(_is_possible, segments)):
        return NOT_FOUND
    if segments[0] == "-" and len(segments) > 1 and segments[1] in _OURS:
        return _of_ours(view, segments[1:], query)
    name, rest = _name(segments)
    route, told = _of_package(rest)
    return NOT_FOUND if route is None else Asked(view, route, name, told, query)


def _is_possible(part: str) -> bool:
    return part not in {"", ".", ".."} and len(part.encode()) <= MAX_NAME


def _of_package(rest: list[str]) -> tuple[Route | None, str]:
    """What is asked of a package, by what follows its name."""
    match rest:
        case []:
            return Route.PACKUMENT, ""
        case [selector]:
            return Route.MANIFEST, selector
        case ["-", file] if _is_possible(bare := _without_scope(file)):
            return Route.TARBALL, bare
        case ["-", scope, file] if scope.startswith("@"):
            return Route.TARBALL, file
    return None, ""


def _without_scope(file: str) -> str:
    """A file name; some registries write the scope before it. A version, too, may hold a slash."""
    scope, slash, bare = file.partition("/")
    return bare if slash and scope.startswith("@") else file


def _name(segments: list[str]) -> tuple[str, list[str]]:
    """A package's name at the beginning of a path, and what follows it.

    A scoped name is one segment with an encoded slash, or two.
    """
    first, *rest = segments
    if first.startswith("@") and "/" not in first and rest and rest[0] != "-":
        return f"{first}/{rest[0]}", rest[1:]
    return first, rest


def _of_ours(view: View, words: list[str], query: str) -> Asked | Refused:
    route = _WORDS.get(tuple(words))
    if route is not None:
        return Asked(view, route, query=query)
    match words:
        case ["package", *rest, "dist-tags"] if rest:
            name, more = _name(rest)
            return NOT_FOUND if more else Asked(view, Route.DIST_TAGS, name, query=query)
        case ["npmmirror", *rest]:
            return _of_captures(view, rest, query)
        case [*first, one] if tuple(first) == _ATTESTATIONS:
            return _attestations(view, one, query)
        case [*first, scope, one] if tuple(first) == _ATTESTATIONS:
            return _attestations(view, f"{scope}/{one}", query)
    return NOT_FOUND


def _of_captures(view: View, words: list[str], query: str) -> Asked | Refused:
    match words:
        case ["revision", ordinal]:
            return Asked(view, Route.REVISION, "", ordinal, query)
        case ["revisions", *rest] if rest:
            name, more = _name(rest)
            return NOT_FOUND if more else Asked(view, Route.REVISIONS, name, query=query)
    return NOT_FOUND


def _attestations(view: View, spec: str, query: str) -> Asked | Refused:
    scope = spec[:1] if spec.startswith("@") else ""
    name, at, version = spec.removeprefix(scope).partition("@")
    if not at or not name:
        return NOT_FOUND
    return Asked(view, Route.ATTESTATIONS, scope + name, version, query)
