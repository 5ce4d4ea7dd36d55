"""What `show` prints."""

from typing import Any

from npmmirror.cli.shapes.shape import Seq, Shape


class Skipped(Shape):
    """Why a package is not wanted."""

    reason: str
    detail: str
    at: str


class Person(Shape):
    """Somebody whom a document names."""

    role: str
    name: str | None
    email: str | None


class DocumentWork(Shape):
    """The row of the work list for a document."""

    reason: str
    detail: str
    attempts: int
    next_try: str | None
    since: str


class ShownVersion(Shape):
    """A version, in what is shown of its package."""

    version: str
    present: bool
    published_at: str | None
    deprecated: str | None
    path: str | None
    size: int | None
    signature: str
    tarball: str
    reason: str | None
    detail: str | None
    attempts: int
    next_try: str | None


class ShownRevision(Shape):
    """A captured document, in what is shown of its package."""

    revision: int
    ordinal: int
    rev: str | None
    announced_rev: str | None
    seq: Seq | None
    observed_at: str
    stale: bool
    sha256: str
    length: int


class ShownEvent(Shape):
    """An event."""

    id: int
    kind: str
    seq: Seq | None
    version: str | None
    tag: str | None
    happened_at: str | None
    observed_at: str
    publisher: str | None
    detail: dict[str, Any]


class Package(Shape):
    """What `show NAME` prints."""

    package: str
    state: str
    skipped: Skipped | None
    ordinal: int | None
    seq: Seq | None
    rev: str | None
    observed_at: str | None
    created_at: str | None
    modified_at: str | None
    latest: str | None
    latest_author: str | None
    license: str | None
    dist_tags: dict[str, str]
    people: list[Person]
    problems: list[str]
    document_work: DocumentWork | None
    versions: list[ShownVersion]
    revisions: list[ShownRevision]
    events: list[ShownEvent]


class Dist(Shape):
    """What upstream claims of a tarball."""

    tarball: str | None
    integrity: str | None
    shasum: str | None
    file_count: int | None
    unpacked_size: int | None


class Dependency(Shape):
    """What a version needs."""

    kind: str
    name: str
    requirement: str


class ManifestDifference(Shape):
    """A field of which the packument and the tarball's package.json say different things."""

    field: str
    packument: str | None
    tarball: str | None


class ManifestConfusion(Shape):
    """How a tarball's package.json differs from the packument; `more` counts what is left out."""

    reason: str
    differences: list[ManifestDifference]
    more: int


class Version(ShownVersion):
    """What `show NAME@VERSION` prints."""

    package: str
    package_state: str
    dist: Dist
    license: str | None
    publisher: str | None
    has_install_script: bool
    attestations: str | None
    unverifiable: bool
    sha512: str | None
    verified_at: str | None
    checked_at: str | None
    check: str | None
    manifest_confusion: ManifestConfusion | None
    dist_tags: list[str]
    dependencies: list[Dependency] | None
    events: list[ShownEvent]


class Revision(ShownRevision):
    """What `show NAME --revision N` prints."""

    package: str
    etag: str | None
    segment: int
    offset: int
    stored_length: int
    delta: bool
    version_count: int | None
    dist_tags: dict[str, str] | None


class Moment(Shape):
    """A moment of the past: a record, and the time at which it counts as captured."""

    ordinal: int
    committed_at: str


class PastVersion(Shape):
    """A version, in what is shown of its package as it was."""

    version: str
    published_at: str | None
    deprecated: str | None
    publisher: str | None
    held: bool
    path: str | None
    size: int | None


class PastPackage(Shape):
    """What `show NAME --at TIME` prints."""

    package: str
    at: Moment
    state: str
    removed_by: int | None
    created_at: str | None
    modified_at: str | None
    dist_tags: dict[str, str]
    people: list[Person]
    problems: list[str]
    versions: list[PastVersion]
    revision: ShownRevision
    events: list[ShownEvent]
