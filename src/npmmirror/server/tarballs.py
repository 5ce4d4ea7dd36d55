"""Tarballs, whole or in part, from the disk; small ones that are asked for again, from memory."""

import os
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from typing import Final

import structlog
from aiohttp import web
from multidict import CIMultiDict

from npmmirror.server.answers import NAME, Ready, error, matches, send
from npmmirror.server.asked import Asked
from npmmirror.server.ranges import span_of
from npmmirror.server.resources import Part, Resources
from npmmirror.server.sendfile import send_file
from npmmirror.server.stand import HeldTarball
from npmmirror.server.stock import version_of_file
from npmmirror.server.visibility import Verdict

AT_ONCE: Final = 1 << 20
"""Files up to this size are kept with the ready answers once they are asked for again.

Whoever reads each tarball once, as another mirror does, pushes nothing out.
"""
READ: Final = 64 << 10
"""Spans up to this size are read and written; larger ones never come into this process."""
REMEMBERED: Final = 4096
"""Tarballs of which it is remembered that they were asked for."""
TYPE: Final = "application/octet-stream"

ANOTHER_SIZE: Final = "it has another size than it had"
WITHHELD: Final = "Withheld by this mirror"

Finding = Callable[[Asked], Awaitable[HeldTarball | None]]
"""The tarball that a file name of a view means; None where it is not there or not held."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Opened:
    """An open file; or, where the span is a small one, all bytes of it."""

    file: FileIO | None
    whole: bytes


class _NotKeptError(Exception):
    """The tarball is not there, or not to be answered from memory."""


class TarballPart(Part):
    """`/<pkg>/-/<file>.tgz`."""

    def __init__(self, resources: Resources, finding: Finding) -> None:
        self._finding = finding
        self._visibility = resources.visibility
        self._ready = resources.ready
        self._sent_once: dict[Hashable, None] = {}
        self._files = resources.files
        self._packages = f"{resources.stock.packages}{os.sep}"
        self._forever = f"{resources.shared}, max-age=31536000, immutable"

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """See `Part`."""
        if "Range" in request.headers:
            return await self._from_disk(request, asked)
        key = _key(asked)
        found = self._ready.known(key)
        if found is None and key in self._sent_once:
            with suppress(_NotKeptError):
                found = await self._ready.made(key, partial(self._read, asked), asked.name)
        return await self._from_disk(request, asked) if found is None else send(request, found)

    async def _read(self, asked: Asked) -> Ready:
        """The whole of a small tarball.

        Raises:
            _NotKeptError: it is to be answered otherwise.
        """
        held = await self._finding(asked)
        if held is None or held.size > AT_ONCE or self._withholds(asked, held):
            raise _NotKeptError
        try:
            whole = await self._files.run(
                _read, self._packages + held.path, held.size, (0, held.size)
            )
        except OSError as fault:
            raise _NotKeptError from fault
        headers = CIMultiDict({**self._headers(held), "Content-Type": TYPE})
        return Ready(whole, headers, headers["ETag"])

    async def _from_disk(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        held = await self._finding(asked)
        if self._withholds(asked, held):
            return self.withheld()
        if held is None:
            return await self._missing(request, asked)
        return await self._sent(request, asked, held)

    def _withholds(self, asked: Asked, held: HeldTarball | None) -> bool:
        version = version_of_file(asked.name, asked.rest) if held is None else held.version
        return self._visibility.of(asked.name, version, ()) is Verdict.WITHHELD

    @staticmethod
    def withheld() -> web.Response:
        """The answer where clients are not given it."""
        return error(451, WITHHELD)

    async def _missing(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """The answer where the tarball is not held."""
        del request, asked
        return error(404, "Not found")

    async def _sent(
        self, request: web.BaseRequest, asked: Asked, held: HeldTarball
    ) -> web.StreamResponse:
        headers = self._headers(held)
        etag = headers["ETag"]
        known = request.headers.get("If-None-Match")
        if known is not None and matches(known, etag):
            return web.Response(status=304, headers=headers)
        wanted = request.headers.get("Range")
        if request.headers.get("If-Range", etag) != etag:
            wanted = None
        span = span_of(wanted, held.size)
        if span is None:
            headers["Content-Range"] = f"bytes */{held.size}"
            return web.Response(status=416, headers=headers)
        status = 200
        if span != (0, held.size):
            headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{held.size}"
            status = 206
        response = web.StreamResponse(status=status, headers={**headers, "Server": NAME})
        if status == 200 and held.size <= AT_ONCE and self._ready.takes(held.size):
            self._note(asked)
        try:
            return await self._of_file(request, response, held, span)
        except OSError as fault:
            if isinstance(fault, ConnectionError):
                raise
            return _unreadable(asked, held, fault, response)

    async def _of_file(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        held: HeldTarball,
        span: tuple[int, int],
    ) -> web.StreamResponse:
        opened = await self._files.run(_open, self._packages + held.path, held.size, span)
        if opened.file is None:
            return web.Response(
                body=opened.whole,
                status=response.status,
                headers=response.headers,
                content_type=TYPE,
            )
        response.content_type = TYPE
        response.content_length = span[1] - span[0]
        if request.method == "HEAD":
            await self._files.run(opened.file.close)
            await response.prepare(request)
        else:
            await send_file(request, response, opened.file, span, self._files)
        return response

    def _note(self, asked: Asked) -> None:
        if len(self._sent_once) >= REMEMBERED:
            del self._sent_once[next(iter(self._sent_once))]
        self._sent_once[_key(asked)] = None

    def _headers(self, held: HeldTarball) -> dict[str, str]:
        return {
            "ETag": f'"{held.sha512[:40]}"',
            "Cache-Control": self._forever,
            "Accept-Ranges": "bytes",
        }


def _key(asked: Asked) -> Hashable:
    view = asked.view
    return asked.route, view.kind, view.bound, asked.name, asked.rest


def _unreadable(
    asked: Asked, held: HeldTarball, fault: OSError, response: web.StreamResponse
) -> web.Response:
    log.error(
        "tarball_unreadable",
        package=asked.name,
        version=held.version,
        error=fault.strerror or str(fault),
    )
    if response.prepared:  # never a good ending
        raise ConnectionResetError("the tarball cannot be read on") from fault
    return error(503, "The tarball cannot be read now", Retry_After="60")


def _open(path: str, size: int, span: tuple[int, int]) -> _Opened:
    """In a thread: the file, or what is asked of it.

    Raises:
        OSError: it is not there, or not as long as it was.
    """
    if span[1] - span[0] <= READ:
        return _Opened(None, _read(path, size, span))
    file = FileIO(path)
    try:
        _check_size(os.fstat(file.fileno()).st_size, size)
    except BaseException:
        file.close()
        raise
    return _Opened(file, b"")


def _read(path: str, size: int, span: tuple[int, int]) -> bytes:
    # Each call lets go of the interpreter's lock and waits for it again: no more calls than needed.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        start, end = span
        if span != (0, size):
            _check_size(os.fstat(file).st_size, size)
        else:
            end += 1  # a file that has become longer is found out without another call
        found = os.pread(file, end - start, start)
        _check_size(len(found), span[1] - start)
        return found
    finally:
        os.close(file)


def _check_size(found: int, size: int) -> None:
    if found != size:
        raise OSError(ANOTHER_SIZE)
