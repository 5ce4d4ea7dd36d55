"""Pruning in a running daemon: one at a time, watched by whoever asks for it."""

import anyio
import structlog
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from npmmirror.daemon.mirror import Mirror
from npmmirror.daemon.pruning import Report, prune
from npmmirror.errors import NpmmirrorError

WAITING = 100
"""Reports that may wait for a slow watcher. The last place is the end's."""

log = structlog.get_logger(__name__)


class SharedPrune:
    """Begins prunes and lets people watch. `tasks` owns the work, which goes on without watchers."""

    def __init__(self, mirror: Mirror, tasks: TaskGroup) -> None:
        self._mirror = mirror
        self._tasks = tasks
        self._watchers: list[MemoryObjectSendStream[Report]] = []
        self._at_work = False

    def watch(self, asked: Report) -> MemoryObjectReceiveStream[Report]:
        """Prune, or watch the prune that is under way.

        `asked` has the `digest` of the policy that is meant. The last report has `end`, or `error`
        with a sentence.
        """
        send, receive = anyio.create_memory_object_stream[Report](WAITING)
        self._watchers.append(send)
        if not self._at_work:
            self._at_work = True
            self._tasks.start_soon(self._prune, str(asked["digest"]))
        return receive

    async def _prune(self, digest: str) -> None:
        end: Report = {"error": "the daemon stopped; the next prune goes on from there"}
        try:
            end = await prune(self._mirror, digest, self._tell) | {"end": True}
        except NpmmirrorError as error:
            end = {"error": str(error)}
        except Exception:
            # Whatever it is, it must not end the daemon; it is told whole in the log.
            log.exception("bug", command="prune")
            end = {"error": "a bug stopped the prune; the daemon's log has it"}
        finally:
            self._at_work = False
            for watcher in self._watchers:
                self._send(watcher, end)
                watcher.close()
            self._watchers = []

    def _tell(self, report: Report) -> None:
        for watcher in self._watchers.copy():
            if watcher.statistics().current_buffer_used < WAITING - 1:
                self._send(watcher, report)

    def _send(self, watcher: MemoryObjectSendStream[Report], report: Report) -> None:
        try:
            watcher.send_nowait(report)
        except anyio.BrokenResourceError:
            return  # went away; the stream is closed with the others
