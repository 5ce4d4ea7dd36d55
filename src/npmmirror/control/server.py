"""The daemon's side of the control socket."""

import contextlib
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any, Protocol

import anyio
import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from anyio.streams.memory import MemoryObjectReceiveStream

from npmmirror.errors import NpmmirrorError

log = structlog.get_logger(__name__)

Report = dict[str, Any]
MOST_ASKED_BYTES = 64 << 20
"""A lock file's 100,000 versions, or a million names."""
_CHUNK_BYTES = 1 << 16
FAILED = 422
"""The status of an answer that is a sentence about what was in the way."""
STOPPING = "the daemon is stopping; ask again when it runs, or when it has ended"


class Operations(Protocol):
    """What a running daemon does for those who ask."""

    @property
    def draining(self) -> bool:
        """Whether the daemon is about to end: then it is asked for its status alone."""
        ...

    async def status(self) -> Report:
        """The daemon's and the index's state, as `npmmirror status --json` prints it."""
        ...

    def sync(self, specs: list[str], options: dict[str, bool]) -> MemoryObjectReceiveStream[Report]:
        """Mirror packages; reports as they come, until the stream ends.

        The work is the daemon's: whoever asked may stop listening.
        """
        ...

    def closure(self, asked: Report) -> MemoryObjectReceiveStream[Report]:
        """Mirror packages with what they need (`npmmirror.pipeline.closure.Asked`), as `sync`."""
        ...

    async def retry(self, packages: list[str]) -> int:
        """Make work list rows due, dead letters included; all of them where none is named."""
        ...

    async def backfill(
        self, asked: Report, names: AsyncIterable[bytes]
    ) -> MemoryObjectReceiveStream[Report]:
        """Begin a backfill, or watch the one that is under way; reports as they come.

        `asked` has `wish`, as `npmmirror.backfill.Wish`, or null; `names` are the lines of a file.
        The work is the daemon's, as that of `sync`.
        """
        ...

    async def steer_backfill(self, word: str) -> Report:
        """`pause`, `resume` or `cancel` it; `there` tells whether there was one."""
        ...

    def reconcile(self, asked: Report) -> MemoryObjectReceiveStream[Report]:
        """Hold the list of all packages against the index; reports as they come."""
        ...

    def prune(self, asked: Report) -> MemoryObjectReceiveStream[Report]:
        """Delete the tarballs that the policy wants no longer; reports as they come.

        The work is the daemon's, as that of `sync`.
        """
        ...

    def verify(self, asked: Report) -> MemoryObjectReceiveStream[Report]:
        """Hold the archive against index and upstream's claims; reports as they come.

        The work is the daemon's, as that of `sync`.
        """
        ...

    def decide_removals(self, asked: Report) -> MemoryObjectReceiveStream[Report]:
        """Confirm or discard removals that the breaker holds; reports as they come.

        The work is the daemon's, as that of `sync`.
        """
        ...


class ControlServer:
    """Serves `Operations` on a Unix socket that only the service's user and group may open."""

    def __init__(self, operations: Operations, path: Path) -> None:
        self._operations = operations
        self._path = path

    async def serve(self, *, started: anyio.Event | None = None) -> None:
        """Serve until cancelled; the socket's file goes with it."""
        app = web.Application(
            middlewares=[self._tell_trouble, self._refuse_while_draining],
            client_max_size=MOST_ASKED_BYTES,
        )
        app.add_routes(
            [
                web.get("/status", self._status),
                web.post("/sync", self._sync),
                web.post("/closure", self._closure),
                web.post("/retry", self._retry),
                web.post("/verify", self._verify),
                web.post("/prune", self._prune),
                web.post("/backfill", self._backfill),
                web.post("/backfill/{word:pause|resume|cancel}", self._steer_backfill),
                web.post("/reconcile", self._reconcile),
                web.post("/removals", self._removals),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        # Left by a kill: the directory's lock is ours, so nobody listens there any more.
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        try:
            await web.UnixSite(runner, str(self._path)).start()
            # The service's group may ask for its state, as it may read its files.
            self._path.chmod(0o660)
            if started is not None:
                started.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    @web.middleware
    async def _tell_trouble(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A full disk is nobody's bug: who asked gets the sentence, the log no traceback."""
        try:
            return await handler(request)
        except NpmmirrorError as error:
            log.warning("command_failed", command=request.path, error=str(error))
            return web.Response(status=FAILED, text=str(error))

    @web.middleware
    async def _refuse_while_draining(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if self._operations.draining and request.method != "GET":
            raise web.HTTPServiceUnavailable(text=STOPPING)
        return await handler(request)

    async def _status(self, _request: web.Request) -> web.Response:
        return _json(await self._operations.status())

    async def _retry(self, request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        return _json({"rows": await self._operations.retry(list(asked["packages"]))})

    async def _sync(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        reports = self._operations.sync(list(asked["specs"]), dict(asked["options"]))
        return await _stream(request, reports)

    async def _backfill(self, request: web.Request) -> web.StreamResponse:
        # A line of JSON, then the names: millions of them, never all in memory.
        asked = orjson.loads(await request.content.readline())
        names = request.content.iter_chunked(_CHUNK_BYTES)
        return await _stream(request, await self._operations.backfill(asked, names))

    async def _steer_backfill(self, request: web.Request) -> web.Response:
        return _json(await self._operations.steer_backfill(request.match_info["word"]))

    async def _reconcile(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        return await _stream(request, self._operations.reconcile(asked))

    async def _prune(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        return await _stream(request, self._operations.prune(asked))

    async def _closure(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        return await _stream(request, self._operations.closure(asked))

    async def _verify(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        return await _stream(request, self._operations.verify(asked))

    async def _removals(self, request: web.Request) -> web.StreamResponse:
        asked = orjson.loads(await request.read())
        return await _stream(request, self._operations.decide_removals(asked))


async def _stream(
    request: web.Request, reports: MemoryObjectReceiveStream[Report]
) -> web.StreamResponse:
    """A line of JSON for each report, as it comes."""
    async with reports:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        async for report in reports:
            await response.write(orjson.dumps(report) + b"\n")
    return response


def _json(body: Report) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
