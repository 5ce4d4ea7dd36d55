"""What a verification has found so far, and how far it is. Pure."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

import orjson

from npmmirror.sqlite import storable

Report = dict[str, Any]
Tell = Callable[[Report], None]
"""Is told of the progress."""
Note = Callable[[], Awaitable[None]]
"""Makes durable how far it is."""

Phase = Literal["captures", "documents", "tarballs", "files"]
PHASES: tuple[Phase, ...] = ("captures", "documents", "tarballs", "files")
LISTED = 2000
"""Findings that are kept one by one; those beyond are counted."""


class What(StrEnum):
    """The kinds of findings."""

    CAPTURE_DAMAGED = "capture_damaged"  # a part of the log is not what was written
    DOCUMENT_UNREADABLE = "document_unreadable"  # a captured document cannot be had any more
    NOT_INDEXED = "not_indexed"  # the index lacks a record of the log
    NOT_RECORDED = "not_recorded"  # the log lacks the record of a row
    INDEX_DIFFERS = "index_differs"  # a row says something else than its record
    MISSING = "missing"  # a held file is not there
    ALTERED = "altered"  # a held file has other bytes than those that were stored
    UNREADABLE = "unreadable"  # the disk refuses to read a held file
    CLAIM_DIFFERS = "claim_differs"  # upstream now claims another digest than it did
    LOST = "lost"  # dropped for damage, and not fetched again since
    ORPHAN = "orphan"  # a tarball that the index does not know
    STRAY = "stray"  # a file whose name is no tarball's


@dataclass(slots=True)
class Finding:
    """Something that is not as it should be.

    `repair` is empty while nothing was done about it. It counts as repaired where `repaired`.
    """

    what: str
    package: str | None = None
    version: str | None = None
    path: str | None = None
    detail: str = ""
    repair: str = ""
    repaired: bool = False


@dataclass(slots=True)
class Tally:
    """All that was counted and found; what a later start needs to go on from here.

    `after` is the place within the phase, in the phase's own words.
    """

    started_at: str
    phase: Phase = PHASES[0]
    after: list[str] = field(default_factory=list)
    records: int = 0
    documents: int = 0
    erased: int = 0
    document_bytes: int = 0
    tarballs: int = 0
    tarball_bytes: int = 0
    files: int = 0
    problems: int = 0
    repaired: int = 0
    findings: list[Finding] = field(default_factory=list)
    refused: str = ""

    @property
    def well(self) -> bool:
        """Whether everything is as it should be, by now."""
        return self.problems == self.repaired and not self.refused

    def find(self, what: What, **told: str | None) -> None:
        """Note a finding."""
        self.problems += 1
        if len(self.findings) < LISTED:
            # Names of files, and of packages in the log, may hold what JSON cannot.
            known: dict[str, Any] = {
                key: storable(text) for key, text in told.items() if text is not None
            }
            self.findings.append(Finding(what.value, **known))

    def mend(
        self, key: tuple[str, str], kinds: Collection[What], word: str, *, repaired: bool
    ) -> None:
        """Note what became of the findings of these kinds about a tarball."""
        listed = [
            finding
            for finding in self.findings
            if (finding.package, finding.version) == key and finding.what in kinds
        ]
        for finding in listed:
            finding.repair, finding.repaired = word, repaired
        if listed or self.problems > len(self.findings):
            self.repaired += repaired * max(len(listed), 1)

    def report(self, packages: tuple[str, ...] | None, ended_at: str) -> Report:
        """As `npmmirror verify --json` prints it."""
        return {
            "well": self.well,
            "packages": list(packages) if packages is not None else None,
            "started_at": self.started_at,
            "ended_at": ended_at,
            "records": self.records,
            "documents": self.documents,
            "documents_erased": self.erased,
            "document_bytes": self.document_bytes,
            "tarballs": self.tarballs,
            "tarball_bytes": self.tarball_bytes,
            "files": self.files,
            "problems": self.problems,
            "repaired": self.repaired,
            "refused": self.refused or None,
            "findings": [_told(finding) for finding in self.findings],
            "findings_left_out": self.problems - len(self.findings),
        }

    def place(self) -> str:
        """Everything, as text."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def at(cls, place: str) -> "Tally | None":
        """What `place` wrote; None where another version of this program did."""
        try:
            told = orjson.loads(place)
            found = [Finding(**finding) for finding in told.pop("findings")]
            tally = cls(**told, findings=found)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        return tally if tally.phase in PHASES else None


def _told(finding: Finding) -> Report:
    return {
        "what": finding.what,
        "package": finding.package,
        "version": finding.version,
        "path": finding.path,
        "detail": finding.detail,
        "repair": finding.repair or None,
        "repaired": finding.repaired,
    }
