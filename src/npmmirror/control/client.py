"""A command's side of the control socket."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import anyio
import orjson

from npmmirror.control.address import socket_path
from npmmirror.errors import LockedError, NpmmirrorError

Report = dict[str, Any]
_LINE_BYTES = 4 * 1024 * 1024
UNAVAILABLE = 503
FAILED = 422
"""The answer is a sentence: what was asked for could not be done."""


class DaemonGoneError(LockedError):
    """The daemon holds the data directory and does not answer, or went away while it worked."""


@asynccontextmanager
async def daemon_of(data_dir: Path) -> AsyncIterator["ControlClient | None"]:
    """The daemon that runs on a data directory; None where nobody listens."""
    path = socket_path(data_dir)
    if not await _listens(path):
        yield None
        return
    async with ControlClient(path) as client:
        yield client


async def _listens(path: Path) -> bool:
    """Whether somebody accepts connections; a socket's file may be left by a kill."""
    try:
        stream = await anyio.connect_unix(path)
    except OSError:
        return False
    await stream.aclose()
    return True


class ControlClient:
    """Asks the daemon of a data directory. Use as an async context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: aiohttp.ClientSession | None = None

    async def status(self) -> Report:
        """What `npmmirror status --json` prints.

        Raises:
            DaemonGoneError: nobody answers.
        """
        async with self._asked("GET", "/status", None) as response:
            report: Report = orjson.loads(await response.read())
        return report

    async def retry(self, packages: list[str]) -> int:
        """Make rows of the work list due; how many."""
        async with self._asked("POST", "/retry", {"packages": packages}) as response:
            rows: int = orjson.loads(await response.read())["rows"]
        return rows

    async def sync(
        self, specs: list[str], options: dict[str, bool]
    ) -> AsyncGenerator[Report, None]:
        """Have packages mirrored; reports as they come."""
        body = {"specs": specs, "options": options}
        async with self._asked("POST", "/sync", body) as response:
            async for line in response.content:
                report = orjson.loads(line)
                if "error" in report:
                    raise NpmmirrorError(report["error"])
                yield report

    async def prune(self, asked: Report) -> AsyncGenerator[Report, None]:
        """Have deleted what the policy wants no longer; reports as they come."""
        async with self._asked("POST", "/prune", asked) as response:
            async for line in response.content:
                yield orjson.loads(line)

    async def closure(self, asked: Report) -> AsyncGenerator[Report, None]:
        """Have packages mirrored with what they need; reports as they come."""
        async with self._asked("POST", "/closure", asked) as response:
            async for line in response.content:
                yield orjson.loads(line)

    async def verify(self, asked: Report) -> AsyncGenerator[Report, None]:
        """Have the archive verified; reports as they come."""
        async with self._asked("POST", "/verify", asked) as response:
            async for line in response.content:
                yield orjson.loads(line)

    async def backfill(
        self, asked: Report, names: AsyncIterable[bytes] | None
    ) -> AsyncGenerator[Report, None]:
        """Have packages brought that a listing or `names` names; reports as they come."""

        async def body() -> AsyncIterator[bytes]:
            yield orjson.dumps(asked) + b"\n"
            if names is not None:
                async for chunk in names:
                    yield chunk

        async with self._asked("POST", "/backfill", body()) as response:
            async for line in response.content:
                yield orjson.loads(line)

    async def steer_backfill(self, word: str) -> Report:
        """Pause, resume or cancel it."""
        async with self._asked("POST", f"/backfill/{word}", {}) as response:
            report: Report = orjson.loads(await response.read())
        return report

    async def reconcile(self, asked: Report) -> AsyncGenerator[Report, None]:
        """Have the index held against the list of all packages; reports as they come."""
        async with self._asked("POST", "/reconcile", asked) as response:
            async for line in response.content:
                yield orjson.loads(line)

    async def decide_removals(
        self, verdict: str, packages: list[str] | None
    ) -> AsyncGenerator[Report, None]:
        """Have removals that are held confirmed or discarded (None: all); reports as they come."""
        body = {"verdict": verdict, "packages": packages}
        async with self._asked("POST", "/removals", body) as response:
            async for line in response.content:
                yield orjson.loads(line)

    @asynccontextmanager
    async def _asked(
        self, method: str, route: str, body: Report | AsyncIterator[bytes] | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("ControlClient is used outside its context")
        data = orjson.dumps(body) if isinstance(body, dict) else body
        try:
            async with self._session.request(
                method, f"http://daemon{route}", data=data
            ) as response:
                if response.status == UNAVAILABLE:
                    raise DaemonGoneError(await response.text())
                if response.status == FAILED:
                    raise NpmmirrorError(await response.text())
                response.raise_for_status()
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DaemonGoneError(f"the daemon does not answer at {self._path}: {error}") from error

    async def __aenter__(self) -> Self:
        """Open the connection's session."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(self._path)),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            read_bufsize=_LINE_BYTES,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()
