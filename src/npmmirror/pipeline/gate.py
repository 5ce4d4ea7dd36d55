"""One gate, keyed by package, before everything that works on a package."""

from npmmirror.pipeline.job import Job


class Gate:
    """Lets one job a package through, and holds it until its result is committed.

    A job that comes meanwhile joins the one in work as long as that has sent no request;
    otherwise it waits, joined by those that come after it. So the memory of the gate is bounded
    by the number of jobs handed in, and a package's documents are compared one after the other.
    """

    def __init__(self) -> None:
        self._running: dict[str, Job] = {}
        self._waiting: dict[str, Job] = {}

    def admit(self, job: Job) -> bool:
        """Whether the job may start now. If not, it joined another or waits."""
        running = self._running.get(job.package)
        if running is None:
            self._running[job.package] = job
            return True
        if not running.sent:
            running.join(job)
        elif (waiting := self._waiting.get(job.package)) is not None:
            waiting.join(job)
        else:
            self._waiting[job.package] = job
        return False

    def unsent(self, package: str) -> Job | None:
        """The job of this package that may be joined still; None where there is none."""
        running = self._running.get(package)
        return None if running is None or running.sent else running

    def busy(self, package: str) -> bool:
        """Whether a job of this package is in work."""
        return package in self._running

    def absorb(self, job: Job, rev: str | None) -> None:
        """Let the waiting change join, as the document found has just its revision."""
        waiting = self._waiting.get(job.package)
        if waiting is None or rev is None or waiting.change is None:
            return
        if waiting.change.rev == rev and not (waiting.force or waiting.want or waiting.work):
            job.tickets += waiting.tickets
            job.change, job.announced_at = waiting.change, waiting.announced_at
            job.replies += waiting.replies
            del self._waiting[job.package]

    def release(self, package: str) -> Job | None:
        """The job is committed: the one that waited for it, now in work."""
        waiting = self._waiting.pop(package, None)
        if waiting is None:
            del self._running[package]
        else:
            waiting.unseen = False
            self._running[package] = waiting
        return waiting

    @property
    def running(self) -> int:
        """How many packages are in work."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many packages have a job that waits behind the one in work."""
        return len(self._waiting)

    def packages(self) -> tuple[str, ...]:
        """The packages in work."""
        return tuple(self._running)
