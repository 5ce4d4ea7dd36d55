"""The scripted upstream: a real HTTP server on loopback over a scripted registry."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Self

from aiohttp import web

from npmmirror.testing import answers, delivery
from npmmirror.testing.asked import FEED_PREFIX, Asked, asked as told_apart
from npmmirror.testing.faults import Armed, Fault, Scope
from npmmirror.testing.registry import ScriptedRegistry

Hook = Callable[[Asked], Awaitable[None]]


class ScriptedUpstream:
    """Serves a registry and its feed; faults come on command. An async context manager.

    `requests` is the log of what was asked. `hooks` are awaited before each answer, so that a
    test can change the registry, or hold an answer back, at a moment that it knows.

    Args:
        registry: what is served; an empty one where none is given.
        encodings: content encodings spoken, the most wanted first: `gzip`, `br`, `zstd`.
        second_host: listen on 127.0.0.2 too (`second_url`), as another host.
        port: 0 takes any that is free.
        seed: of the chances of faults.
        kept_requests: how many requests the log keeps.
    """

    def __init__(
        self,
        registry: ScriptedRegistry | None = None,
        *,
        encodings: tuple[str, ...] = ("gzip",),
        second_host: bool = False,
        port: int = 0,
        seed: int = 0,
        kept_requests: int = 100_000,
    ) -> None:
        self.registry = ScriptedRegistry() if registry is None else registry
        self.requests: deque[Asked] = deque(maxlen=kept_requests)
        self.hooks: list[Hook] = []
        self.bugs: list[Exception] = []
        self.url = self.second_url = ""
        self._encodings = encodings
        self._second_host = second_host
        self._port = port
        self._ports: dict[str, int] = {}
        self._random = Random(f"faults {seed}")
        self._armed: list[Armed] = []
        self._released = asyncio.Event()
        self._news = asyncio.Condition()
        self._runner: web.ServerRunner | None = None

    @property
    def feed(self) -> str:
        """The feed's base, which lies under another prefix than the packages."""
        return f"{self.url}{FEED_PREFIX}/registry"

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.come_back()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop; a bug met in the meantime is raised now."""
        await self.go_down()
        if self.bugs and exc[0] is None:
            raise self.bugs[0]

    async def go_down(self) -> None:
        """End every connection, and refuse new ones until `come_back`."""
        self.release()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def come_back(self) -> None:
        """Listen, again on the port of before where there was one."""
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None), shutdown_timeout=0.1
        )
        await self._runner.setup()
        self.url = await self._listen("127.0.0.1")
        if self._second_host:
            self.second_url = await self._listen("127.0.0.2")

    def fault(
        self,
        scope: Scope,
        fault: Fault,
        *,
        name: str = "*",
        times: int | None = 1,
        chance: float = 1.0,
    ) -> Armed:
        """Play a fault on the next `times` requests (None: on all) of a scope and a package.

        Faults are looked at in the order of their coming; a request meets one at most.
        """
        armed = Armed(fault, scope, name, times, chance)
        self._armed.append(armed)
        return armed

    def heal(self, armed: Armed | None = None) -> None:
        """Take one fault back, or all of them."""
        self._armed = [one for one in self._armed if armed is not None and one is not armed]

    @property
    def played(self) -> dict[str, int]:
        """How often the faults that are armed now were played, by scope and kind."""
        counts: Counter[str] = Counter()
        for one in self._armed:
            counts[f"{one.scope} {one.fault.kind}"] += one.played
        return dict(counts)

    def release(self) -> None:
        """Let the answers that are stalled now go on; later ones stall anew."""
        self._released.set()
        self._released = asyncio.Event()

    def count(self, scope: Scope = "*", name: str = "*") -> int:
        """How many requests of a scope and a package the log holds."""
        return sum(_is(one, scope, name) for one in self.requests)

    async def asked(self, scope: Scope, name: str = "*", *, times: int = 1) -> None:
        """Wait until so many requests of a scope and a package have come."""
        async with self._news:
            await self._news.wait_for(lambda: self.count(scope, name) >= times)

    async def _listen(self, host: str) -> str:
        if self._runner is None:
            raise RuntimeError("not entered")
        site = web.TCPSite(self._runner, host, self._ports.get(host, self._port))
        await site.start()
        self._ports[host] = port = self._runner.addresses[-1][1]
        return f"http://{host}:{port}"

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._answered(request)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as bug:
            self.bugs.append(bug)
            raise

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        came = told_apart(request.method, request.raw_path, request.headers, request.host)
        self.requests.append(came)
        async with self._news:
            self._news.notify_all()
        for hook in self.hooks:
            await hook(came)
        plain = answers.answer(self.registry, came, self._encodings)
        armed = self._meets(came)
        if armed is None:
            return web.Response(status=plain.status, headers=plain.headers, body=plain.body)
        return await delivery.send(request, armed.fault.play(plain), self._released)

    def _meets(self, came: Asked) -> Armed | None:
        met = (one for one in self._armed if one.meets(came.scope, came.name))
        chosen = next((one for one in met if self._random.random() < one.chance), None)
        if chosen is not None:
            chosen.played += 1
        return chosen


def _is(one: Asked, scope: str, name: str) -> bool:
    return scope in {"*", one.scope} and name in {"*", one.name}
