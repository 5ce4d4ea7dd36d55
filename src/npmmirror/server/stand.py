"""A package as a view of the registry sees it: the values that pass between the parts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from npmmirror.capture import Location


@dataclass(frozen=True, slots=True)
class Revision:
    """A captured document. `sha256` is hex, `length` bytes; both of the raw document."""

    ordinal: int
    sha256: str
    length: int
    place: Location
    erased: bool = False


@dataclass(frozen=True, slots=True)
class HeldTarball:
    """A tarball that is held. `path` is relative to `storage.packages_dir`; `sha512` is hex."""

    version: str
    path: str
    size: int
    sha512: str


@dataclass(frozen=True, slots=True)
class Stand:
    """A package, and which of its tarballs are held now.

    Attributes:
        name: The package.
        state: As in the index: `live`, `unpublished`, `security_hold`, `removed` or `erased`.
        revision: The document that a view shows.
        held: The held tarballs by version.
    """

    name: str
    state: str
    revision: Revision
    held: Mapping[str, HeldTarball] = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        """Whether the view's registry has the package: upstream's 404 is ours, too."""
        return self.state not in {"", "removed", "erased"} and not self.revision.erased
