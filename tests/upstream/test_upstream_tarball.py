"""Tarballs: where they are asked for, and what may go wrong while they arrive."""

import gzip
import os

import anyio
import pytest
from aiohttp import web

from npmmirror.upstream import BadAnswer, Limits, ServerFault, Timeouts, Upstream
from npmmirror.upstream.tarball import SMALL
from tests.upstream.loopback import Connect, Serve, raw, reply

pytestmark = pytest.mark.anyio

FILE = gzip.compress(os.urandom(300_000))
LARGE = gzip.compress(os.urandom(SMALL))
DIST = "http://registry.example/left-pad/-/left-pad-1.0.0.tgz"


async def download(upstream: Upstream, dist: str, name: str = "left-pad") -> bytes:
    async with upstream.tarball(name, dist) as body:
        return b"".join([chunk async for chunk in body.chunks()])


async def test_a_tarball_is_streamed(serve: Serve, connect: Connect) -> None:
    """Its type is known before its bytes, which come in several pieces."""
    server = await serve(reply(LARGE, Content_Type="application/octet-stream"))
    upstream = await connect(server.url)
    async with upstream.tarball("left-pad", DIST) as body:
        assert body.content_type == "application/octet-stream"
        assert body.url == server.url + "/left-pad/-/left-pad-1.0.0.tgz"
        chunks = [chunk async for chunk in body.chunks()]
    assert b"".join(chunks) == LARGE
    assert len(chunks) > 1
    assert server.headers[0]["Accept-Encoding"] == "identity"


async def test_a_small_tarball_comes_in_one_piece(serve: Serve, connect: Connect) -> None:
    """Each piece costs some of the event loop's time, and most tarballs are small."""
    upstream = await connect((await serve(reply(FILE))).url)
    async with upstream.tarball("left-pad", DIST) as body:
        assert [chunk async for chunk in body.chunks()] == [FILE]


async def test_an_empty_file_is_a_file(serve: Serve, connect: Connect) -> None:
    """Zero-length tarballs exist; their digest is for the caller to judge."""
    server = await serve(reply(b""))
    assert await download(await connect(server.url), DIST) == b""


async def test_the_path_of_dist_is_tried_after_a_404(serve: Serve, connect: Connect) -> None:
    """First the usual place, then the given path on the registry's own host."""
    server = await serve(reply(b"", 404), reply(FILE))
    upstream = await connect(server.url + "/npm")
    assert await download(upstream, "http://registry.example/files/x.tgz") == FILE
    assert server.paths == ["/npm/left-pad/-/x.tgz", "/files/x.tgz"]


async def test_a_file_that_is_nowhere_is_asked_for_once_at_each_place(
    serve: Serve, connect: Connect
) -> None:
    """Where both places are the same there is one request."""
    server = await serve(reply(b"", 404))
    with pytest.raises(BadAnswer) as bad:
        await download(await connect(server.url), server.url + "/left-pad/-/left-pad-1.0.0.tgz")
    assert bad.value.reason == "http_404"
    assert server.paths == ["/left-pad/-/left-pad-1.0.0.tgz"]


async def test_another_status_than_404_ends_the_search(serve: Serve, connect: Connect) -> None:
    """A 403 says that the file is there."""
    server = await serve(reply(b"", 403))
    with pytest.raises(BadAnswer) as bad:
        await download(await connect(server.url + "/npm"), "http://registry.example/files/x.tgz")
    assert bad.value.reason == "http_403"
    assert len(server.paths) == 1


async def test_another_host_is_asked_only_where_allowed(serve: Serve, connect: Connect) -> None:
    """The host of dist.tarball comes last, and only from tarball_hosts."""
    other = await serve(reply(FILE))
    server = await serve(reply(b"", 404))
    dist = other.url + "/x.tgz"
    with pytest.raises(BadAnswer, match="not in tarball_hosts") as bad:
        await download(await connect(server.url), dist)
    assert bad.value.reason == "host_refused"
    assert not other.paths
    allowed = await connect(server.url, tarball_hosts=[other.url.removeprefix("http://")])
    assert await download(allowed, dist) == FILE
    assert other.paths == ["/x.tgz"]


async def test_a_dist_that_is_no_url_is_the_packages_fault(serve: Serve, connect: Connect) -> None:
    """Nothing is sent for it."""
    server = await serve(reply(FILE))
    with pytest.raises(BadAnswer) as bad:
        await download(await connect(server.url), "left-pad.tgz")
    assert bad.value.reason == "bad_url"
    assert not server.paths


async def test_an_announced_size_beyond_the_limit_is_refused_at_once(
    serve: Serve, connect: Connect
) -> None:
    """Not a byte of the body is read."""
    upstream = await connect(
        (await serve(reply(FILE))).url, limits=Limits(max_tarball_bytes=100_000)
    )
    with pytest.raises(BadAnswer, match="announced") as bad:
        async with upstream.tarball("left-pad", DIST):
            pytest.fail("it was opened")
    assert bad.value.reason == "too_large"


async def test_what_arrives_is_counted_where_no_length_is_told(
    serve: Serve, connect: Connect
) -> None:
    """A chunked body has the same limit."""

    async def chunked(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(FILE)
        return response

    server = await serve(chunked)
    with pytest.raises(BadAnswer) as bad:
        await download(await connect(server.url, limits=Limits(max_tarball_bytes=100_000)), DIST)
    assert bad.value.reason == "too_large"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(FILE)


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + FILE[:-1],
        HEAD + FILE[:100],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" + FILE[:200],
    ],
)
async def test_fewer_bytes_than_promised_are_truncated(
    serve: Serve, connect: Connect, answer: bytes
) -> None:
    """Raised from the stream and not repeated here: the caller holds a part of the file."""
    server = await serve(raw(answer))
    with pytest.raises(ServerFault) as bad:
        await download(await connect(server.url), DIST)
    assert bad.value.reason == "truncated"
    assert len(server.paths) == 1


async def test_a_reset_in_the_middle_is_a_server_fault(serve: Serve, connect: Connect) -> None:
    """A connection that is torn down is told like one that ends early."""

    async def torn(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(FILE))})
        await response.prepare(request)
        await response.write(FILE[:1000])
        assert request.transport is not None
        request.transport.abort()
        return response

    server = await serve(torn)
    with pytest.raises(ServerFault) as bad:
        await download(await connect(server.url), DIST)
    assert bad.value.reason in {"truncated", "reset"}


async def test_a_server_that_falls_silent_times_out(serve: Serve, connect: Connect) -> None:
    """`read_seconds` bounds a silence."""

    async def stalled(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(FILE))})
        await response.prepare(request)
        await response.write(FILE[:1000])
        await anyio.sleep_forever()
        return response

    timeouts = Timeouts(connect_seconds=5, read_seconds=0.05, total_seconds=20)
    upstream = await connect((await serve(stalled)).url, timeouts=timeouts)
    with pytest.raises(ServerFault) as bad:
        await download(upstream, DIST)
    assert bad.value.reason == "timeout"


async def test_a_slow_drip_times_out_as_a_whole(serve: Serve, connect: Connect) -> None:
    """A byte now and then defeats the read time-out; `total_seconds` ends it."""

    async def drip(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(FILE))})
        await response.prepare(request)
        for byte in FILE:
            await response.write(bytes([byte]))
            await anyio.sleep(0.01)
        return response

    timeouts = Timeouts(connect_seconds=5, read_seconds=5, total_seconds=0.1)
    upstream = await connect((await serve(drip)).url, timeouts=timeouts)
    with pytest.raises(ServerFault) as bad:
        await download(upstream, DIST)
    assert bad.value.reason == "timeout"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\n<!DOCTYPE html><html>", "application/octet-stream"),
        (b"<html>", "text/plain"),
        (b"please log in", "text/html; charset=utf-8"),
    ],
)
async def test_a_page_in_place_of_a_file_is_html(
    serve: Serve, connect: Connect, body: bytes, content_type: str
) -> None:
    """Told by its beginning, or by its type where the bytes are no gzip."""
    server = await serve(reply(body, Content_Type=content_type))
    with pytest.raises(BadAnswer) as bad:
        await download(await connect(server.url), DIST)
    assert bad.value.reason == "html"


async def test_a_tarball_of_the_wrong_type_is_a_tarball(serve: Serve, connect: Connect) -> None:
    """The bytes count, not what the server calls them."""
    server = await serve(reply(FILE, Content_Type="text/html"))
    assert await download(await connect(server.url), DIST) == FILE


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "br"])
async def test_a_tgz_that_is_called_encoded_stays_as_it_is(
    serve: Serve, connect: Connect, encoding: str
) -> None:
    """Some servers say `Content-Encoding: gzip` because of the file's name alone."""
    server = await serve(reply(FILE, Content_Encoding=encoding))
    assert await download(await connect(server.url), DIST) == FILE


@pytest.mark.parametrize("file", [FILE, gzip.compress(b"tiny")], ids=["large", "tiny"])
async def test_a_tgz_that_is_encoded_is_decoded(
    serve: Serve, connect: Connect, file: bytes
) -> None:
    """Where what is inside is a gzip file again, the encoding was meant."""
    server = await serve(reply(gzip.compress(file), Content_Encoding="gzip"))
    upstream = await connect(server.url)
    async with upstream.tarball("left-pad", DIST) as body:
        assert b"".join([chunk async for chunk in body.chunks()]) == file


async def test_a_request_that_fails_is_repeated(serve: Serve, connect: Connect) -> None:
    """Before the body is handed over, a 500 is worth another try."""
    server = await serve(reply(b"", 500), reply(FILE))
    assert await download(await connect(server.url), DIST) == FILE
    assert len(server.paths) == 2


async def test_leaving_early_gives_the_place_back(serve: Serve, connect: Connect) -> None:
    """A caller that stops in the middle does not hold up the next."""
    server = await serve(reply(FILE))
    upstream = await connect(server.url, concurrency=1)
    for _ in range(5):
        async with upstream.tarball("left-pad", DIST) as body:
            async for chunk in body.chunks():
                assert chunk
                break
    with anyio.fail_after(5):
        assert await download(upstream, DIST) == FILE


async def test_a_mirror_says_that_it_does_not_hold_it(serve: Serve, connect: Connect) -> None:
    """Whatever the status; nothing else of that mirror is asked, which might have it fetched."""
    for status in (404, 451):
        server = await serve(reply(b"{}", status, Npmmirror_Outcome="not_held"))
        upstream = await connect(f"{server.url}/-/raw")
        with pytest.raises(BadAnswer) as bad:
            await download(upstream, DIST)
        assert bad.value.reason == "not_held"
        assert server.paths == ["/-/raw/left-pad/-/left-pad-1.0.0.tgz"]


async def test_what_a_mirror_does_not_hold_another_host_may_have(
    serve: Serve, connect: Connect
) -> None:
    """Where `upstream.tarball_hosts` has it; and what that one says does not hide the reason."""
    held_by = await serve(reply(FILE), reply(b"", 404))
    server = await serve(*[reply(b"{}", 404, Npmmirror_Outcome="not_held")] * 2)
    upstream = await connect(server.url, tarball_hosts=[held_by.url.removeprefix("http://")])
    dist = f"{held_by.url}/left-pad/-/left-pad-1.0.0.tgz"
    assert await download(upstream, dist) == FILE
    with pytest.raises(BadAnswer) as bad:
        await download(upstream, dist)
    assert bad.value.reason == "not_held"
