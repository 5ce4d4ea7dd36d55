"""Sending on what is fetched for a client, as it comes."""

from typing import Final

import structlog
from aiohttp import web

from npmmirror.pulled import Arriving, BrokenOffError, Refused
from npmmirror.server.answers import NAME, error

TYPE: Final = "application/octet-stream"
_WORDS: Final = {
    "withheld": "Withheld by this mirror",
    "policy": "The mirror's policy does not want this package",
    "too_large": "The mirror takes no tarball of this size",
    "busy": "Too many tarballs are being fetched at once",
    "starting": "The mirror is being started",
    "draining": "The mirror is being stopped",
    "disk": "The mirror has no room to fetch it now",
    "upstream": "Upstream cannot be reached now",
    "slow": "Upstream takes long: the mirror goes on fetching it",
}

log = structlog.get_logger(__name__)


class RefusedError(Exception):
    """What is asked for cannot be fetched; `refused` says why."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.refused = refused


def refusal(refused: Refused) -> web.Response:
    """What a client is told."""
    word = _WORDS.get(refused.reason)
    if word is None:
        word = "Not found" if refused.status == 404 else f"Fetching it failed: {refused.reason}"
    if refused.retry_after is None:
        return error(refused.status, word)
    seconds = max(1, round(refused.retry_after))
    return error(refused.status, word, Retry_After=f"{seconds}")


async def send_on(
    request: web.BaseRequest, arriving: Arriving, headers: dict[str, str]
) -> web.StreamResponse:
    """A file while it arrives. Where it is broken off, so is the connection.

    A range is not looked at: the whole is sent, as HTTP allows.
    """
    try:
        response = web.StreamResponse(headers={**headers, "Server": NAME})
        response.content_type = TYPE
        response.content_length = arriving.length
        await response.prepare(request)
        async for piece in arriving.pieces():
            await response.write(piece)
        await response.write_eof()
    except BrokenOffError as broken:
        log.warning("pull_broken_off", path=request.path, error=str(broken))
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("what was fetched is broken off") from broken
    else:
        return response
    finally:
        await arriving.close()
