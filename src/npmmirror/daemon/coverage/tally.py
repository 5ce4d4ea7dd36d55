"""The sums of a coverage. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from npmmirror.daemon.coverage.wishes import REASONS, WANTED_REASONS, Reason, Why

Report = dict[str, Any]


@dataclass(slots=True)
class Missing:
    """What is missing for one reason.

    `known_bytes` are of files that were held once, `unpacked_bytes` upstream's word of what is in
    the others (not their size), `unsized` have neither.
    """

    count: int = 0
    words: Counter[str] = field(default_factory=Counter)
    known_bytes: int = 0
    unpacked_bytes: int = 0
    unsized: int = 0

    def add(
        self, word: str, count: int = 1, known: int = 0, unpacked: int = 0, unsized: int = 0
    ) -> None:
        """So many more."""
        self.count += count
        self.words[word] += count
        self.known_bytes += known
        self.unpacked_bytes += unpacked
        self.unsized += unsized


def _by_reason() -> dict[Reason, Missing]:
    return {reason: Missing() for reason in REASONS}


@dataclass(slots=True)
class Tally:
    """What was counted so far."""

    packages: int = 0
    packages_held: int = 0
    packages_complete: int = 0
    versions: int = 0
    versions_held: int = 0
    held_bytes: int = 0
    measured_unpacked: int = 0
    measured_bytes: int = 0
    missing_packages: dict[Reason, Missing] = field(default_factory=_by_reason)
    missing_versions: dict[Reason, Missing] = field(default_factory=_by_reason)

    def package(self, why: Why | None) -> None:
        """A package that is held, or why it is not."""
        self.packages += 1
        if why is None:
            self.packages_held += 1
        else:
            self.missing_packages[why.reason].add(why.word)

    def held(self, count: int, size: int, measured_bytes: int, measured_unpacked: int) -> None:
        """Versions whose files are held; of how many bytes those are that tell their content's."""
        self.versions += count
        self.versions_held += count
        self.held_bytes += size
        self.measured_bytes += measured_bytes
        self.measured_unpacked += measured_unpacked

    def missing(
        self, why: Why, count: int = 1, known: int = 0, unpacked: int = 0, unsized: int = 0
    ) -> None:
        """Versions whose files are not held."""
        self.versions += count
        self.missing_versions[why.reason].add(why.word, count, known, unpacked, unsized)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing that is wanted."""
        missing = (self.missing_packages, self.missing_versions)
        return not any(each[reason].count for each in missing for reason in WANTED_REASONS)

    def report(self) -> Report:
        """As `npmmirror coverage --json` has it."""
        return {
            "packages": {
                "expected": self.packages,
                "held": self.packages_held,
                "complete": self.packages_complete,
                "missing": {
                    reason: {"count": found.count, "words": _words(found)}
                    for reason, found in self.missing_packages.items()
                },
            },
            "versions": {
                "expected": self.versions,
                "held": self.versions_held,
                "held_bytes": self.held_bytes,
                "missing": {
                    reason: self._missing(found) for reason, found in self.missing_versions.items()
                },
            },
        }

    def _missing(self, found: Missing) -> Report:
        return {
            "count": found.count,
            "words": _words(found),
            "known_bytes": found.known_bytes,
            "unpacked_bytes": found.unpacked_bytes,
            "estimated_bytes": self._estimate(found),
            "unsized": found.unsized,
        }

    def _estimate(self, found: Missing) -> int | None:
        """Bytes of what is missing, as far as sizes are told; None where nothing compares."""
        if not found.unpacked_bytes:
            return found.known_bytes
        if not self.measured_unpacked:
            return None
        packed = found.unpacked_bytes * self.measured_bytes // self.measured_unpacked
        return found.known_bytes + packed


def _words(found: Missing) -> dict[str, int]:
    return dict(found.words.most_common())
