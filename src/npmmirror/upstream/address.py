"""Where things are asked for, and where requests may go at all. No name leaves its path segment."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote

from yarl import URL

from npmmirror.change import Seq
from npmmirror.upstream.errors import BadAnswer, shown

MOST_ROWS = 10_000
"""What npm's feed gives at most; it answers a larger `limit` with 400."""


_PLAIN_NAME = re.compile(r"(?:@[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)?[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
"""Nothing in it is encoded in a URL."""
_PLAIN_TARBALL = re.compile(
    r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,4})?(?:/[A-Za-z0-9._~@%-]+)*/([A-Za-z0-9_~-][A-Za-z0-9._~-]*)"
)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The URLs to try for a tarball, in order; `refused` is a host that may not be asked."""

    urls: tuple[URL, ...]
    refused: str | None = None


class Addresses:
    """The URLs of one upstream: its registry, its feed (if any), the hosts allowed beside them."""

    def __init__(self, *, feed: str | None, registry: str, tarball_hosts: Iterable[str]) -> None:
        self._feed = None if feed is None else feed.rstrip("/")
        self._registry = registry.rstrip("/")
        self._registry_url = URL(self._registry)
        user, at, _ = self._registry_url.raw_authority.rpartition("@")
        self._origin = str(self._registry_url.origin()).replace("://", f"://{user}{at}", 1)
        bases = [URL(base) for base in (self._feed, self._registry) if base is not None]
        allowed = [URL(f"http://{entry}") for entry in tarball_hosts]
        self._allowed = frozenset(_authority(url) for url in bases + allowed)

    @property
    def has_feed(self) -> bool:
        """Whether there is a feed to ask."""
        return self._feed is not None

    def root(self) -> URL:
        """The feed's root document."""
        return URL(f"{self._feed}/", encoded=True)

    def changes(self, since: Seq | None, limit: int, *, descending: bool) -> URL:
        """A page of the feed. No other parameters: npm answers the dead ones with 400."""
        start = "" if since is None else f"since={quote(str(since), safe='')}&"
        backwards = "&descending=true" if descending else ""
        rows = min(limit, MOST_ROWS)
        return URL(f"{self._feed}/_changes?{start}limit={rows}{backwards}", encoded=True)

    def all_docs(self, startkey: str | None, limit: int) -> URL:
        """A page of the list of all packages, from `startkey` (inclusive) on."""
        start = "" if startkey is None else f"startkey={quote(json.dumps(startkey), safe='')}&"
        rows = min(limit, MOST_ROWS)
        return URL(f"{self._feed}/_all_docs?{start}limit={rows}", encoded=True)

    def packument(self, name: str, bust: str | None = None) -> URL:
        """A package's document; `bust` makes the URL one that no cache has seen.

        Raises:
            BadAnswer: (`bad_name`) no server could be asked for such a name without harm.
        """
        query = "" if bust is None else f"?bust={bust}"
        return URL(f"{self._registry}/{_segment(name, '%2f')}{query}", encoded=True)

    def keys(self) -> URL:
        """The registry's keys."""
        return URL(f"{self._registry}/-/npm/v1/keys", encoded=True)

    def attestations(self, name: str, version: str) -> URL:
        """The attestation bundles of a version.

        Raises:
            BadAnswer: (`bad_name`) no server could be asked for such a name without harm.
        """
        told = f"{_segment(name, '%2f')}@{_version(version)}"
        return URL(f"{self._registry}/-/npm/v1/attestations/{told}", encoded=True)

    def usual_tarball(self, name: str, dist: str) -> URL | None:
        """Where every registry has a tarball; None where that takes the closer look of `tarball`.

        Nearly always it is there, and this takes a tenth of the time.
        """
        found = _PLAIN_TARBALL.fullmatch(dist)
        if found is None or _PLAIN_NAME.fullmatch(name) is None:
            return None
        return URL(f"{self._registry}/{name}/-/{found[1]}", encoded=True)

    def tarball(self, name: str, dist: str) -> Candidates:
        """Where a tarball may lie whose packument calls it `dist`.

        First where every registry has it, then at the given path on the registry's host, at last
        (only if it is allowed) on the host that `dist` names.

        Raises:
            BadAnswer: `bad_url` or `bad_name`.
        """
        given = _parsed(dist)
        urls: list[URL] = []
        if _is_file_name(given.raw_name):
            path = f"{_segment(name, '/')}/-/{given.raw_name}"
            urls.append(URL(f"{self._registry}/{path}", encoded=True))
        urls.append(URL(f"{self._origin}{given.raw_path_qs}", encoded=True))
        refused = None
        if not self.is_registry(given):
            if self.allows(given):
                urls.append(given)
            else:
                refused = given.host
        return Candidates(tuple(dict.fromkeys(urls)), refused)

    def redirected(self, current: URL, location: str | None) -> URL:
        """Where a redirect leads.

        Raises:
            BadAnswer: (`redirect_refused`) to no URL, to a host that is not allowed, or from
                https to http.
        """
        if not location:
            raise BadAnswer("redirect_refused", f"{shown(current)}: no Location")
        try:
            target = current.join(URL(location)).with_fragment(None).with_user(None)
            downgrade = current.scheme == "https" and target.scheme != "https"
        except ValueError as error:
            raise BadAnswer("redirect_refused", f"{shown(current)}: {error}") from error
        if downgrade or target.scheme not in {"http", "https"} or not self.allows(target):
            raise BadAnswer("redirect_refused", f"{shown(current)} to {target}")
        return target

    def allows(self, url: URL) -> bool:
        """Whether this URL's host (and port) may be asked."""
        return bool(url.raw_host) and _authority(url) in self._allowed

    def is_registry(self, url: URL) -> bool:
        """Whether this URL leads to the registry's host (and port)."""
        # A packument may say http where the registry is asked by https: the host is what counts.
        return _authority(url) == _authority(self._registry_url)


def _authority(url: URL) -> str:
    """Host and port; the default ports of http and https are one and the same."""
    port = url.port
    return f"{url.raw_host}" if port in {80, 443, None} else f"{url.raw_host}:{port}"


def _segment(name: str, between: str) -> str:
    """A name as one path segment; `between` is what separates the parts of a scoped one.

    Servers are seen to decode `%2e` and `%2f` before they resolve `..`, so that no encoding makes
    such a name harmless.
    """
    if _PLAIN_NAME.fullmatch(name) is not None:
        return name.replace("/", between)
    parts = name.replace("\\", "/").split("/")
    if any(part in {"", ".", ".."} for part in parts):
        raise BadAnswer("bad_name", f"{name[:300]!r} cannot be asked for")
    try:
        if name.startswith("@") and len(parts) == 2 and "/" in name:
            scope, rest = name[1:].split("/")
            return f"@{quote(scope, safe='')}{between}{quote(rest, safe='')}"
        return quote(name, safe="")
    except UnicodeEncodeError as error:
        raise BadAnswer("bad_name", f"{name[:300]!r} is no text") from error


def _version(version: str) -> str:
    """A version as the end of a path segment, behind the name and an `@`."""
    if "/" in version or "\\" in version:
        raise BadAnswer("bad_name", f"{version[:300]!r} cannot be asked for")
    try:
        return quote(version, safe="+")
    except UnicodeEncodeError as error:
        raise BadAnswer("bad_name", f"{version[:300]!r} is no text") from error


def _parsed(dist: str) -> URL:
    try:
        url = URL(dist)
        if url.scheme in {"http", "https"} and url.raw_host and url.raw_path != "/":
            return url.with_user(None).with_fragment(None)
    except (ValueError, TypeError) as error:
        raise BadAnswer("bad_url", f"dist.tarball {dist!r:.300}: {error}") from error
    raise BadAnswer("bad_url", f"dist.tarball {dist!r:.300}")


def _is_file_name(raw: str) -> bool:
    name = unquote(raw)
    return name not in {"", ".", ".."} and "/" not in name and "\\" not in name
