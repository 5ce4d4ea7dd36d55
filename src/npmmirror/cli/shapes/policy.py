"""What `policy explain` and `prune` print."""

from npmmirror.cli.shapes.shape import Shape


class PolicySetting(Shape):
    """What holds for a package, and which key or rule says so."""

    value: str | int | bool | None
    rule: str


class ExplainedVersion(Shape):
    """What is to be said of a version."""

    version: str
    published_at: str | None
    known: bool
    held: bool
    bytes: int | None
    gone: bool
    wanted: bool
    rule: str
    why: str | None
    by_itself: bool


class ExplainedDocument(Shape):
    """Whether the limit of packuments leaves a package alone; `bytes` are of its newest one here."""

    wanted: bool
    rule: str
    why: str | None
    bytes: int | None


class Explained(Shape):
    """What `policy explain` prints."""

    package: str
    state: str | None
    wanted: bool
    rule: str
    why: str | None
    settings: dict[str, PolicySetting]
    document: ExplainedDocument
    doubted: bool
    versions: list[ExplainedVersion]


class PruneSums(Shape):
    """What goes by a rule."""

    files: int
    bytes: int


class PrunedFile(Shape):
    """A file that goes."""

    package: str
    version: str
    bytes: int
    rule: str


class Pruned(Shape):
    """What `prune` prints."""

    dry_run: bool
    packages: int
    files: int
    bytes: int
    rules: dict[str, PruneSums]
    listed: list[PrunedFile]
    left_out: int
