"""Sending an answer as a fault wants it sent."""

import asyncio
import socket
import struct
import zlib

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
    if delivery.endless:
        return await _endless(request, web.StreamResponse(headers=answer.headers))
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


async def _endless(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    """Write zeros in gzip until the client goes away (which cancels or breaks the write)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    await response.prepare(request)
    zeros = bytes(1 << 20)
    while True:
        await response.write(packer.compress(zeros) + packer.flush(zlib.Z_SYNC_FLUSH))


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
