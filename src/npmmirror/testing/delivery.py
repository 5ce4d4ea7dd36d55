"""Sending an answer as a fault wants it sent."""

import asyncio
import socket
import struct
import zlib
from functools import cache

from aiohttp import web

from npmmirror.testing.faults import Delivery

_PIECE_SECONDS = 0.05


async def send(
    request: web.BaseRequest, delivery: Delivery, released: asyncio.Event
) -> web.StreamResponse:
    """Send it. `released` lets go of what is stalled."""
    answer = delivery.answer
    if delivery.stalled and delivery.sent is None:
        await released.wait()
    if delivery.reset and delivery.sent is None:
        return _cut(request, web.StreamResponse(), reset=True)
    if delivery.endless or delivery.zeros is not None:
        return await _bomb(request, delivery)
    if delivery.sent is None and delivery.rate is None:
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = delivery.length or len(answer.body)
    await response.prepare(request)
    if delivery.rate is not None:
        await _drip(response, answer.body, delivery.rate)
        return response
    await response.write(answer.body[: delivery.sent])
    if delivery.stalled:
        await released.wait()
        await response.write(answer.body[delivery.sent or 0 :])
        return response
    return _cut(request, response, reset=delivery.reset)


async def _drip(response: web.StreamResponse, body: bytes, rate: float) -> None:
    piece = max(1, int(rate * _PIECE_SECONDS))
    for start in range(0, len(body), piece):
        await response.write(body[start : start + piece])
        await asyncio.sleep(piece / rate)
    await response.write_eof()


async def _bomb(request: web.BaseRequest, delivery: Delivery) -> web.StreamResponse:
    response = web.StreamResponse(headers=delivery.answer.headers)
    if delivery.zeros is None:
        return await _endless(request, response)
    response.content_length = delivery.length
    return await _zeros(request, response, delivery.zeros)


async def _zeros(
    request: web.BaseRequest, response: web.StreamResponse, number: int
) -> web.StreamResponse:
    """Write zeros until it is enough, or until the client goes away."""
    await response.prepare(request)
    piece = bytes(min(number, 1 << 20))
    for left in range(number, 0, -len(piece)):
        await response.write(piece[:left])
    await response.write_eof()
    return response


async def _endless(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    """Write zeros in gzip until the client goes away (which cancels or breaks the write)."""
    head, piece = _endless_gzip()
    await response.prepare(request)
    await response.write(head)
    while True:
        await response.write(piece)


@cache
def _endless_gzip() -> tuple[bytes, bytes]:
    """The head of a gzip stream, and a piece (64 MiB of zeros) to write again and again.

    A full flush forgets what was before it, so that the piece is right wherever it stands.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.flush(zlib.Z_FULL_FLUSH)
    mebibyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head, mebibyte * 64


def _cut(
    request: web.BaseRequest, response: web.StreamResponse, *, reset: bool
) -> web.StreamResponse:
    """End the connection in the midst of a body: politely, or with a reset."""
    response.force_close()
    transport = request.transport
    if transport is None:
        return response
    if reset:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
    return response
