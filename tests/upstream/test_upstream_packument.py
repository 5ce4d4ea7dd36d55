"""Packuments: exact bytes, whatever the encoding; conditional; capped; spooled."""
# ruff: noqa: ASYNC240 - a test may look at a small file for a moment

import gzip
import json
import os
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import brotli  # type: ignore[import-untyped, unused-ignore]  # ships no types
import pytest
from aiohttp import web

from npmmirror import zstd
from npmmirror.upstream import (
    BadAnswer,
    Found,
    Limits,
    Missing,
    NotModified,
    Outsized,
    ServerFault,
    UpstreamError,
)
from tests.upstream.loopback import Connect, Fetch, Serve, raw, reply

pytestmark = pytest.mark.anyio

SMALL = b'{ "name":"left-pad",\n "x": 1e2 }'
# Half a megabyte that does not compress to nothing, so that each path of the reader is taken.
LARGE = json.dumps({"name": "left-pad", "readme": os.urandom(250_000).hex()}).encode()

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=1),
    "zstd": zstd.compress,
}


@pytest.mark.parametrize("document", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("encoding", ENCODERS)
async def test_the_bytes_are_kept_as_they_were_encoded(
    serve: Serve, connect: Connect, fetch: Fetch, encoding: str, document: bytes
) -> None:
    """Every accepted content encoding gives back the very bytes, with the ETag kept."""
    body = ENCODERS[encoding](document)
    server = await serve(reply(body, Content_Encoding=encoding, ETag='"abc"'))
    found = await fetch(await connect(server.url))
    assert found == Found(document, len(document), '"abc"')


async def test_a_body_in_chunks_without_length_is_read(
    serve: Serve, connect: Connect, fetch: Fetch
) -> None:
    """Chunked transfer gives the same document."""

    async def chunked(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for at in range(0, len(LARGE), 100_000):
            await response.write(LARGE[at : at + 100_000])
        return response

    found = await fetch(await connect((await serve(chunked)).url))
    assert isinstance(found, Found)
    assert found.raw == LARGE


async def test_the_request_is_for_the_full_document(
    serve: Serve, connect: Connect, fetch: Fetch
) -> None:
    """`Accept` has the one type; the mirror names itself; all that can be undone is accepted."""
    server = await serve(reply())
    await fetch(await connect(server.url + "/npm"), "@babel/core")
    assert server.paths == ["/npm/@babel%2fcore"]
    sent = server.headers[0]
    assert sent["Accept"] == "application/json"
    assert sent["Accept-Encoding"] == "zstd, br, gzip, deflate"
    assert sent["User-Agent"] == "npmmirror/0 (test; operator@mirror.example)"
    assert "If-None-Match" not in sent


async def test_an_etag_makes_the_request_conditional(
    serve: Serve, connect: Connect, fetch: Fetch
) -> None:
    """A 304 to our ETag says that nothing changed."""
    server = await serve(web.Response(status=304, headers={"ETag": '"abc"'}))
    assert await fetch(await connect(server.url), etag='W/"abc"') == NotModified()
    assert server.headers[0]["If-None-Match"] == 'W/"abc"'


async def test_a_304_that_nobody_asked_for_is_no_answer(
    serve: Serve, connect: Connect, fetch: Fetch
) -> None:
    """Without an ETag there is nothing that could be unmodified."""
    server = await serve(web.Response(status=304))
    with pytest.raises(BadAnswer) as bad:
        await fetch(await connect(server.url))
    assert bad.value.reason == "http_304"


async def test_busting_asks_past_every_cache(serve: Serve, connect: Connect, fetch: Fetch) -> None:
    """A query that no cache has seen, no-cache, and no ETag: a 304 may itself be stale."""
    server = await serve(reply())
    await fetch(await connect(server.url), bust=True, etag='"abc"')
    assert server.paths[0].startswith("/left-pad?bust=")
    assert server.headers[0]["Cache-Control"] == "no-cache"
    assert "If-None-Match" not in server.headers[0]


async def test_an_etag_that_could_not_be_sent_back_is_dropped(
    serve: Serve, connect: Connect, fetch: Fetch
) -> None:
    """A header with strange bytes must not break the next request."""
    answer = b'HTTP/1.1 200 OK\r\nETag: "\xff\xfe"\r\nContent-Length: 2\r\n\r\n{}'
    found = await fetch(await connect((await serve(raw(answer))).url))
    assert found == Found(b"{}", 2, None)


@pytest.mark.parametrize("status", [404, 410, 451])
async def test_missing_tells_the_status_and_what_was_said(
    serve: Serve, connect: Connect, fetch: Fetch, status: int
) -> None:
    """That a package is not there is an answer, with its evidence."""
    server = await serve(reply({"error": "Not found"}, status))
    assert await fetch(await connect(server.url)) == Missing(status, b'{"error": "Not found"}')
    assert len(server.paths) == 1


async def test_what_a_404_says_is_cut(serve: Serve, connect: Connect, fetch: Fetch) -> None:
    """An endless error page is not read to its end."""
    missing = await fetch(await connect((await serve(reply(b"x" * 300_000, 404))).url))
    assert isinstance(missing, Missing)
    assert missing.body == b"x" * 65536


@pytest.mark.parametrize("status", [201, 204, 400, 401, 403, 406, 414])
async def test_other_statuses_are_bad_answers(
    serve: Serve, connect: Connect, fetch: Fetch, status: int
) -> None:
    """They are the package's own fault, told with the status, and asked for once."""
    server = await serve(reply(b"no", status))
    with pytest.raises(BadAnswer) as bad:
        await fetch(await connect(server.url))
    assert bad.value.reason == f"http_{status}"
    assert len(server.paths) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<!doctype html><html>", "html"),
        (b"\xef\xbb\xbf  <html>" + b" " * 100, "html"),
        (b"", "empty"),
        (b"OK", "not_json"),
        (b"[]", "not_json"),
    ],
)
async def test_a_200_that_is_no_document_is_refused(
    serve: Serve, connect: Connect, fetch: Fetch, body: bytes, reason: str
) -> None:
    """A page of a CDN or a login form is not taken for a packument."""
    with pytest.raises(BadAnswer) as bad:
        await fetch(await connect((await serve(reply(body))).url))
    assert bad.value.reason == reason


async def test_a_wrong_content_encoding_is_told(
    serve: Serve, connect: Connect, fetch: Fetch
) -> None:
    """Plain JSON under `Content-Encoding: gzip` is no document."""
    server = await serve(reply(SMALL, Content_Encoding="gzip"))
    with pytest.raises(BadAnswer) as bad:
        await fetch(await connect(server.url))
    assert bad.value.reason == "wrong_encoding"


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate"])
async def test_a_cut_compressed_body_is_truncated(
    serve: Serve, connect: Connect, fetch: Fetch, encoding: str
) -> None:
    """The HTTP body is whole and the stream in it is not: it is asked for again, then told."""
    server = await serve(reply(ENCODERS[encoding](LARGE)[:-30], Content_Encoding=encoding))
    with pytest.raises(ServerFault) as bad:
        await fetch(await connect(server.url))
    assert bad.value.reason == "truncated"
    assert len(server.paths) == 3


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate"])
async def test_a_bomb_is_stopped_at_the_cap(
    serve: Serve, connect: Connect, fetch: Fetch, spool: Path, encoding: str
) -> None:
    """Fifty megabytes in a few kilobytes: refused, and no file is left."""
    bomb = ENCODERS[encoding](b"{" + b" " * 50_000_000)
    server = await serve(reply(bomb, Content_Encoding=encoding))
    upstream = await connect(server.url, limits=Limits(max_packument_bytes=5_000_000))
    for over in (10_000_000, 1000):
        with pytest.raises(BadAnswer) as bad:
            await fetch(upstream, spool_over=over)
        assert bad.value.reason == "too_large"
        assert not spool.exists()


@pytest.mark.parametrize(
    ("encoding", "limits"),
    [
        ("identity", Limits(max_packument_bytes=400_000)),
        ("gzip", Limits(max_compressed_bytes=200_000)),
    ],
)
async def test_an_announced_length_beyond_the_cap_is_not_read(
    serve: Serve, connect: Connect, fetch: Fetch, encoding: str, limits: Limits
) -> None:
    """`Content-Length` is believed where it says too much."""
    server = await serve(reply(ENCODERS[encoding](LARGE), Content_Encoding=encoding))
    upstream = await connect(server.url, limits=limits)
    with pytest.raises(BadAnswer, match="announced") as bad:
        await fetch(upstream)
    assert bad.value.reason == "too_large"
    assert upstream.traffic.bytes_received == 0


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_document_of_more_than_the_caller_takes_is_no_error(
    serve: Serve, connect: Connect, spool: Path, encoding: str
) -> None:
    """Neither does it leave a file; beyond the client's own limit it is one all the same."""
    server = await serve(reply(ENCODERS[encoding](LARGE), Content_Encoding=encoding))
    length = len(LARGE)
    upstream = await connect(server.url, limits=Limits(max_packument_bytes=length))
    asked = partial(upstream.packument, "left-pad", spool=spool, spool_over=1000)
    assert await asked(most=length - 1) == Outsized()
    assert not spool.exists()
    assert isinstance(await asked(most=length), Found)
    guarded = await connect(server.url, limits=Limits(max_packument_bytes=length - 2))
    with pytest.raises(BadAnswer):
        await guarded.packument("left-pad", spool=spool, spool_over=1000, most=length - 1)


@pytest.mark.parametrize(
    ("encoding", "limits"),
    [
        ("identity", Limits(max_packument_bytes=400_000)),
        ("gzip", Limits(max_compressed_bytes=200_000)),
    ],
)
async def test_an_endless_body_is_cut_off(
    serve: Serve, connect: Connect, fetch: Fetch, encoding: str, limits: Limits
) -> None:
    """Without a length, what arrives is counted."""
    lump = os.urandom(50_000)

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Encoding": encoding})
        await response.prepare(request)
        while True:
            await response.write(lump)

    server = await serve(endless)
    with pytest.raises(BadAnswer) as bad:
        await fetch(await connect(server.url, limits=limits))
    assert bad.value.reason == "too_large"


@pytest.mark.parametrize("encoding", ENCODERS)
async def test_a_large_document_goes_to_the_file(
    serve: Serve, connect: Connect, fetch: Fetch, spool: Path, encoding: str
) -> None:
    """Above `spool_over` the bytes lie in the file, and nothing of them is kept in memory."""
    server = await serve(reply(ENCODERS[encoding](LARGE), Content_Encoding=encoding))
    found = await fetch(await connect(server.url), spool_over=100_000)
    assert isinstance(found, Found)
    assert (found.raw, found.length) == (spool, len(LARGE))
    assert spool.read_bytes() == LARGE


async def test_a_document_of_just_the_limit_stays_in_memory(
    serve: Serve, connect: Connect, fetch: Fetch, spool: Path
) -> None:
    """`spool_over` is exclusive."""
    server = await serve(reply(SMALL))
    upstream = await connect(server.url)
    found = await fetch(upstream, spool_over=len(SMALL))
    assert isinstance(found, Found)
    assert found.raw == SMALL
    over = await fetch(upstream, spool_over=len(SMALL) - 1)
    assert isinstance(over, Found)
    assert over.raw == spool


@pytest.mark.parametrize("body", [b"<html>" + b" " * 5000, LARGE], ids=["html", "truncated"])
async def test_no_file_is_left_after_an_error(
    serve: Serve, connect: Connect, fetch: Fetch, spool: Path, body: bytes
) -> None:
    """The caller has a file to delete only where it was given one."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    cut = body if body is not LARGE else body[:-1]
    with pytest.raises(UpstreamError):
        await fetch(await connect((await serve(raw(head + cut))).url), spool_over=1000)
    assert not spool.exists()


async def test_a_spool_that_cannot_be_written_is_our_own_fault(
    serve: Serve, connect: Connect, fetch: Fetch, spool: Path
) -> None:
    """An OSError of the disk is not taken for one of the network."""
    spool.mkdir()
    server = await serve(reply(LARGE))
    with pytest.raises(IsADirectoryError):
        await fetch(await connect(server.url), spool_over=1000)
    assert len(server.paths) == 1


async def test_a_retry_starts_the_file_anew(
    serve: Serve, connect: Connect, fetch: Fetch, spool: Path
) -> None:
    """A first half that was spooled is not in front of the second try."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE)
    server = await serve(raw(head + LARGE[:300_000]), reply(LARGE))
    upstream = await connect(server.url)
    found = await fetch(upstream, spool_over=1000)
    assert isinstance(found, Found)
    assert spool.read_bytes() == LARGE
    assert upstream.traffic.retries == 1


async def test_a_name_that_cannot_be_asked_for_is_sent_nowhere(
    serve: Serve, connect: Connect, fetch: Fetch
) -> None:
    """A hostile name is the package's own fault."""
    server = await serve(reply())
    with pytest.raises(BadAnswer) as bad:
        await fetch(await connect(server.url), "../admin")
    assert bad.value.reason == "bad_name"
    assert not server.paths


async def test_hostile_names_arrive_as_one_segment(
    serve: Serve, connect: Connect, fetch: Fetch
) -> None:
    """What goes over the wire is what was encoded."""
    server = await serve(reply())
    upstream = await connect(server.url + "/db")
    for name in ("a?b#c", "%00", "x\r\nHost: evil", "ü n", "y" * 300, "a/b"):
        await fetch(upstream, name)
    assert server.paths == [
        "/db/a%3Fb%23c",
        "/db/%2500",
        "/db/x%0D%0AHost%3A%20evil",
        "/db/%C3%BC%20n",
        "/db/" + "y" * 300,
        "/db/a%2Fb",
    ]


async def test_traffic_is_counted(serve: Serve, connect: Connect, fetch: Fetch) -> None:
    """Requests and bytes as they arrive, for `status`."""
    body = gzip.compress(LARGE)
    upstream = await connect((await serve(reply(body, Content_Encoding="gzip"))).url)
    await fetch(upstream)
    await fetch(upstream)
    assert upstream.traffic.requests == 2
    assert upstream.traffic.bytes_received == 2 * len(body)
