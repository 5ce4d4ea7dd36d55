"""What a tarball's `package.json` says otherwise than the packument, as the capture log keeps it.

Bounded: whoever publishes a manifest of a megabyte has a few hundred characters of it kept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

MOST: Final = 16
"""Differences that are kept one by one; of the others the number is."""
MOST_CHARACTERS: Final = 200
"""Of a value, and of a field's name."""

DIFFERS: Final = "differs"
"""The reason where both could be read."""
NO_MANIFEST: Final = "no_manifest"
"""The reason where the packument has no such version (any more)."""
NOT_COMPARED: Final = frozenset({NO_MANIFEST, "too_far", "too_large"})
"""Reasons that say nothing of the tarball: it was not looked at, or not to the end."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field: what the packument says, and the tarball; None where one of them has none.

    `field` is `name`, `version`, or the field and the key in it: `scripts.install`.
    """

    field: str
    packument: str | None
    tarball: str | None

    @classmethod
    def cut(cls, field: str, packument: str | None, tarball: str | None) -> "Difference":
        """One whose texts can be kept: by their lengths, and by what is in them."""
        return cls(_cut(field), _cut(packument), _cut(tarball))


@dataclass(frozen=True, slots=True)
class Confusion:
    """That the two do not agree, or were not compared.

    `reason` is `differs`; `no_package_json`, `not_an_archive`, `damaged` (gzip), `not_json`,
    `not_an_object`, `too_deep` where the tarball has nothing that could agree; or one of
    `NOT_COMPARED`. `more` counts differences beyond those that are kept.
    """

    reason: str
    differences: tuple[Difference, ...] = ()
    more: int = 0

    @classmethod
    def of(cls, differences: Iterable[Difference]) -> "Confusion | None":
        """Of these differences; None where there are none."""
        found = tuple(differences)
        if not found:
            return None
        return cls(DIFFERS, found[:MOST], max(len(found) - MOST, 0))

    @classmethod
    def read(cls, facts: Mapping[str, Any] | None) -> "Confusion | None":
        """What `facts` of some confusion were; None of none."""
        if facts is None:
            return None
        told = facts.get("differences", ())
        return cls(facts["reason"], tuple(Difference(*each) for each in told), facts.get("more", 0))

    @property
    def facts(self) -> dict[str, Any]:
        """As the capture log and the index keep it: JSON values."""
        told: dict[str, Any] = {"reason": self.reason}
        if self.differences:
            told["differences"] = [[d.field, d.packument, d.tarball] for d in self.differences]
        if self.more:
            told["more"] = self.more
        return told


def _cut(text: Any) -> Any:
    if text is None:
        return None
    kept = text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
    # A package's name may have a lone surrogate in it, which no table can hold.
    return kept.encode("utf-8", "backslashreplace").decode()
