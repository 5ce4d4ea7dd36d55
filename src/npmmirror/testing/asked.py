"""A request, told apart: what of the registry or the feed it asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

FEED_PREFIX = "/-/feed"
_ATTESTATIONS = "/-/npm/v1/attestations/"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `path` is as it came, percent-encoding and query included.

    `scope` is `packument`, `tarball`, `feed` (`_changes`), `all_docs`, `root` (of the feed), `keys`,
    `attestations` or `other`. `name` is the package of a packument, a tarball or attestations,
    `file` the decoded path of what is neither a packument nor of the feed, `version` the version or tag of a single manifest.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    host: str
    scope: str = "other"
    name: str | None = None
    file: str | None = None
    version: str | None = None
    query: Mapping[str, str] | None = None


def asked(method: str, path: str, headers: Mapping[str, str], host: str) -> Asked:
    """Tell a request apart."""
    bare, _, query_string = path.partition("?")
    query = {
        key: values[-1] for key, values in parse_qs(query_string, keep_blank_values=True).items()
    }
    if bare == FEED_PREFIX or bare.startswith(FEED_PREFIX + "/"):
        scope = _feed_scope(bare.removeprefix(FEED_PREFIX).strip("/"))
        return Asked(method, path, headers, host, scope, query=query)
    scope, name, file, version = _registry_scope(bare)
    return Asked(method, path, headers, host, scope, name, file, version, query)


def _feed_scope(rest: str) -> str:
    scopes = {"": "root", "registry": "root", "registry/_changes": "feed"}
    return "all_docs" if rest == "registry/_all_docs" else scopes.get(rest, "other")


def _registry_scope(bare: str) -> tuple[str, str | None, str | None, str | None]:
    before, dash, _ = bare.rpartition("/-/")
    if dash and before and not bare.startswith("/-/npm/"):
        return "tarball", unquote(before[1:]), unquote(bare), None
    if bare == "/-/npm/v1/keys":
        return "keys", None, bare, None
    if bare.startswith(_ATTESTATIONS):
        name = unquote(bare.removeprefix(_ATTESTATIONS)).rpartition("@")[0]
        return "attestations", name, unquote(bare), None
    if bare.startswith("/-/") or bare == "/":
        return "other", None, None, None
    parts = bare[1:].split("/")
    if parts[0].startswith("@") and len(parts) > 1:
        parts[:2] = [f"{parts[0]}/{parts[1]}"]
    name = unquote(parts[0])
    if len(parts) == 1:
        return "packument", name, None, None
    return "other", name, unquote(bare), unquote("/".join(parts[1:]))
