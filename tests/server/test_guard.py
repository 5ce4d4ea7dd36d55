"""The guard: who may read, by which methods, and how much at once."""

import asyncio
import hashlib
import io
import logging
import re
import select
import socket
from typing import Any

import anyio
import pytest
import structlog

from npmmirror.server import listener
from tests.server.conftest import SHORT, Serve

pytestmark = pytest.mark.anyio

TOKEN = "a-token-of-this-test"
DIGEST = f"sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST", "OPTIONS", "TRACE", "MKCOL"])
async def test_nothing_can_be_changed(served: Serve, method: str) -> None:
    """Whatever is not GET or HEAD is refused."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        for path in ("/left-pad", "/-/user/org.couchdb.user:me", "/-/package/left-pad/dist-tags/x"):
            answer = await here.ask(path, method)
            assert answer.status in {404, 405}, path
        answer = await here.ask("/left-pad", method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
async def test_what_is_asked_by_post_says_so(served: Serve, method: str) -> None:
    """It named GET and HEAD, which it does not take."""
    async with served() as here:
        answer = await here.ask("/-/npm/v1/security/audits/quick", method)
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_head_is_get_without_the_body(served: Serve) -> None:
    """The same headers, of documents and tarballs alike."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        for path in ("/left-pad", "/left-pad/-/left-pad-1.0.0.tgz", "/-/ping", "/none"):
            head, get = await here.ask(path, "HEAD"), await here.ask(path)
            assert (head.status, head.body) == (get.status, b"")
            for name in ("Content-Length", "Content-Type", "Etag"):
                assert head.headers.get(name) == get.headers.get(name), path


async def test_tokens(served: Serve) -> None:
    """Where there are tokens nobody reads without one; what is read is for nobody else's cache."""
    async with served(tokens=[DIGEST]) as here:
        await here.publish("left-pad", "1.0.0")
        for header in (None, "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer", "Bearer \x80"):
            headers = {"Authorization": header} if header is not None else {}
            for path in ("/left-pad", "/-/ping", "/left-pad/-/left-pad-1.0.0.tgz", "/\x01"):
                answer = await here.ask(path.replace("\x01", "%00"), headers=headers)
                assert answer.status == 401, (header, path)
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        for scheme in ("Bearer", "bearer"):
            headers = {"Authorization": f"{scheme} {TOKEN}"}
            answer = await here.ask("/left-pad", headers=headers)
            assert answer.status == 200
            assert answer.headers["Cache-Control"].startswith("private")


async def test_the_access_log_has_no_token(served: Serve) -> None:
    """Who, what, status, bytes; never a token, in the address or beside it."""
    async with served(tokens=[DIGEST], access_log=True) as here:
        with structlog.testing.capture_logs() as lines:
            headers = {"Authorization": f"Bearer {TOKEN}", "User-Agent": "npm/test"}
            await here.ask(f"/none?token={TOKEN}", headers=headers)
        [line] = [line for line in lines if line["event"] == "request"]
        assert (line["status"], line["path"], line["method"]) == (404, "/none", "GET")
        assert (line["agent"], line["peer"]) == ("npm/test", "127.0.0.1")
        assert TOKEN not in str(lines)


async def test_the_access_log_has_no_password_of_an_address(served: Serve) -> None:
    """A request may name the whole address, with a password in it."""
    async with served(access_log=True) as here:
        asked = b"GET http://me:%s@h/none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        with structlog.testing.capture_logs() as lines:
            assert b" 404 " in await raw(here.url, asked % TOKEN.encode())
        assert [line["path"] for line in lines if line["event"] == "request"] == ["/none"]
        assert TOKEN not in str(lines)


async def test_too_many_requests_at_once(served: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over the limit is told to come again, and what is ready is not held up."""
    async with served(max_requests=1) as here:
        await here.publish("left-pad", "1.0.0")
        await here.publish("other", "1.0.0")
        gate, entered = anyio.Event(), anyio.Event()
        stand = here.resources.stock.stand

        async def slow(name: str) -> Any:
            entered.set()
            await gate.wait()
            return await stand(name)

        monkeypatch.setattr(type(here.resources.stock), "stand", lambda _, name: slow(name))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.ask, "/left-pad")
            await entered.wait()
            answer = await here.ask("/other")
            gate.set()
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await here.ask("/other")).status == 200


async def raw(url: str, sent: bytes) -> bytes:
    """What comes for some bytes, until the server closes the connection."""
    host, port = url.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        with anyio.fail_after(20):
            return await reader.read(1 << 20)
    finally:
        writer.close()


async def test_connections_beyond_the_limit_are_told_so_and_closed(served: Serve) -> None:
    """A line of HTTP, and the end."""
    async with served(max_connections=2) as here:
        host, port = here.url.removeprefix("http://").rsplit(":", 1)
        held = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        answer = await raw(here.url, b"")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After" in answer
        for _, writer in held:
            writer.close()


async def test_connections_leave_files_for_the_mirror(
    served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take a quarter of the process's descriptors at most: one may need three."""
    monkeypatch.setattr(listener, "_descriptors", lambda: 8)
    async with served() as here:
        host, port = here.url.removeprefix("http://").rsplit(":", 1)
        held = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        assert (await raw(here.url, b"")).startswith(b"HTTP/1.1 503 ")
        for _, writer in held:
            writer.close()


async def test_a_client_that_sends_no_request_is_cut_off(served: Serve) -> None:
    """Nor may it take for ever over a header."""
    async with served(client_seconds=0.2) as here:
        assert await raw(here.url, b"") == b""
        assert await raw(here.url, b"GET /left-pad HTTP/1.1\r\nHost: x\r\nX-Slow: ") == b""


@pytest.mark.parametrize(
    "headers", [b"Content-Length: 100\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n"]
)
async def test_a_question_that_never_ends_is_cut_off(served: Serve, headers: bytes) -> None:
    """Whoever promises a body and sends none takes the place of a request no longer than others."""
    async with served(client_seconds=0.2, max_requests=1) as here:
        path = b"/-/npm/v1/security/audits/quick"
        answer = await raw(here.url, b"POST %s HTTP/1.1\r\nHost: x\r\n%s" % (path, headers))
        assert answer.startswith(b"HTTP/1.1 408 "), answer
        assert (await here.ask("/-/ping")).status == 200


async def test_a_question_that_is_announced_too_large_is_refused_at_once(served: Serve) -> None:
    """None of it is waited for."""
    async with served() as here:
        path = b"/-/npm/v1/security/audits/quick"
        told = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n" % path
        assert (await raw(here.url, told)).startswith(b"HTTP/1.1 413 ")


def cut_off(url: str, path: str) -> bool:
    """Ask, take next to nothing of the answer, and see whether the server breaks off."""
    host, port = url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
        client.recv(1024)
        broken = select.poll()
        broken.register(client, select.POLLHUP | select.POLLERR)
        return bool(broken.poll(20_000))


async def test_a_client_that_takes_nothing_is_cut_off(served: Serve) -> None:
    """Its answer does not lie in memory for ever."""
    async with served(client_seconds=0.4) as here:
        here.registry.publish("large", "1.0.0", archive=bytes(32 << 20))
        await here.sync("large")
        path = "/large/-/large-1.0.0.tgz"
        assert await anyio.to_thread.run_sync(cut_off, here.url, path)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"nonsense\r\n\r\n",
    ],
)
async def test_requests_that_are_none(served: Serve, sent: bytes) -> None:
    """Too long, too many headers, TLS, nonsense: 400 and the end of the connection."""
    async with served() as here:
        answer = await raw(here.url, sent)
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), answer[:200]
        assert not re.search(rb"/(work|home|usr|tmp)/|Traceback|aiohttp", answer), answer


async def test_a_prefix_that_looks_like_another_view_puts_nothing_into_it(served: Serve) -> None:
    """What a proxy passes on of its clients' headers makes no answer of one view that of another."""
    async with served(trusted_proxies=["127.0.0.0/8"]) as here:
        await here.publish("a", "1.0.0")
        for path in ("/a/latest", "/-/package/a/dist-tags"):
            live = await here.ask(path, headers={"X-Forwarded-Prefix": "/-/raw"})
            raw_view = await here.ask(f"/-/raw{path}")
            assert live.headers["Etag"] != raw_view.headers["Etag"], path
        tarball = (await here.ask("/-/raw/a/latest")).json["dist"]["tarball"]
        assert not tarball.startswith(here.url)


@pytest.mark.parametrize("host", ["", "a b", "x/../y", "[::1", "a" * 300, "mirror.example:port"])
async def test_a_host_that_is_none(served: Serve, host: str) -> None:
    """Tarball URLs are never made of nonsense."""
    async with served() as here:
        answer = await here.ask("/left-pad", headers={"Host": host})
        assert answer.status == 400


async def test_the_address_that_the_client_used(served: Serve) -> None:
    """The Host header; what a proxy says counts of trusted proxies alone."""
    forwarded = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "npm.example",
        "X-Forwarded-Prefix": "/npm",
    }
    async with served() as here:
        await here.publish("@s/n", "1.0.0")
        answer = await here.ask("/@s/n", headers={"Host": "Mirror.example:81", **forwarded})
        url = answer.json["versions"]["1.0.0"]["dist"]["tarball"]
        assert url == "http://mirror.example:81/@s/n/-/n-1.0.0.tgz"


@pytest.mark.parametrize(
    ("keys", "base"),
    [
        ({"trusted_proxies": ["127.0.0.0/8"]}, "https://npm.example/npm"),
        ({"trusted_proxies": ["10.0.0.0/8"]}, "http://mirror.example"),
        ({"public_url": "https://public.example/x/"}, "https://public.example/x"),
    ],
)
async def test_behind_a_proxy(served: Serve, keys: dict[str, Any], base: str) -> None:
    """`trusted_proxies` and `public_url`."""
    headers = {
        "Host": "mirror.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "npm.example",
        "X-Forwarded-Prefix": "/npm",
        "Accept": SHORT,
    }
    async with served(**keys) as here:
        await here.publish("left-pad", "1.0.0")
        answer = await here.ask("/left-pad", headers=headers)
        url = answer.json["versions"]["1.0.0"]["dist"]["tarball"]
        assert url == f"{base}/left-pad/-/left-pad-1.0.0.tgz"


async def test_an_audit_is_answered_without_findings(served: Serve) -> None:
    """Bodies may be compressed, or nonsense; they are read and dropped."""
    async with served() as here:
        for path in ("advisories/bulk", "audits", "audits/quick"):
            for body, encoding in ((b"{}", "identity"), (b"\x1f\x8bnonsense", "gzip")):
                answer = await here.ask(
                    f"/-/npm/v1/security/{path}",
                    "POST",
                    data=body,
                    headers={"Content-Encoding": encoding, "Content-Type": "application/json"},
                )
                assert answer.status == 200
                assert answer.json.get("advisories", {}) == {}
        big = await here.ask("/-/npm/v1/security/audits", "POST", data=io.BytesIO(bytes(17 << 20)))
        assert big.status == 413


async def test_draining_is_told(served: Serve) -> None:
    """A balancer takes the process away; answers go on, each the last of its connection."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        assert (await here.ask("/-/ping")).json == {}
        here.app.draining = True
        answer = await here.ask("/-/ping")
        assert (answer.status, answer.json) == (503, {"error": "draining"})
        answer = await here.ask("/left-pad")
        assert (answer.status, answer.headers["Connection"]) == (200, "close")


logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
