"""Holds fetching while a disk of the mirror lacks room, is away, or hangs."""

from npmmirror.archive import TarballStore
from npmmirror.clock import Clock
from npmmirror.config import StorageSection
from npmmirror.daemon.disks import Disks
from npmmirror.pipeline.pause import Pause
from npmmirror.pipeline.record import Recorder

LOOK_SECONDS = 10.0
STALL_SECONDS = 30.0
"""How long a tarball may be on its way without any progress."""
ROOM = "room"
"""Who holds fetching while a disk has too little room, or is not there."""
STALL = "stall"
"""Who holds it while tarballs do not get on to their places."""


class Advance:
    """Tells work that goes on slowly from work that hangs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps: int | None = None
        self._since = 0.0

    def stalls(self, steps: int | None) -> bool:
        """Whether so many steps were done for too long; None where there is nothing to do."""
        now = self._clock.monotonic()
        if steps is None or steps != self._steps:
            self._steps, self._since = steps, now
        return steps is not None and now - self._since >= STALL_SECONDS


class DiskWatch:
    """Looks at the disks, and at the tarballs on their way."""

    def __init__(
        self,
        disks: Disks,
        pause: Pause,
        recorder: Recorder,
        store: TarballStore,
        storage: StorageSection,
        *,
        clock: Clock,
    ) -> None:
        self._disks = disks
        self._pause = pause
        self._recorder = recorder
        self._store = store
        self._storage = storage
        self._clock = clock
        self._advance = Advance(clock)

    async def run(self) -> None:
        """Look at the disks every so often, for ever."""
        while True:
            found = await self._disks.look()
            lacks = [one.lacks(self._storage.min_free_bytes) for one in found]
            self._hold(ROOM, next(filter(None, lacks), None))
            self._hold(STALL, self._stalled())
            await self._clock.sleep(LOOK_SECONDS)

    def _stalled(self) -> str | None:
        """What to say of tarballs that do not get on: a disk may answer, and yet take nothing."""
        waiting = self._recorder.moving
        if not self._advance.stalls(self._store.steps if waiting else None):
            return None
        packages = self._storage.packages_path
        return f"disk_unavailable: {packages} takes no files, and {waiting} wait for it"

    def _hold(self, holder: str, reason: str | None) -> None:
        if reason is None:
            self._pause.release(holder)
        else:
            self._pause.hold(holder, reason)
