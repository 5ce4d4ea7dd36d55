"""What systemd hears of the daemon: that it is ready, what it does, that it gets on, that it ends."""

from collections import deque
from collections.abc import Awaitable, Callable

import anyio
import structlog

from npmmirror.clock import Clock
from npmmirror.daemon.glance import Glance, line
from npmmirror.daemon.mirror import COMMIT_SECONDS, Mirror
from npmmirror.daemon.notify import Notifier

TICK_SECONDS = 1.0
LINE_SECONDS = 5.0
"""How old the line is at most that `systemctl status` shows."""
RATE_SECONDS = 60.0
START_SECONDS = 60.0
"""How long a start may take until the next word of it; it may wait for upstream for days."""
CLOSE_SECONDS = 60.0
"""How long closing may take behind the drain."""

log = structlog.get_logger(__name__)

Look = Callable[[], Awaitable[Glance]]


class Supervision:
    """Tells `notifier`, from the daemon's first moment to its last.

    systemd's watchdog is fed only while no task of the mirror is stuck. It is fed from the event
    loop, so that a loop that does not turn feeds it neither.
    """

    def __init__(
        self,
        notifier: Notifier,
        clock: Clock,
        *,
        drain_seconds: float,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        self._notifier = notifier
        self._clock = clock
        self._stop_seconds = drain_seconds + COMMIT_SECONDS + CLOSE_SECONDS
        self._tick_seconds = min(tick_seconds, (notifier.watchdog_seconds or 60.0) / 3)
        self._mirror: Mirror | None = None
        self._look: Look | None = None
        self._is_ready = False
        self._draining = False
        self._told: tuple[float, tuple[str | None, ...]] | None = None
        self._counts: deque[tuple[float, int]] = deque()
        self._stuck: frozenset[str] = frozenset()

    def watch(self, mirror: Mirror, look: Look) -> None:
        """From now on the mirror is open, and `look` tells what it does."""
        self._mirror, self._look = mirror, look

    def leave(self) -> None:
        """From now on the mirror is being closed, and not looked at any more."""
        self._mirror = self._look = None

    async def ready(self) -> None:
        """The control socket answers; the mirror follows, or waits for who is away."""
        if not self._is_ready:
            self._is_ready = True
            self._told = None
            self._notifier.tell(READY=1, STATUS=await self._line(self._clock.monotonic()))

    async def run(self, stop: anyio.Event) -> None:
        """Tell until cancelled; after the stop, of the end."""
        while not stop.is_set():
            await self._tick()
            with anyio.move_on_after(self._tick_seconds):
                await stop.wait()
        self._draining = True
        self._told = None
        # Said once: a daemon that hangs in its end is to be killed.
        self._notifier.tell(STOPPING=1, EXTEND_TIMEOUT_USEC=round(self._stop_seconds * 1e6))
        while True:
            await self._tick()
            await anyio.sleep(self._tick_seconds)

    async def _tick(self) -> None:
        if self._gets_on():
            self._notifier.tell(WATCHDOG=1)
        if self._notifier.listens:
            await self._tell()

    def _gets_on(self) -> bool:
        """Whether no task is stuck."""
        if self._mirror is None:
            return True
        liveness = self._mirror.liveness
        if self._mirror.disk.held:
            liveness.excuse()  # who waits for a disk that hangs gets on when it comes back
        stuck = liveness.stuck()
        for task in stuck:
            if task.name not in self._stuck:
                seconds = round(task.seconds)
                log.error("task_stuck", task=task.name, seconds=seconds, where=task.where)
        self._stuck = frozenset(task.name for task in stuck)
        return not stuck

    async def _tell(self) -> None:
        """The line, where the last one is old, or something else is to be told."""
        now = self._clock.monotonic()
        if self._told is not None:
            at, reasons = self._told
            if now - at < LINE_SECONDS and reasons == self._reasons():
                return
        reasons = self._reasons()
        fields: dict[str, str | int] = {"STATUS": await self._line(now)}
        if not self._is_ready and not self._draining:
            fields["EXTEND_TIMEOUT_USEC"] = round(START_SECONDS * 1e6)
        self._notifier.tell(**fields)
        self._told = now, reasons

    def _reasons(self) -> tuple[str | None, ...]:
        """What is told as soon as it changes."""
        mirror = self._mirror
        paused = (mirror.host.reason, mirror.disk.reason) if mirror is not None else ()
        known = "open" if mirror is not None else None
        return (known, "ready" if self._is_ready else None, *paused, *sorted(self._stuck))

    async def _line(self, now: float) -> str:
        if self._look is None:
            return "closing" if self._draining else "starting: opening archive and index"
        glance = await self._look()
        told = line(glance, self._rate(now, glance.finished), draining=self._draining)
        if self._stuck:
            told = f"stuck ({', '.join(sorted(self._stuck))}); {told}"
        return told

    def _rate(self, now: float, finished: int) -> float | None:
        """Changes a second, over the last minute."""
        self._counts.append((now, finished))
        while now - self._counts[0][0] > RATE_SECONDS and len(self._counts) > 2:
            self._counts.popleft()
        (began, before), (ended, after) = self._counts[0], self._counts[-1]
        return (after - before) / (ended - began) if ended > began else None
