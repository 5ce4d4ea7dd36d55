"""What `coverage` prints."""

from npmmirror.cli.shapes.shape import Counts, Shape
from npmmirror.cli.shapes.status import LastCommit


class MissingPackages(Shape):
    """Packages of which no document is held, for one reason."""

    count: int
    words: Counts


class MissingVersions(MissingPackages):
    """Versions whose tarballs are not held, for one reason."""

    known_bytes: int
    unpacked_bytes: int
    estimated_bytes: int | None
    unsized: int


class PackageCoverage(Shape):
    """Packages."""

    expected: int
    held: int
    complete: int
    missing: dict[str, MissingPackages]


class VersionCoverage(Shape):
    """Versions."""

    expected: int
    held: int
    held_bytes: int
    missing: dict[str, MissingVersions]


class Coverage(Shape):
    """What `coverage` prints."""

    asked: list[str] | None
    complete: bool
    packages: PackageCoverage
    versions: VersionCoverage
    last_commit: LastCommit | None


class MissingItem(Shape):
    """A line of what `coverage --list` prints."""

    package: str
    version: str | None
    reason: str
    word: str | None
    detail: str | None
    size: int | None
    unpacked_size: int | None


class ManifestHead(Shape):
    """The mark that a manifest goes up to."""

    ordinal: int
    sha256: str
    committed_at: str


class WrittenManifest(Shape):
    """What `coverage --manifest` prints."""

    file: str
    head: ManifestHead
    files: int
    bytes: int
    sha256: str


class Deviation(Shape):
    """Something that is not as a manifest says."""

    what: str
    package: str | None
    version: str | None
    path: str | None
    detail: str


class CheckedManifest(Shape):
    """What `coverage --check` prints."""

    well: bool
    file: str
    head: ManifestHead
    records: int
    tarballs: int
    tarball_bytes: int
    problems: int
    findings: list[Deviation]
    findings_left_out: int
