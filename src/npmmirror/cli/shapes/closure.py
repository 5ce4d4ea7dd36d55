"""What `sync` prints of a closure: with dependencies, or of a lock file."""

from npmmirror.cli.shapes.shape import Shape


class ClosureVersion(Shape):
    """A version that belongs to it."""

    version: str
    held: bool
    size: int | None
    fetched: bool
    required_by: list[str]


class ClosurePackage(Shape):
    """A package, with the versions that belong to it."""

    package: str
    outcome: str | None
    versions: list[ClosureVersion]


class ClosureLack(Shape):
    """Something that is not there."""

    package: str
    spec: str
    reason: str
    required_by: list[str]
    optional: bool


class ClosureLeftOut(Shape):
    """Something that is of no registry."""

    name: str
    spec: str
    what: str
    required_by: list[str]


class SyncedClosure(Shape):
    """What `sync --with-dependencies` and `sync --lockfile` print."""

    complete: bool
    packages: list[ClosurePackage]
    missing: list[ClosureLack]
    left_out: list[ClosureLeftOut]
