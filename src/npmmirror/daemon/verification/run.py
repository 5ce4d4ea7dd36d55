"""One verification, from its first phase or from where the one before left off."""

from dataclasses import dataclass
from typing import Any

import structlog

from npmmirror.clock import timestamp
from npmmirror.daemon.mirror import Mirror
from npmmirror.daemon.verification.bench import Bench, Ticker, bench_of
from npmmirror.daemon.verification.captures import CaptureCheck
from npmmirror.daemon.verification.documents import DocumentCheck
from npmmirror.daemon.verification.orphans import Key, OrphanCheck
from npmmirror.daemon.verification.repair import Repairer
from npmmirror.daemon.verification.tally import PHASES, Phase, Report, Tally, Tell, What
from npmmirror.daemon.verification.tarballs import TarballCheck
from npmmirror.index import Resumption

COMMAND = "verify"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be verified: these packages, or everything (None).

    `restart` forgets how far an earlier verification of everything came; `force` repairs where so
    much is damaged that a disk is likelier not to be mounted.
    """

    packages: tuple[str, ...] | None = None
    repair: bool = False
    restart: bool = False
    force: bool = False

    def to_json(self) -> dict[str, Any]:
        """For the control socket."""
        return {
            "packages": list(self.packages) if self.packages is not None else None,
            "repair": self.repair,
            "restart": self.restart,
            "force": self.force,
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Asked":
        """What `to_json` made."""
        packages = told["packages"]
        return cls(
            tuple(packages) if packages is not None else None,
            *(bool(told[key]) for key in ("repair", "restart", "force")),
        )


class Verification:
    """Takes the phases in their order; everything found on the way is in its tally.

    A verification of everything notes its place as it goes, so that the next one goes on there.
    """

    def __init__(self, bench: Bench, asked: Asked, tell: Tell) -> None:
        self._bench = bench
        self._asked = asked
        self._ticker = Ticker(tell, bench.clock)
        self._tally = Tally(timestamp(bench.clock.now()))
        self._orphans: list[Key] = []

    async def run(self, mirror: Mirror | None = None, *, serves: bool = False) -> Report:
        """Verify, then repair by this mirror where that was asked for; the report.

        Raises:
            NpmmirrorError: the index or the directory of the tarballs cannot be used.
        """
        await self._resume()
        for phase in PHASES[PHASES.index(self._tally.phase) :]:
            if phase != self._tally.phase:
                self._tally.phase, self._tally.after = phase, []
            await self._note()
            await self._take(phase)
        if self._asked.repair and mirror is not None:
            repairer = Repairer(self._bench, mirror, self._tally, self._ticker, serves=serves)
            await repairer.run(self._asked.packages, self._orphans, force=self._asked.force)
        if self._asked.packages is None and not self._tally.refused:
            await self._bench.index.forget_resumption(COMMAND)
        report = self._tally.report(self._asked.packages, timestamp(self._bench.clock.now()))
        self._log(report)
        return report

    async def _take(self, phase: Phase) -> None:
        packages, parts = self._asked.packages, (self._bench, self._tally, self._ticker)
        match phase:
            case "captures" if packages is None:
                # As a whole each time: to read the log takes minutes, to decode it takes hours.
                await CaptureCheck(*parts).run()
            case "documents":
                await DocumentCheck(*parts).run(packages, self._note)
            case "tarballs":
                await TarballCheck(*parts).run(packages, self._note)
            case "files":
                await self._find_lost()
                self._orphans = await OrphanCheck(*parts).run(packages)
            case _:
                return

    async def _find_lost(self) -> None:
        """Files that an earlier repair dropped and could not fetch again."""
        for only in [None] if self._asked.packages is None else self._asked.packages:
            after = ("", "") if only is None else (only, "")
            while rows := await self._bench.reader.damaged(after, 1000, only):
                after = (rows[-1].name, rows[-1].version)
                for row in rows:
                    if not row.held:
                        self._tally.find(
                            What.LOST,
                            package=row.name,
                            version=row.version,
                            detail=f"dropped, for it was {row.reason}; not fetched again since",
                        )

    async def _resume(self) -> None:
        if self._asked.packages is not None:
            return
        if self._asked.restart:
            await self._bench.index.forget_resumption(COMMAND)
        note = await self._bench.reader.resumption(COMMAND)
        tally = Tally.at(note.place) if note is not None else None
        if tally is not None:
            self._tally = tally
            log.info("verification_resumed", started_at=tally.started_at, phase=tally.phase)

    async def _note(self) -> None:
        if self._asked.packages is None:
            tally = self._tally
            await self._bench.index.note_resumption(
                Resumption(COMMAND, tally.started_at, tally.place())
            )

    def _log(self, report: Report) -> None:
        tell = log.info if report["well"] else log.warning
        tell(
            "verified",
            well=report["well"],
            records=report["records"],
            documents=report["documents"],
            tarballs=report["tarballs"],
            files=report["files"],
            problems=report["problems"],
            repaired=report["repaired"],
        )


async def verify(mirror: Mirror, asked: Asked, tell: Tell, *, serves: bool = False) -> Report:
    """Verify, and repair if asked to, by an open mirror that runs."""
    async with bench_of(
        mirror.config, mirror.opened, mirror.clock, mirror.recorder.settle
    ) as bench:
        return await Verification(bench, asked, tell).run(mirror, serves=serves)
