"""One line in the log for each finished job."""

import structlog

from npmmirror.outcome import Failed, Gone, HeldTarball, Mirrored, MissedTarball, Skipped
from npmmirror.pipeline.job import Done

log = structlog.get_logger("npmmirror.change")

_EVENTS = {Mirrored: "mirrored", Skipped: "skipped", Gone: "gone", Failed: "failed"}


def report(done: Done) -> None:
    """Tell how a job ended; failures of tarballs have lines of their own."""
    change, outcome = done.job.change, done.outcome
    line = log.bind(package=done.job.package)
    if change is not None:
        line = line.bind(seq=change.seq)
    for tarball in done.tarballs:
        if isinstance(tarball, MissedTarball):
            missed = tarball.outcome
            event = "tarball_failed" if isinstance(missed, Failed) else "tarball_skipped"
            level = line.warning if isinstance(missed, Failed) else line.info
            level(event, version=tarball.version, reason=missed.reason, detail=missed.detail)
    if isinstance(outcome, Failed):
        line.warning("failed", reason=outcome.reason, detail=outcome.detail)
        return
    held = sum(isinstance(tarball, HeldTarball) for tarball in done.tarballs)
    reason = "" if isinstance(outcome, Mirrored) else outcome.reason
    line.info(
        _EVENTS[type(outcome)],
        **({"reason": reason} if reason else {}),
        new=done.document is not None,
        events=_events(done),
        tarballs=held,
        left=len(done.work.put),
        ms=round(done.seconds * 1000),
    )


def _events(done: Done) -> int:
    effects = done.document.effects if done.document is not None else None
    return len(effects.events) if effects is not None else 0
