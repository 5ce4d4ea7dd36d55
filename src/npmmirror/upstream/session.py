"""Requests: sent under the host's throttle, followed to allowed hosts, judged by their status."""

from collections.abc import Mapping
from typing import Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from npmmirror.clock import Clock
from npmmirror.errors import UsageError
from npmmirror.liveness import at_rest
from npmmirror.upstream.address import Addresses
from npmmirror.upstream.errors import (
    FOREIGN,
    BadAnswer,
    HostFault,
    ServerFault,
    shown,
    translated,
)
from npmmirror.upstream.limits import Timeouts, Traffic
from npmmirror.upstream.retry import retry_after
from npmmirror.upstream.throttle import Throttle, Turnstile

MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
REFUSALS = frozenset({429, 503})
MOMENTARY = frozenset({408, 425})

Headers = Mapping[str, str]


class Answer:
    """A response whose body is still to be read. Leaving its context gives its place back."""

    __slots__ = ("_traffic", "_turnstile", "response")

    def __init__(
        self, response: aiohttp.ClientResponse, turnstile: Turnstile, traffic: Traffic
    ) -> None:
        self.response = response
        self._turnstile = turnstile
        self._traffic = traffic

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    @property
    def encoding(self) -> str | None:
        """What the body is encoded with; None where it is sent as it is."""
        value = self.response.headers.get("Content-Encoding")
        return None if value is None or value.strip().lower() in {"", "identity"} else value

    async def whole(self) -> bytes:
        """The body as it arrives, all of it: only for one whose announced length is small.

        Raises:
            UpstreamError: it does not arrive.
        """
        try:
            data = await self.response.read()
        except FOREIGN as error:
            raise translated(error, self.response.url) from error
        self._traffic.bytes_received += len(data)
        return data

    async def some(self) -> bytes:
        """What has arrived of the body since; b"" at its end.

        Raises:
            UpstreamError: it does not arrive whole.
        """
        try:
            data = await self.response.content.readany()
        except FOREIGN as error:
            raise translated(error, self.response.url) from error
        self._traffic.bytes_received += len(data)
        return data

    def __enter__(self) -> Self:
        """The answer itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Release the connection (kept where the body was read to its end) and the place."""
        self.response.release()
        self._turnstile.leave()


class _Host:
    """What is kept for each host: its turnstile, and the proxy that leads there."""

    __slots__ = ("proxy", "turnstile")

    def __init__(self, turnstile: Turnstile, proxy: URL | None) -> None:
        self.turnstile = turnstile
        self.proxy = proxy


class Session:
    """Sends GET requests for one upstream. An async context manager.

    One that is made `beside` another keeps connections of its own, and shares its throttles.
    """

    def __init__(
        self,
        *,
        addresses: Addresses,
        user_agent: str,
        timeouts: Timeouts,
        concurrency: int,
        patience: float,
        clock: Clock,
        traffic: Traffic,
        beside: "Session | None" = None,
    ) -> None:
        self._addresses = addresses
        self._headers = {"User-Agent": user_agent}
        self._timeout = aiohttp.ClientTimeout(
            total=timeouts.total_seconds,
            connect=timeouts.connect_seconds,
            sock_connect=timeouts.connect_seconds,
            sock_read=timeouts.read_seconds,
        )
        # One place more than there are downloads, so that the feed is not kept waiting by them.
        self._ceiling = concurrency + 1
        self._patience = patience
        self._clock = clock
        self._traffic = traffic
        self._hosts: dict[tuple[str, str | None, int | None], _Host]
        self._hosts = {} if beside is None else beside._hosts  # noqa: SLF001 - of the same class
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """The session, able to send."""
        self._client = self._connect()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def reconnect(self) -> None:
        """Close the connections; requests to come make new ones, those under way fail."""
        before, self._client = self._client, self._connect()
        if before is not None:
            await before.close()

    def _connect(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # The turnstiles bound the connections; a second bound here would let the waiting for
            # a place count as time to connect.
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
            timeout=self._timeout,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def answer(self, url: URL, headers: Headers) -> Answer:
        """The answer to a GET, with its body unread; the caller has to leave its context.

        Its status is not 408, 425, 429 or 5xx, nor a redirect.

        Raises:
            UpstreamError: there is none, or it leads where requests may not go.
        """
        redirects = 0
        while True:
            answer = await self._send(url, headers)
            if answer.response.status not in REDIRECTS:
                return answer
            redirects += 1
            with answer:
                if redirects > MOST_REDIRECTS:
                    raise BadAnswer("redirect_refused", f"{shown(url)}: a redirect too many")
                url = self._addresses.redirected(url, answer.response.headers.get("Location"))

    async def _send(self, url: URL, headers: Headers) -> Answer:
        if self._client is None:
            raise RuntimeError("the session is not open")
        host = self._host(url)
        with at_rest():
            await host.turnstile.enter()
        sent_at = self._clock.monotonic()
        self._traffic.requests += 1
        try:
            response = await self._client.get(
                url, headers=headers, allow_redirects=False, proxy=host.proxy
            )
        except FOREIGN as error:
            host.turnstile.leave()
            raise translated(error, url) from error
        except BaseException:
            host.turnstile.leave()
            raise
        answer = Answer(response, host.turnstile, self._traffic)
        if response.status >= 408:
            self._judge(answer, host.turnstile.throttle, sent_at)
        else:
            host.turnstile.throttle.succeeded(sent_at)
        return answer

    def _judge(self, answer: Answer, throttle: Throttle, sent_at: float) -> None:
        status = answer.response.status
        if status in REFUSALS:
            with answer:
                self._refuse(answer.response, throttle, sent_at)
        if status >= 500 or status in MOMENTARY:
            with answer:
                raise ServerFault(f"http_{status}", shown(answer.response.url))
        throttle.succeeded(sent_at)

    def _refuse(self, response: aiohttp.ClientResponse, throttle: Throttle, sent_at: float) -> None:
        self._traffic.throttled += 1
        seconds = retry_after(response.headers.get("Retry-After"), self._clock.now())
        throttle.refused(self._clock.monotonic(), sent_at, seconds)
        raise HostFault(f"http_{response.status}", shown(response.url), seconds)

    def _host(self, url: URL) -> _Host:
        key = (url.scheme, url.raw_host, url.port)
        host = self._hosts.get(key)
        if host is None:
            throttle = Throttle(self._ceiling)
            turnstile = Turnstile(throttle, self._clock, patience=self._patience)
            host = self._hosts[key] = _Host(turnstile, proxy_for(url))
        return host


def proxy_for(url: URL) -> URL | None:
    """The proxy that `http_proxy`, `https_proxy` and `no_proxy` name for this URL.

    Looked up here, once for each host: aiohttp's `trust_env` hands two calls to a thread, and
    reads ~/.netrc, for every single request.

    Raises:
        UsageError: it is no HTTP proxy.
    """
    named = getproxies().get(url.scheme)
    if not named or proxy_bypass(f"{url.raw_host}:{url.port}"):
        return None
    proxy = URL(named if "://" in named else f"http://{named}")
    if proxy.scheme not in {"http", "https"} or not proxy.raw_host:
        raise UsageError(f"{url.scheme}_proxy names {shown(proxy)}, which is no HTTP proxy")
    return proxy
