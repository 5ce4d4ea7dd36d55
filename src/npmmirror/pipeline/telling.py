"""What the log says of the work: its stages, a line for each change, sums where there are many."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import anyio
import structlog

from npmmirror.change import Seq
from npmmirror.clock import Clock
from npmmirror.confusion import NOT_COMPARED
from npmmirror.index import Mark
from npmmirror.outcome import Failed, Gone, HeldTarball, Mirrored, MissedTarball, Skipped
from npmmirror.pipeline.job import PACKUMENT, Done
from npmmirror.pipeline.removal import NOT_FOUND
from npmmirror.policy import POLICY

SECOND = 1.0
UNCHANGED = "unchanged"
"""Why a change is skipped whose document is the one that is held."""

End = Literal["mirrored", "skipped", "gone", "failed"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """A finished job in the numbers of its line.

    `versions` counts new ones and those whose manifest changed, `tarballs` those held anew,
    `bytes` the document and these tarballs. `end` is None where the job was no change, and
    nothing came of it.
    """

    end: End | None
    reason: str | None = None
    events: int = 0
    versions: int = 0
    tarballs: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, done: Done) -> "Told":
        """The numbers of a job."""
        document = done.document
        effects = document.effects if document is not None else None
        sizes = [tarball.size for tarball in _held(done)]
        end, reason = _end(done, brought=document is not None or bool(sizes))
        return cls(
            end,
            reason,
            events=(len(effects.events) if effects is not None else 0) + (done.gone is not None),
            versions=len(effects.versions) if effects is not None else 0,
            tarballs=len(sizes),
            bytes=sum(sizes) + (document.payload.length if document is not None else 0),
        )


@dataclass(slots=True)
class Sums:
    """What finished jobs add up to; `ends` counts them by their ends."""

    changes: int = 0
    ends: Counter[End | None] = field(default_factory=Counter)
    events: int = 0
    versions: int = 0
    tarballs: int = 0
    bytes: int = 0

    def add(self, done: Done, told: Told) -> None:
        """Count a job in."""
        self.changes += len(done.job.tickets)
        self.ends[told.end] += 1
        self.events += told.events
        self.versions += told.versions
        self.tarballs += told.tarballs
        self.bytes += told.bytes


class Telling:
    """Tells of what is committed.

    Each change has a line, `most` of them a second (all, where the log takes everything); what is
    over is summed up. `quiet` makes them debug lines. What failed is told in any case.
    """

    def __init__(self, clock: Clock, *, most: int, quiet: bool) -> None:
        self._clock = clock
        self._most = most
        self._quiet = quiet
        self._began = -SECOND
        self._lines = 0
        self._over: Sums | None = None
        self._is_over = anyio.Event()
        self.sums = Sums()
        self.errors: Counter[str] = Counter()
        """Failures of documents and tarballs since the start, by reason."""

    def committed(self, dones: Sequence[Done]) -> None:
        """Tell of a group that is in the index."""
        is_shown = log.is_enabled_for(logging.DEBUG if self._quiet else logging.INFO)
        is_capped = not log.is_enabled_for(logging.DEBUG)
        for done in dones:
            told = Told.of(done)
            self.sums.add(done, told)
            self.errors.update(_tell_failures(done))
            _tell_confusions(done)
            if not is_shown or told.end in {None, "failed"}:
                continue
            if told.reason == POLICY:
                # Where little is wanted they are nearly all; the index has them.
                _tell_end(done, told, quiet=True)
            elif not is_capped or self._is_within(done, told):
                _tell_end(done, told, quiet=self._quiet)

    async def run(self) -> None:
        """Tell what is over about a second after it began, for ever."""
        while True:
            await self._is_over.wait()
            while (left := self._began + SECOND - self._clock.monotonic()) > 0:
                await self._clock.sleep(left)
            self.sum_up()

    def sum_up(self) -> None:
        """Tell what is over and not told yet."""
        over, self._over = self._over, None
        if over is None:
            return
        self._is_over = anyio.Event()
        log.info(
            "more_changes",
            changes=over.changes,
            mirrored=over.ends["mirrored"],
            skipped=over.ends["skipped"],
            gone=over.ends["gone"],
            events=over.events,
            versions=over.versions,
            tarballs=over.tarballs,
            bytes=over.bytes,
            seconds=round(self._clock.monotonic() - self._began, 1),
        )

    def _is_within(self, done: Done, told: Told) -> bool:
        """Whether a job's line is written; where not, it counts in the sum."""
        now = self._clock.monotonic()
        if now - self._began >= SECOND:
            self.sum_up()
            self._began, self._lines = now, 0
        if self._lines < self._most:
            self._lines += 1
            return True
        if self._over is None:
            self._over = Sums()
            self._is_over.set()
        self._over.add(done, told)
        return False


def tell_moved(dones: Sequence[Done]) -> None:
    """Tell which tarballs have their final names."""
    if not log.is_enabled_for(logging.DEBUG):
        return
    for done in dones:
        for tarball in _held(done):
            if tarball.staged is not None:
                log.debug(
                    "moved_to_remote",
                    package=done.job.package,
                    seq=_seq(done),
                    version=tarball.version,
                    path=tarball.path,
                )


def tell_added(dones: Sequence[Done], mark: Mark | None) -> None:
    """Tell what is in the index now; `mark` ends the group in the capture log, if it has one."""
    if mark is None or not log.is_enabled_for(logging.DEBUG):
        return
    for done in dones:
        if done.document is not None or done.gone is not None or _held(done):
            log.debug("added_to_db", package=done.job.package, seq=_seq(done), mark=mark.ordinal)


def _held(done: Done) -> list[HeldTarball]:
    return [tarball for tarball in done.tarballs if isinstance(tarball, HeldTarball)]


def _end(done: Done, *, brought: bool) -> tuple[End | None, str | None]:
    match done.outcome:
        case Failed(reason=reason):
            return "failed", reason
        case Gone(reason=reason):
            return "gone", reason
        case Skipped(reason=reason):
            return "skipped", reason
        case Mirrored() if brought:
            return "mirrored", None
    return (None, None) if done.job.change is None else ("skipped", UNCHANGED)


def _tell_failures(done: Done) -> list[str]:
    """A line for each; their reasons."""
    reasons = []
    if isinstance(done.outcome, Failed) and not _is_nobodys(done, done.outcome):
        _tell_failed(done, done.outcome)
        reasons.append(done.outcome.reason)
    for tarball in done.tarballs:
        if isinstance(tarball, MissedTarball) and isinstance(tarball.outcome, Failed):
            _tell_tarball_failed(done, tarball.version, tarball.outcome)
            reasons.append(tarball.outcome.reason)
    return reasons


def _is_nobodys(done: Done, failed: Failed) -> bool:
    """Whether a client asked for a name that upstream does not have: that is no trouble of ours."""
    return done.job.light and failed.reason == NOT_FOUND


def _tell_failed(done: Done, failed: Failed) -> None:
    retry_at, attempts = _next_try(done, PACKUMENT)
    log.warning(
        "failed",
        package=done.job.package,
        seq=_seq(done),
        reason=failed.reason,
        detail=failed.detail,
        attempts=attempts,
        retry_at=retry_at,
    )


def _tell_tarball_failed(done: Done, version: str, failed: Failed) -> None:
    retry_at, attempts = _next_try(done, version)
    log.warning(
        "tarball_failed",
        package=done.job.package,
        seq=_seq(done),
        version=version,
        reason=failed.reason,
        detail=failed.detail,
        attempts=attempts,
        retry_at=retry_at,
    )


def _tell_confusions(done: Done) -> None:
    """A line for each tarball whose package.json is not what was published."""
    for tarball in _held(done):
        found = tarball.confusion
        if found is not None and found.reason not in NOT_COMPARED:
            log.warning(
                "manifest_confusion",
                package=done.job.package,
                seq=_seq(done),
                version=tarball.version,
                reason=found.reason,
                fields=[each.field for each in found.differences],
                more=found.more,
            )


def _next_try(done: Done, item: str) -> tuple[str | None, int | None]:
    """When the work list has an item tried again, and how often it was; "never": a dead letter."""
    row = next((row for row in done.work.put if row.item == item), None)
    return (None, None) if row is None else (row.not_before or "never", row.attempts)


def _tell_end(done: Done, told: Told, *, quiet: bool) -> None:
    """The line of a change, and of its tarballs that are not wanted."""
    tell = log.debug if quiet else log.info
    for tarball in done.tarballs:
        if isinstance(tarball, MissedTarball) and isinstance(tarball.outcome, Skipped):
            tell(
                "tarball_skipped",
                package=done.job.package,
                seq=_seq(done),
                version=tarball.version,
                reason=tarball.outcome.reason,
                detail=tarball.outcome.detail,
            )
    if told.end == "mirrored":
        _tell_mirrored(done, told, quiet=quiet)
    elif told.end == "skipped":
        tell("skipped_change", package=done.job.package, seq=_seq(done), reason=told.reason)
    else:
        tell(
            "gone",
            package=done.job.package,
            seq=_seq(done),
            reason=told.reason,
            events=told.events,
        )


def _tell_mirrored(done: Done, told: Told, *, quiet: bool) -> None:
    tell = log.debug if quiet else log.info
    change, document = done.job.change, done.document
    rev = document.rev if document is not None else None
    tell(
        "mirrored",
        package=done.job.package,
        seq=_seq(done),
        rev=rev or (change.rev if change is not None else None),
        events=told.events,
        versions=told.versions,
        tarballs=told.tarballs,
        bytes=told.bytes,
        left=len(done.work.put),
        seconds=round(done.seconds, 3),
    )


def _seq(done: Done) -> Seq | None:
    return done.job.change.seq if done.job.change is not None else None
