"""A mirror that is killed beside one that is not."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from npmmirror.testing.remote import RemoteUpstream
from tests.kill import endstate
from tests.kill.daemon_process import MirrorDaemon
from tests.kill.trial import NEWS_BEGIN, settled, sound

SETTINGS = {"STORAGE__SEGMENT_BYTES": 4096, "FOLLOW__PAGE_ROWS": 3}
"""A segment for each group, or nearly so, and several pages a step."""
LIVING = ("--living", "10", "--share", "0.7", "--seed", "7", "--signs")


class Pair:
    """Two mirrors of one upstream: one is left alone, the other one is killed.

    `settings` are those of the other one, over `SETTINGS`.
    """

    def __init__(self, directory: Path, settings: Mapping[str, object] | None = None) -> None:
        self._stack = ExitStack()
        enter = self._stack.enter_context
        self.upstream = enter(RemoteUpstream(*LIVING))
        self.undisturbed = enter(MirrorDaemon(directory / "undisturbed", self.upstream, SETTINGS))
        other = SETTINGS | dict(settings or {})
        self.disturbed = enter(MirrorDaemon(directory / "disturbed", self.upstream, other))
        self.undisturbed.start()
        self.disturbed.start()
        self.undisturbed.wait_for_head()
        self.disturbed.wait_for_head()
        self.disturbed.stop()
        self.upstream.do("set_time", moment=NEWS_BEGIN)
        self.intact = True

    def step(self) -> None:
        """Let upstream go on, and the undisturbed mirror see it, without any faults."""
        self.upstream.do("heal")
        self.upstream.do("step")
        self.undisturbed.wait_for_head()

    def recover(self) -> None:
        """Start the disturbed mirror again and stop it at the head: both must be alike then."""
        self.disturbed.start()
        self.disturbed.wait_for_head()
        found = settled(self.upstream, self.disturbed)
        assert endstate.differences(sound(self.upstream, self.undisturbed.data_dir), found) == []
        self.intact = True

    def close(self) -> None:
        """End all three."""
        self._stack.close()
