"""What a captured document does to the index: facts for its rows, and events.

Made by `npmmirror.diff` from a document and what the index knows; applied by `npmmirror.index`,
alike when a change is recorded and when the log is replayed.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from npmmirror.capture import Chain, Location


class EventKind(StrEnum):
    """The kinds of events: facts found by comparing two successive captures of a package."""

    PACKAGE_OBSERVED = "package_observed"
    PACKAGE_CREATED = "package_created"
    VERSION_PUBLISHED = "version_published"
    VERSION_UNPUBLISHED = "version_unpublished"
    PACKAGE_UNPUBLISHED = "package_unpublished"
    PACKAGE_REMOVED = "package_removed"
    PACKAGE_RESTORED = "package_restored"
    SECURITY_HOLD = "security_hold"
    DIST_TAG_SET = "dist_tag_set"
    DIST_TAG_REMOVED = "dist_tag_removed"
    DEPRECATED = "deprecated"
    UNDEPRECATED = "undeprecated"
    MAINTAINER_ADDED = "maintainer_added"
    MAINTAINER_REMOVED = "maintainer_removed"
    MANIFEST_CHANGED = "manifest_changed"


@dataclass(frozen=True, slots=True)
class Event:
    """A fact. `happened_at` is the document's word (None: not told), in its own spelling."""

    kind: EventKind
    version: str | None = None
    tag: str | None = None
    happened_at: str | None = None
    publisher: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """Somebody named by the document; `role` is `maintainer`, or `publisher` of `latest`."""

    role: str
    name: str
    email: str | None = None


class DependencyFacts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A dependency of a version that a dist-tag names.

    `kind` is `dependencies`, `devDependencies`, `peerDependencies`, `optionalDependencies` or
    `bundleDependencies` (whose `requirement` is "").
    """

    version: str
    kind: str
    name: str
    requirement: str


class VersionFacts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A version's row: the parts of its manifest that are asked for often.

    `digest` is the first 16 bytes of the SHA-256 of the manifest's bytes in the document.
    Anything the document does not tell, or tells in another type than npm's, is None. `signature`
    is what `npmmirror.signatures` makes of its signatures, "" where nobody looked; `attested` tells
    that the document speaks of attestations.
    """

    version: str
    digest: bytes
    published_at: str | None = None
    tarball: str | None = None
    shasum: str | None = None
    integrity: str | None = None
    file_count: int | None = None
    unpacked_size: int | None = None
    license: str | None = None
    publisher: str | None = None
    deprecated: str | None = None
    has_install_script: bool = False
    signature: str = ""
    attested: bool = False


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """A package's row, as the document tells it.

    `state` is `live`, `unpublished` or `security_hold`; `modifications` counts `time` entries of
    versions, those no longer there included.
    """

    state: str
    rev: str | None
    created_at: str | None
    modified_at: str | None
    latest: str | None
    latest_author: str | None
    license: str | None
    version_count: int
    modifications: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effects:
    """The whole difference that a document makes. None where a set stayed as it was."""

    package: PackageFacts
    versions: tuple[VersionFacts, ...] = ()
    """New versions and those whose bytes changed."""
    vanished: tuple[str, ...] = ()
    """Versions that the index has as present and the document no longer names."""
    tags: dict[str, str] | None = None
    people: tuple[PersonFacts, ...] | None = None
    dependencies: tuple[DependencyFacts, ...] | None = None
    events: tuple[Event, ...] = ()
    fresh: tuple[str, ...] = ()
    """Versions that policy `new` wants: published since the last look (or since following)."""
    keys: int = 0
    """Ordinal of the registry's keys that signatures were held against; 0: there were none."""


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """What the index holds of a version.

    `present` is False once upstream dropped it. `state` tells of the tarball: `held`,
    `unverifiable`, `dropped`, `pruned` (dropped by the policy, which may want it again), or ""
    where it was never stored.
    """

    digest: bytes
    present: bool = True
    state: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What the index knows of a package before a document is looked at.

    `state` is as in `PackageFacts`, or `removed`, or `erased`: then nothing else is known but which
    versions' files were dropped. `rev`, `modified_at`, `etag` and `sha256` (hex)
    are of the newest capture that is not stale; `place` is where it lies. `stale_sha256` is of the
    newest stale one.
    """

    state: str
    rev: str | None = None
    modified_at: str | None = None
    etag: str | None = None
    sha256: str | None = None
    place: Location | None = None
    chain: Chain | None = None
    stale_sha256: str | None = None
    versions: dict[str, KnownVersion] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    maintainers: frozenset[str] = frozenset()
