"""Pausing as a whole: faults of the host or of the disk are nobody's attempt."""

import math

import anyio
import structlog

from npmmirror.clock import Clock, timestamp

EVERYWHERE = 8
"""Different packages that must fail one after the other before the host is to blame."""
WITNESS_SECONDS = 60.0
"""Failures further apart than this are no sign of an outage."""
FIRST_SECONDS = 1.0
LONGEST_SECONDS = 300.0

log = structlog.get_logger(__name__)


class Pause:
    """Stops all fetching while upstream (or the disk) is at fault, and lets one try at a time.

    After a fault everybody waits; when the wait is over a single caller goes ahead. Its success
    opens the way for all, its failure doubles the wait.

    Documents and tarballs often come from different machines behind one name: `kind` tells what
    was asked for, and that documents arrive proves nothing where tarballs are suspected.
    """

    def __init__(self, clock: Clock, *, longest_seconds: float = LONGEST_SECONDS) -> None:
        self._clock = clock
        self._longest = longest_seconds
        self._seconds = 0.0
        self._until = 0.0
        self._suspects: dict[str, dict[str, float]] = {}
        self._blamed: str | None = None
        self._turn = anyio.Lock()
        self._trying = False
        self._held: dict[str, str] = {}
        self.reason: str | None = None
        self.since: str | None = None

    @property
    def paused(self) -> bool:
        """Whether fetching is stopped now."""
        return self.reason is not None

    @property
    def held(self) -> bool:
        """Whether somebody holds fetching: then there is no try before its release."""
        return bool(self._held)

    @property
    def seconds_left(self) -> float:
        """How long until the next try, as far as that is known; a second at least."""
        left = self._until - self._clock.monotonic()
        return max(left, 1.0) if math.isfinite(left) else FIRST_SECONDS

    async def ready(self) -> None:
        """Return when a request may be sent: at once, or as the one that tries after a pause.

        The turn is kept while waiting, so that whoever waits longest tries first: what failed
        just now comes last.
        """
        if not self.paused:
            return
        async with self._turn:
            while self.paused:
                wait = self._until - self._clock.monotonic()
                if wait <= 0:
                    # Should this try end with neither word, the next may try as much later.
                    self._until = self._clock.monotonic() + self._seconds
                    self._trying = True
                    return
                await self._clock.sleep(min(wait, 1.0))

    def fault(self, reason: str, detail: str, retry_after: float | None = None) -> None:
        """The host or the disk failed: stop everything for a while, longer each time."""
        if self._held or (self.paused and not self._trying):
            return  # one of those that were under way when it began
        if not self.paused:
            self.since = timestamp(self._clock.now())
        self._trying = False
        self._seconds = min(max(self._seconds * 2, FIRST_SECONDS), self._longest)
        wait = max(self._clock.jitter(self._seconds / 2, self._seconds), retry_after or 0.0)
        self._until = self._clock.monotonic() + wait
        self.reason = f"{reason}: {detail}" if detail else reason
        log.warning("fetching_paused", reason=reason, detail=detail, seconds=round(wait, 1))

    def refused(
        self, reason: str, detail: str, retry_after: float | None = None, *, again: bool = False
    ) -> bool:
        """The host refused a package's request; whether that is the host's fault.

        `again` says that this package met the same before: as long as others are served, it is
        the package's own.
        """
        if again and not self.paused:
            return False
        self.fault(reason, detail, retry_after)
        return True

    def suspect(
        self, kind: str, package: str, reason: str, detail: str, *, again: bool = False
    ) -> bool:
        """A fault that may be the package's or the host's; True where it is met everywhere.

        `again` says that this package failed before: then it is no witness against the host.
        """
        now = self._clock.monotonic()
        suspects = self._suspects.setdefault(kind, {})
        if not again:
            suspects[package] = now
        met = sum(now - at <= WITNESS_SECONDS for at in suspects.values())
        if met < EVERYWHERE and self.reason is None:
            return False
        if not self.paused:
            self._blamed = kind
        self.fault(reason, detail)
        return True

    def hold(self, holder: str, reason: str) -> None:
        """Stop everything until `release` by the same holder."""
        if self._held.get(holder) != reason:
            log.error("fetching_held", reason=reason)
        if not self.paused:
            self.since = timestamp(self._clock.now())
        self._held[holder] = self.reason = reason
        self._until = math.inf

    def release(self, holder: str) -> None:
        """End what this holder's `hold` began; does nothing to other pauses."""
        if self._held.pop(holder, None) is None:
            return
        if self._held:
            self.reason = next(iter(self._held.values()))
        else:
            self._until = 0.0
            self.success()

    def success(self, kind: str | None = None) -> None:
        """Something (of a kind) arrived: all is well with that."""
        self._suspects.pop(kind or "", None)
        if self.paused and not self._held and self._blamed in {None, kind}:
            log.info("fetching_resumed", reason=self.reason, since=self.since)
            self.reason = self.since = self._blamed = None
            self._seconds = 0.0
