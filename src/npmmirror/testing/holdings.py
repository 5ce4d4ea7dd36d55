"""What the scripted registry serves at the moment, and the truth to compare a mirror with."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from npmmirror.testing import tarball as tarballs
from npmmirror.testing.feed import Feed
from npmmirror.testing.revision import Body, Revision
from npmmirror.testing.signing import Signing, attestations_path

KEYS_PATH = "/-/npm/v1/keys"


@dataclass(slots=True)
class Package:
    """A package's newest revision and the one before, which a lagging cache still serves.

    `used` are all versions that there ever were.
    """

    current: Revision
    previous: Revision | None = None
    generation: int = 0
    used: set[str] = field(default_factory=set)
    stale_reads: int = 0
    busted: bool = False


class Holdings:
    """Packages, files, attestations, keys and the feed, as they are now.

    Args:
        feed: of the packages' changes.
        signing: the keys that releases are signed with; None: none are served.
    """

    def __init__(self, feed: Feed, signing: Signing | None) -> None:
        self.feed = feed
        self.signing = signing
        self._packages: dict[str, Package] = {}
        self._files: dict[str, Body] = {}
        self._bundles: dict[str, bytes] = {}

    def read(self, name: str, *, query: bool = False) -> Revision | None:
        """The revision that a request gets now, which counts as one of the stale reads."""
        package = self._packages.get(name)
        if package is None:
            return None
        if package.stale_reads and not (query and package.busted):
            package.stale_reads -= 1
            return package.previous
        return package.current

    def __contains__(self, name: object) -> bool:
        return name in self._packages

    def revision(self, name: str) -> Revision:
        """The newest revision of a package."""
        return self._packages[name].current

    def document(self, name: str) -> bytes:
        """The newest document of a package, raw."""
        full = self.revision(name).full
        if full is None:
            raise KeyError(name)
        return full.raw

    def versions_ever(self, name: str) -> set[str]:
        """The versions that a package has or had, the holder's aside."""
        return set(self._packages[name].used) if name in self else set()

    def tarball(self, name: str, version: str) -> bytes:
        """The bytes of a version's tarball."""
        return self._files[tarballs.path_of(name, version)].raw

    def file(self, path: str, host: str = "") -> Body | None:
        """The bytes served under a path (percent-decoded) to those who ask this host for it."""
        return self._files.get(host + path, self._files.get(path))

    def names(self) -> list[str]:
        """All packages that have a document, by code points."""
        return sorted(self._documented())

    def count(self) -> int:
        """How many packages have a document."""
        return sum(1 for _ in self._documented())

    def revs(self) -> dict[str, str]:
        """The newest rev of each package that has a document, as `_all_docs` tells them."""
        return {name: self._packages[name].current.rev for name in self.names()}

    def changes(
        self, since: int = 0, limit: int = 1_000, *, descending: bool = False
    ) -> dict[str, Any]:
        """An answer of `_changes`. `since` is the number of a seq."""
        return self.feed.changes(since, limit, descending=descending)

    def state(self) -> dict[str, Any]:
        """The truth, to compare a mirror with: for each package ever there, what it is now."""
        return {name: self.told(name) for name in self._packages}

    def told(self, name: str) -> dict[str, Any]:
        """What `state` says of one package."""
        row, revision = self.feed.row(name), self.revision(name)
        return {
            "state": revision.state,
            "rev": revision.rev,
            "seq": self.feed.served(row.seq) if row else None,
            "deleted": row.deleted if row else False,
            "sha256": hashlib.sha256(revision.full.raw).hexdigest() if revision.full else None,
            "dist_tags": dict(revision.tags),
            "versions": {version: self._sha512(name, version) for version in revision.versions},
        }

    def attestations(self, name: str, version: str) -> bytes | None:
        """What is served as a version's attestations; None where nothing is."""
        return self._bundles.get(attestations_path(name, version))

    def beside(self, path: str) -> bytes | None:
        """What is served beside packages at a decoded path: keys, attestations."""
        if path == KEYS_PATH:
            signing = self.signing
            return signing.document if signing is not None and signing.served else None
        return self._bundles.get(path)

    def _documented(self) -> Iterator[str]:
        return (name for name, one in self._packages.items() if one.current.state != "removed")

    def _sha512(self, name: str, version: str) -> str | None:
        body = self._files.get(tarballs.path_of(name, version))
        return None if body is None else hashlib.sha512(body.raw).hexdigest()
