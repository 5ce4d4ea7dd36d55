"""The way to a host: faults, refusals, redirects, proxies."""

import socket

import anyio
import pytest
from aiohttp import web
from yarl import URL

from npmmirror.errors import UsageError
from npmmirror.upstream import (
    BadAnswer,
    Found,
    HostFault,
    ServerFault,
    Timeouts,
    UpstreamError,
)
from npmmirror.upstream.session import proxy_for
from tests.upstream.loopback import Connect, Fetch, MovedClock, Serve, raw, reply

pytestmark = pytest.mark.anyio


async def reason(fetch: Fetch, connect: Connect, url: str, **others: object) -> UpstreamError:
    """The error that asking there ends with."""
    upstream = await connect(url, **others)
    with pytest.raises(UpstreamError) as error:
        await fetch(upstream)
    return error.value


async def test_a_refused_port_is_the_hosts_fault(connect: Connect, fetch: Fetch) -> None:
    """Nobody listens: pause as a whole."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        fault = await reason(fetch, connect, f"http://127.0.0.1:{free.getsockname()[1]}")
    assert isinstance(fault, HostFault)
    assert fault.reason == "refused"


async def test_a_name_that_does_not_resolve_is_the_hosts_fault(
    connect: Connect, fetch: Fetch
) -> None:
    """DNS does not know the host."""
    fault = await reason(fetch, connect, "http://nowhere.invalid", attempts=1)
    assert isinstance(fault, HostFault)
    assert fault.reason == "dns"


async def test_a_failing_handshake_is_the_hosts_fault(
    serve: Serve, connect: Connect, fetch: Fetch
) -> None:
    """A port that speaks no TLS cannot be asked by https, and trying again does not help."""
    server = await serve(reply())
    fault = await reason(fetch, connect, server.url.replace("http:", "https:"))
    assert isinstance(fault, HostFault)
    assert fault.reason == "tls"


async def test_a_connection_that_does_not_stand_in_time_is_the_hosts_fault(
    connect: Connect, fetch: Fetch
) -> None:
    """A TLS handshake that nobody answers runs into `connect_seconds`."""
    timeouts = Timeouts(connect_seconds=0.05, read_seconds=5, total_seconds=20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        fault = await reason(fetch, connect, url, timeouts=timeouts, attempts=1)
    assert isinstance(fault, HostFault)
    assert fault.reason == "connect_timeout"


@pytest.mark.parametrize("status", [500, 502, 504, 520, 408, 425])
async def test_a_5xx_is_repeated_and_then_told(
    serve: Serve, connect: Connect, fetch: Fetch, status: int
) -> None:
    """It may be the host's fault or the package's."""
    server = await serve(reply(b"", status))
    fault = await reason(fetch, connect, server.url)
    assert isinstance(fault, ServerFault)
    assert fault.reason == f"http_{status}"
    assert len(server.paths) == 3


async def test_a_5xx_that_passes_is_not_told(serve: Serve, connect: Connect, fetch: Fetch) -> None:
    """The second attempt counts."""
    server = await serve(reply(b"", 500), reply())
    assert isinstance(await fetch(await connect(server.url)), Found)


@pytest.mark.parametrize(
    ("answer", "told"), [(b"", "reset"), (b"HELLO\r\n\r\n", "bad_http"), (b"HTTP/1.1 2", "reset")]
)
async def test_no_http_is_a_server_fault(
    serve: Serve, connect: Connect, fetch: Fetch, answer: bytes, told: str
) -> None:
    """Hanging up, or saying something else, before an answer stands."""
    fault = await reason(fetch, connect, (await serve(raw(answer))).url)
    assert isinstance(fault, ServerFault)
    assert fault.reason == told


async def test_a_silent_server_times_out(serve: Serve, connect: Connect, fetch: Fetch) -> None:
    """No answer at all within `read_seconds`."""

    async def silent(_: web.BaseRequest) -> web.StreamResponse:
        await anyio.sleep_forever()
        raise AssertionError

    timeouts = Timeouts(connect_seconds=5, read_seconds=0.05, total_seconds=20)
    server = await serve(silent)
    fault = await reason(fetch, connect, server.url, timeouts=timeouts, attempts=1)
    assert isinstance(fault, ServerFault)
    assert fault.reason == "timeout"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_short_retry_after_is_waited_out(
    serve: Serve, connect: Connect, fetch: Fetch, clock: MovedClock, status: int
) -> None:
    """The next attempt comes when the host asked for it, a little later."""
    server = await serve(reply(b"", status, Retry_After="7"), reply())
    upstream = await connect(server.url)
    assert isinstance(await fetch(upstream), Found)
    assert clock.slept == [pytest.approx(7 * (1 + 1 / 30))]
    assert (upstream.traffic.throttled, upstream.traffic.retries) == (1, 1)


async def test_retry_after_may_be_a_date(
    serve: Serve, connect: Connect, fetch: Fetch, clock: MovedClock
) -> None:
    """The date is held against the clock."""
    at = "Fri, 20 Nov 2026 10:16:48 GMT"  # 1008 seconds past ten; the clock stands at 1000
    server = await serve(reply(b"", 429, Retry_After=at), reply())
    assert isinstance(await fetch(await connect(server.url)), Found)
    assert clock.slept == [pytest.approx(8 * (1 + 1 / 30))]


async def test_a_long_retry_after_is_told_at_once(
    serve: Serve, connect: Connect, fetch: Fetch, clock: MovedClock
) -> None:
    """The caller pauses as a whole, and nothing more is sent to that host."""
    server = await serve(reply(b"", 429, Retry_After="600"), reply())
    upstream = await connect(server.url)
    faults = []
    for _ in range(3):
        with pytest.raises(HostFault) as error:
            await fetch(upstream)
        faults.append((error.value.reason, error.value.retry_after))
    assert faults == [("http_429", 600.0), ("throttled", 600.0), ("throttled", 600.0)]
    assert (len(server.paths), clock.slept) == (1, [])
    clock.seconds += 600
    assert isinstance(await fetch(upstream), Found)


async def test_without_retry_after_the_pauses_grow(
    serve: Serve, connect: Connect, fetch: Fetch, clock: MovedClock
) -> None:
    """A bare 429 is answered with longer and longer pauses, then told."""
    server = await serve(reply(b"", 429))
    with pytest.raises(HostFault) as error:
        await fetch(await connect(server.url, attempts=4))
    assert error.value.retry_after is None
    assert clock.slept == [pytest.approx(seconds * (1 + 1 / 30)) for seconds in (1, 2, 4)]


async def test_a_refusal_slows_all_requests_to_the_host(
    serve: Serve, connect: Connect, fetch: Fetch, clock: MovedClock
) -> None:
    """The feed waits too when the registry on the same host refuses."""
    page = {"results": [], "last_seq": 1}
    server = await serve(reply(b"", 503, Retry_After="5"), reply(page))
    upstream = await connect(server.url, feed=server.url + "/feed", attempts=1)
    with pytest.raises(HostFault):
        await fetch(upstream)
    await upstream.changes(0, 1)
    assert clock.slept == [pytest.approx(5 * (1 + 1 / 30))]


async def test_another_host_is_not_slowed(
    serve: Serve, connect: Connect, fetch: Fetch, clock: MovedClock
) -> None:
    """Each host has its own throttle."""
    refusing = await serve(reply(b"", 503, Retry_After="5"))
    feed = await serve(reply({"results": [], "last_seq": 1}))
    upstream = await connect(refusing.url, feed=feed.url, attempts=1)
    with pytest.raises(HostFault):
        await fetch(upstream)
    await upstream.changes(0, 1)
    assert clock.slept == []


async def test_no_more_requests_than_the_concurrency_are_under_way(
    serve: Serve, connect: Connect, fetch: Fetch
) -> None:
    """The turnstile of the host bounds connections, with one place to spare for the feed."""
    under_way, most = 0, 0

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await anyio.sleep(0.001)
        under_way -= 1
        return web.Response(body=b"{}")

    upstream = await connect((await serve(answer)).url, concurrency=3)
    async with anyio.create_task_group() as tasks:
        for _ in range(30):
            tasks.start_soon(fetch, upstream)
    assert most == 4


async def test_cancelled_requests_give_their_places_back(
    serve: Serve, connect: Connect, fetch: Fetch
) -> None:
    """Shutting down in the middle of requests does not wedge the client."""
    both_asked = anyio.Event()

    async def silent(_: web.BaseRequest) -> web.StreamResponse:
        if len(server.paths) == 2:
            both_asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    server = await serve(silent, silent, reply())
    upstream = await connect(server.url, concurrency=1)
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(fetch, upstream)
        await both_asked.wait()
        tasks.cancel_scope.cancel()
    with anyio.fail_after(5):
        assert isinstance(await fetch(upstream), Found)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_on_the_registrys_host_is_followed(
    serve: Serve, connect: Connect, fetch: Fetch, status: int
) -> None:
    """With the same headers, and to a relative address too."""
    server = await serve(reply(b"", status, Location="/moved?x=1"), reply())
    assert isinstance(await fetch(await connect(server.url), etag='"a"'), Found)
    assert server.paths == ["/left-pad", "/moved?x=1"]
    assert server.headers[1]["If-None-Match"] == '"a"'


async def test_a_redirect_to_another_host_is_followed_where_allowed(
    serve: Serve, connect: Connect, fetch: Fetch
) -> None:
    """A second server is asked only if tarball_hosts names it."""
    other = await serve(reply())
    server = await serve(reply(b"", 302, Location=other.url + "/x"))
    refused = await reason(fetch, connect, server.url)
    assert isinstance(refused, BadAnswer)
    assert refused.reason == "redirect_refused"
    assert not other.paths
    hosts = [other.url.removeprefix("http://")]
    upstream = await connect(server.url, tarball_hosts=hosts, concurrency=1)
    assert isinstance(await fetch(upstream), Found)


async def test_redirects_in_a_circle_end(serve: Serve, connect: Connect, fetch: Fetch) -> None:
    """Five are followed."""
    server = await serve(reply(b"", 302, Location="/left-pad"))
    assert (await reason(fetch, connect, server.url)).reason == "redirect_refused"
    assert len(server.paths) == 6


async def test_credentials_are_not_told(serve: Serve, connect: Connect, fetch: Fetch) -> None:
    """A password in the registry's URL is sent to it, and stands in no error."""
    server = await serve(reply(b"", 403))
    url = server.url.replace("//", "//me:hunter2@")
    fault = await reason(fetch, connect, url)
    assert "hunter2" not in str(fault)
    assert server.headers[0]["Authorization"].startswith("Basic ")


async def test_http_proxy_is_honoured(
    serve: Serve, connect: Connect, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy is asked for the whole URL, with its own credentials."""
    proxy = await serve(reply())
    monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:pw@"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert isinstance(await fetch(await connect("http://registry.example/npm")), Found)
    assert proxy.paths == ["http://registry.example/npm/left-pad"]
    assert proxy.headers[0]["Proxy-Authorization"].startswith("Basic ")


async def test_https_goes_through_the_proxy_as_a_tunnel(
    serve: Serve, connect: Connect, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that refuses to connect is the host's fault."""
    proxy = await serve(reply(b"", 407))
    monkeypatch.setenv("https_proxy", proxy.url)
    fault = await reason(fetch, connect, "https://registry.example", attempts=1)
    assert isinstance(fault, HostFault)
    assert fault.reason == "proxy"
    assert proxy.paths == ["registry.example:443"]


async def test_a_proxy_that_is_away_is_the_hosts_fault(
    connect: Connect, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told apart from the registry being away."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free.getsockname()[1]}")
        fault = await reason(fetch, connect, "http://registry.example", attempts=1)
    assert isinstance(fault, HostFault)
    assert fault.reason == "proxy"


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "http://r.example", None),
        ({"http_proxy": "http://p.example:3128"}, "http://r.example", "http://p.example:3128"),
        ({"http_proxy": "p.example:3128"}, "http://r.example", "http://p.example:3128"),
        ({"http_proxy": "http://p.example"}, "https://r.example", None),
        ({"HTTPS_PROXY": "http://p.example"}, "https://r.example", "http://p.example"),
        ({"http_proxy": "http://p.example", "no_proxy": "r.example"}, "http://r.example", None),
        ({"http_proxy": "http://p.example", "no_proxy": ".example"}, "http://r.example", None),
        ({"http_proxy": "http://p.example", "no_proxy": "*"}, "http://r.example", None),
    ],
)
async def test_the_environment_names_the_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, proxy: str | None
) -> None:
    """By scheme, in either case, unless no_proxy names the host."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(URL(url)) == (None if proxy is None else URL(proxy))


async def test_what_is_no_http_proxy_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SOCKS proxy in the environment is named, without its password."""
    monkeypatch.setenv("http_proxy", "socks5://me:hunter2@p.example")
    with pytest.raises(UsageError, match=r"socks5://p\.example"):
        proxy_for(URL("http://r.example"))
