"""Answers that are the same for everybody: ping, whoami, and what a mirror knows nothing of."""

from collections.abc import Callable
from typing import Any, Final

import anyio
from aiohttp import web

from npmmirror.server.answers import error, json_response
from npmmirror.server.asked import Asked
from npmmirror.server.resources import Part

MAX_ASKED_BYTES: Final = 16 << 20
"""What a client may send of its tree for an audit, compressed or not."""
_NO_AUDIT: Final[dict[str, Any]] = {
    "actions": [],
    "advisories": {},
    "muted": [],
    "metadata": {
        "vulnerabilities": {"info": 0, "low": 0, "moderate": 0, "high": 0, "critical": 0},
        "dependencies": 0,
        "devDependencies": 0,
        "optionalDependencies": 0,
        "totalDependencies": 0,
    },
}


class PingPart(Part):
    """`/-/ping`: `{}`; 503 from the moment on at which the process is told to stop."""

    def __init__(self, draining: Callable[[], bool]) -> None:
        self._draining = draining

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        del request, asked
        if self._draining():
            return error(503, "draining", Retry_After="10")
        return json_response({})


class WhoamiPart(Part):
    """`/-/whoami`: nobody is logged in, nobody can be."""

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        del request, asked
        return error(401, "This mirror has no users")


class AuditPart(Part):
    """Advisories and audits: none, for a mirror has no advisories. The question is read and dropped.

    Who sends nothing of it for `seconds` is cut off.
    """

    def __init__(self, empty: dict[str, Any], seconds: float) -> None:
        self._empty = empty
        self._seconds = seconds

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        del asked
        received = request.content_length or 0
        if received <= MAX_ASKED_BYTES:
            try:
                received = await self._received(request)
            except TimeoutError:
                answer = error(408, "The request did not come whole")
                answer.force_close()
                return answer
        return error(413, "Too large") if received > MAX_ASKED_BYTES else json_response(self._empty)

    async def _received(self, request: web.BaseRequest) -> int:
        """How many bytes were sent; beyond the limit no more are looked at.

        Raises:
            TimeoutError: nothing came for too long.
        """
        received = 0
        with anyio.fail_after(self._seconds) as patience:
            async for chunk in request.content.iter_any():
                patience.deadline = anyio.current_time() + self._seconds
                received += len(chunk)
                if received > MAX_ASKED_BYTES:
                    break
        return received


def advisories(seconds: float) -> AuditPart:
    """`POST /-/npm/v1/security/advisories/bulk`."""
    return AuditPart({}, seconds)


def audits(seconds: float) -> AuditPart:
    """`POST /-/npm/v1/security/audits` and `/quick`."""
    return AuditPart(_NO_AUDIT, seconds)
