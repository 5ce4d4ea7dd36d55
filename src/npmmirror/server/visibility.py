"""What clients see of a package: its versions but those that are withheld or not to be had. Pure.

A hidden version is left out. `latest`, where it named one, moves to the newest version that npm
would choose in its place; another tag that named one goes, as on npm when a version is unpublished.
`time` stays whole, as there, too: it tells when things were published, not what can be had.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from npmmirror.packument import Packument
from npmmirror.policy.order import is_stable, place
from npmmirror.server.packuments import Shown
from npmmirror.server.stand import Stand
from npmmirror.server.withheld import WithheldList

LATEST: Final = "latest"
_THERE: Final = frozenset({"live", "security_hold"})
"""States of packages of which upstream has what its newest document names."""


class Verdict(Enum):
    """What a client gets of a version's tarball."""

    SHOWN = "shown"
    WITHHELD = "withheld"
    UNHELD = "unheld"


@dataclass(frozen=True, slots=True)
class Visibility:
    """What `server.withhold` and `server.unheld` make of packages.

    `fetches` says that what is not held is fetched when it is asked for, and so is shown where
    upstream has it (`server.unheld = "fetch"`, and somebody there who fetches).
    """

    withheld: WithheldList
    fetches: bool = False

    def live(self, document: Packument, stand: Stand) -> Shown:
        """What the registry of now shows."""
        return self.shown(document, stand.held, None if stand.state in _THERE else ())

    def past(self, document: Packument, stand: Stand) -> Shown:
        """What a registry of the past shows: what is held now, and nothing else."""
        return self.shown(document, stand.held, ())

    def shown(
        self, document: Packument, held: Collection[str], fetchable: Collection[str] | None = None
    ) -> Shown:
        """What of a document is shown.

        `held` are the versions whose tarballs are held now, `fetchable` those that upstream has
        now; None: all of the document's. Takes milliseconds where thousands are hidden, and next
        to nothing where none is: call it in a thread where the document is large.
        """
        withheld = self._withheld(document)
        hidden = withheld | self._missing(document, held, fetchable)
        if not hidden:
            return Shown(tuple(document.versions), document.tags)
        versions = tuple(version for version in document.versions if version not in hidden)
        return Shown(versions, _tags(document, versions, hidden), withheld, _mark(hidden))

    def of(self, name: str, version: str, held: Collection[str]) -> Verdict:
        """What a client gets that asks for a version's tarball by its address."""
        withheld = self.withheld.of(name)
        if withheld is not None and withheld.covers(version):
            return Verdict.WITHHELD
        return Verdict.SHOWN if version in held else Verdict.UNHELD

    def withholds(self, name: str) -> bool:
        """Whether a package is withheld whole."""
        withheld = self.withheld.of(name)
        return withheld is not None and withheld.whole

    def _missing(
        self, document: Packument, held: Collection[str], fetchable: Collection[str] | None
    ) -> frozenset[str]:
        if self.fetches and fetchable is None:
            return frozenset()
        missing = document.versions.keys() - held
        return frozenset(missing.difference(fetchable or ()) if self.fetches else missing)

    def _withheld(self, document: Packument) -> frozenset[str]:
        withheld = self.withheld.of(document.name)
        if withheld is None:
            return frozenset()
        return frozenset(version for version in document.versions if withheld.covers(version))


def _mark(hidden: Collection[str]) -> bytes:
    """A digest: equal where the same versions are hidden."""
    digest = hashlib.blake2b(digest_size=16)
    for version in sorted(hidden):
        digest.update(version.encode("utf-8", "surrogatepass") + b"\0")
    return digest.digest()


def _tags(
    document: Packument, visible: Iterable[str], hidden: Collection[str]
) -> Mapping[str, str]:
    """The tags that name no hidden version. One that names none at all is upstream's own."""
    tags = {tag: version for tag, version in document.tags.items() if version not in hidden}
    if LATEST in tags or LATEST not in document.tags:
        return tags
    moved = _instead(document, visible, document.tags[LATEST])
    # In the place that it had, for whoever shows them in order.
    told = ((tag, moved if tag == LATEST else tags.get(tag)) for tag in document.tags)
    return {tag: version for tag, version in told if version is not None}


def _instead(document: Packument, visible: Iterable[str], named: str) -> str | None:
    """What npm would choose for `latest` in the place of a version that is hidden.

    The highest that is no prerelease, not deprecated, and not above the one that was named: those
    were published without becoming `latest`. Where there is none, one above; then a deprecated
    one; and of prereleases alone the same. None where nothing is a version of semver.
    """
    placed = [(at, version) for version in visible if (at := place(version)) is not None]
    placed = [one for one in placed if is_stable(one[0])] or placed
    placed.sort(reverse=True)
    limit = place(named)
    below = [one for one in placed if limit is None or one[0] <= limit]
    for _, version in (*below, *placed):
        if not _is_deprecated(document, version):
            return version
    return next((version for _, version in (*below, *placed)), None)


def _is_deprecated(document: Packument, version: str) -> bool:
    if b"deprecated" not in bytes(document.versions[version]):
        return False
    return document.manifest(version).deprecated is not None
