"""Verifying in a running daemon: one at a time, watched by whoever asks for the same."""

from dataclasses import replace

import anyio
import structlog
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from npmmirror.daemon.mirror import Mirror
from npmmirror.daemon.verification.run import Asked, verify
from npmmirror.daemon.verification.tally import Report
from npmmirror.errors import NpmmirrorError

WAITING = 100
"""Reports that may wait for a slow watcher. The last place is the end's."""

log = structlog.get_logger(__name__)


class SharedVerification:
    """Begins verifications and lets people watch. `tasks` owns the work.

    It goes on when nobody watches any more.
    """

    def __init__(self, mirror: Mirror, tasks: TaskGroup) -> None:
        self._mirror = mirror
        self._tasks = tasks
        self._asked: Asked | None = None
        self._watchers: list[MemoryObjectSendStream[Report]] = []

    def watch(self, asked: Asked) -> MemoryObjectReceiveStream[Report]:
        """Verify, or watch the verification of the same that is under way.

        The last report has `end`, or `error` with a sentence.
        """
        send, receive = anyio.create_memory_object_stream[Report](WAITING)
        same = replace(asked, restart=False)
        if self._asked is None:
            self._asked = same
            self._watchers.append(send)
            self._tasks.start_soon(self._verify, asked)
        elif self._asked == same:
            self._watchers.append(send)
        else:
            send.send_nowait({"error": "the daemon verifies something else just now; try later"})
            send.close()
        return receive

    async def _verify(self, asked: Asked) -> None:
        end: Report = {"error": "the daemon stopped; the next verification goes on from there"}
        try:
            end = await verify(self._mirror, asked, self._tell) | {"end": True}
        except NpmmirrorError as error:
            end = {"error": str(error)}
        except Exception:
            # A package's odd data must not end the daemon; it is told whole in the log.
            log.exception("bug", command="verify")
            end = {"error": "a bug stopped the verification; the daemon's log has it"}
        finally:
            self._asked = None
            self._end(end)

    def _tell(self, report: Report) -> None:
        for watcher in self._watchers.copy():
            if watcher.statistics().current_buffer_used < WAITING - 1:
                self._send(watcher, report)

    def _end(self, report: Report) -> None:
        for watcher in self._watchers:
            self._send(watcher, report)
            watcher.close()
        self._watchers = []

    def _send(self, watcher: MemoryObjectSendStream[Report], report: Report) -> None:
        try:
            watcher.send_nowait(report)
        except anyio.BrokenResourceError:
            return  # went away; the stream is closed with the others
