"""Two runs of a daemon under strace: from an empty directory, and through a step of upstream's."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from npmmirror.testing.remote import RemoteUpstream
from tests.kill import endstate
from tests.kill.daemon_process import MirrorDaemon
from tests.kill.trial import NEWS_BEGIN, settled
from tests.power import calls
from tests.power.calls import Call

LIVING = ("--living", "20", "--share", "0.8", "--seed", "11")
ONE_BY_ONE = {"STORAGE__COMMIT_COUNT": 3, "STORAGE__SEGMENT_BYTES": 8192}
"""Groups of few tarballs: each is synced by itself."""
TOGETHER = {
    "FOLLOW__PAGE_ROWS": 100,
    "FETCH__CONCURRENCY": 16,
    "STORAGE__COMMIT_COUNT": 32,
    "STORAGE__COMMIT_SECONDS": 1,
}
"""Groups of many: the whole file system is synced."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a daemon did between its start and its end.

    `root` is the directory that holds `data` and that the calls' paths begin with; `initial` a
    copy of it from before, and `expected` what the mirror held in the end.
    """

    calls: Sequence[Call]
    root: Path
    initial: Path
    data_dir: Path
    expected: endstate.EndState


class Traced:
    """The runs, and the upstream that stays as it was at the end of the newest one.

    The first is from an empty directory; the second begins when it is asked for, because upstream
    then goes on.
    """

    def __init__(self, directory: Path, upstream: RemoteUpstream, *, together: bool) -> None:
        self.upstream = upstream
        self.settings: dict[str, object] = dict(TOGETHER if together else ONE_BY_ONE)
        self.together = together
        self._directory = directory
        self._runs: list[Run] = []

    def first(self) -> Run:
        """From an empty directory to the head. Not to be asked for after `second`."""
        if not self._runs:
            self._runs.append(self._run(1))
        return self._runs[0]

    def second(self) -> Run:
        """One step of upstream's, seen by a mirror that was at the head."""
        self.first()
        if len(self._runs) == 1:
            self.upstream.do("set_time", moment=NEWS_BEGIN)
            self.upstream.do("step")
            self._runs.append(self._run(2))
        return self._runs[1]

    def _run(self, number: int) -> Run:
        root, trace = self._directory / "mirror", self._directory / f"{number}.strace"
        root.mkdir(exist_ok=True)
        initial = self._directory / f"before-{number}"
        shutil.copytree(root, initial)
        tracer = calls.strace(trace)
        with MirrorDaemon(root, self.upstream, self.settings, tracer) as daemon:
            daemon.start()
            daemon.wait_for_head()
            expected = settled(self.upstream, daemon)
            calls.wait_for_end(trace, daemon.pid)
            final = self._directory / f"after-{number}"
            shutil.copytree(daemon.data_dir, final)
        made = [call for call in calls.read(trace, root) if call.path != str(daemon.log)]
        return Run(made, root, initial, final, expected)


@contextmanager
def traced(directory: Path, *, together: bool) -> Iterator[Traced]:
    """The runs of one way of publishing tarballs."""
    with RemoteUpstream(*LIVING) as upstream:
        yield Traced(directory, upstream, together=together)
