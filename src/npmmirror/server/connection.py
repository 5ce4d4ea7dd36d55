"""A connection with a client, as aiohttp has it, and what this server does otherwise."""

from collections.abc import Callable

import structlog
from aiohttp import web

from npmmirror.server.answers import NAME, error

log = structlog.get_logger(__name__)


class Connection(web.RequestHandler):
    """Tells of errors as the rest of the server does, and who wants to know when it is lost."""

    on_lost: Callable[[], None] | None = None
    """Called once the connection is lost; set while a file is sent past the transport."""

    def eof_received(self) -> bool | None:  # type: ignore[override] # asyncio takes it
        """See `asyncio.Protocol`: who asks for nothing more still gets the file that it asked for."""
        super().eof_received()
        if self.on_lost is None:
            return None
        self.close()  # behind this answer
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """See `web.RequestHandler`: what is no HTTP (4xx), or a bug of ours."""
        del message  # it may quote what the client sent
        if isinstance(exc, ConnectionError):  # the client has gone
            raise ConnectionResetError("the connection is lost") from exc
        if status >= 500:
            log.error("bug", command=f"{request.method} {request.raw_path}", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionResetError("a part of another answer is sent already")
        answer = error(status, "Bad request" if status < 500 else "Internal server error")
        answer.headers["Server"] = NAME
        answer.force_close()
        return answer
