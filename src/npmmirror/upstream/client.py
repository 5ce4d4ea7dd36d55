"""The upstream of a mirror: its changes feed and its registry, behind one client."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from yarl import URL

from npmmirror.change import Head, Page, Seq
from npmmirror.clock import Clock
from npmmirror.errors import UsageError
from npmmirror.outcome import NOT_HELD
from npmmirror.upstream.address import Addresses
from npmmirror.upstream.body import SMALL, Caps, Spool, read_body, refuse_no_json
from npmmirror.upstream.decoding import ACCEPTED
from npmmirror.upstream.errors import BadAnswer
from npmmirror.upstream.feed import Listing, read_listing, read_page, read_root
from npmmirror.upstream.limits import Limits, Timeouts, Traffic, Waits
from npmmirror.upstream.registry import MISSING, Packument, read_packument, unexpected
from npmmirror.upstream.retry import Retrier
from npmmirror.upstream.session import Answer, Headers, Session
from npmmirror.upstream.tarball import TarballBody
from npmmirror.worker_threads import WorkerThreads

T = TypeVar("T")

# `Accept: application/json` alone: naming anything beside it can yield the abbreviated form.
DOCUMENT: Headers = {"Accept": "application/json", "Accept-Encoding": ACCEPTED}
BUSTING: Headers = {**DOCUMENT, "Cache-Control": "no-cache"}
EXTRA_CAPS = Caps(4 << 20, 4 << 20)
"""Keys are some hundred bytes, an attestation bundle of npm's some twenty thousand."""
OUTCOME = "Npmmirror-Outcome"
"""The header by which a mirror of ours says what a status alone does not."""
TARBALL: Headers = {"Accept": "*/*", "Accept-Encoding": "identity"}


class Upstream:
    """One upstream registry. An async context manager.

    Every method may raise `HostFault`, `ServerFault` or `BadAnswer`, after the few quick attempts
    that are worth making; the reasons are those of the classes.

    `feed` and `registry` are base URLs, `tarball_hosts` (each `host` or `host:port`) may be asked
    beside their hosts. `concurrency` is how many requests the caller means to have under way.
    `threads` undo what is compressed; without them the client has a thread of its own.
    """

    def __init__(
        self,
        *,
        feed: str | None,
        registry: str,
        tarball_hosts: Sequence[str] = (),
        user_agent: str,
        timeouts: Timeouts,
        limits: Limits,
        concurrency: int,
        clock: Clock,
        attempts: int = 4,
        waits: Waits | None = None,
        threads: WorkerThreads | None = None,
    ) -> None:
        waits = waits or Waits()
        self.traffic = Traffic()
        self._addresses = Addresses(feed=feed, registry=registry, tarball_hosts=tarball_hosts)
        self._limits = limits
        self._caps = Caps(limits.max_packument_bytes, limits.max_compressed_bytes)
        self._feed_caps = Caps(limits.max_feed_bytes, limits.max_feed_bytes)
        self._clock = clock
        self._retried = Retrier(attempts, waits, clock, self.traffic)
        made = partial(
            Session,
            addresses=self._addresses,
            user_agent=user_agent,
            timeouts=timeouts,
            concurrency=concurrency,
            patience=waits.patience,
            clock=clock,
            traffic=self.traffic,
        )
        self._session = made()
        self._feed_session = made(beside=self._session)
        self._given_threads = threads
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """The client, able to ask."""
        self._threads = self._given_threads or self._stack.enter_context(
            WorkerThreads(1, "npmmirror-upstream")
        )
        for session in (self._session, self._feed_session):
            await self._stack.enter_async_context(session)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close all connections."""
        await self._stack.aclose()

    async def head(self) -> Head:
        """Where the feed ends now."""
        self._need_feed()
        try:
            head = await self._parsed(read_root, self._addresses.root())
        except BadAnswer:
            head = None  # not every feed has its root where its changes are
        if head is not None:
            return head
        url = self._addresses.changes(None, 1, descending=True)
        return Head((await self._parsed(read_page, url)).last_seq, None)

    async def reconnect_feed(self) -> None:
        """Close the connections that `head` and `changes` use; they are made anew when needed."""
        await self._feed_session.reconnect()

    async def changes(self, since: Seq | None, limit: int, *, descending: bool = False) -> Page:
        """Up to `limit` (10,000 at most) changes behind the cursor `since`; 0 is the beginning.

        The newest first where they are `descending`; then None leaves the cursor out.
        """
        self._need_feed()
        url = self._addresses.changes(since, limit, descending=descending)
        return await self._parsed(read_page, url)

    async def all_docs(self, *, startkey: str | None, limit: int) -> Listing:
        """One page of all packages by name, from `startkey` on: that one is given again."""
        self._need_feed()
        url = self._addresses.all_docs(startkey, limit)
        return await self._parsed(read_listing, url, self._session)

    async def packument(
        self,
        name: str,
        *,
        etag: str | None = None,
        bust: bool = False,
        spool: Path,
        spool_over: int,
        most: int | None = None,
    ) -> Packument:
        """A package's full document.

        One larger than `spool_over` bytes is written to the file `spool`, which the caller
        deletes; after an error there is none. `bust` asks past all caches, without `etag`. Of one
        that has more than `most` bytes no more is read (`Outsized`); beyond the client's own limit
        it is an error.

        Raises:
            OSError: `spool` cannot be written.
        """
        url = self._addresses.packument(name, self._unseen() if bust else None)
        headers = BUSTING if bust else DOCUMENT
        if etag is not None and not bust:
            headers = {**headers, "If-None-Match": etag}
        where, caps = Spool(spool, spool_over), self._caps
        if most is not None and most <= caps.decoded:
            caps = Caps(most, caps.encoded, by_choice=True)
        return await self._retried(lambda: self._packument(url, headers, where, caps))

    @asynccontextmanager
    async def tarball(self, name: str, url: str) -> AsyncIterator[TarballBody]:
        """A tarball, asked for by what the packument calls `dist.tarball`.

        Only the request is repeated where it fails; what fails while the bytes arrive is raised
        from `TarballBody.chunks`. A file that is nowhere is a `BadAnswer` (`http_404`, or
        `host_refused` where it may lie on a host that is not allowed).
        """
        with await self._retried(lambda: self._tarball(name, url)) as answer:
            yield TarballBody(answer, self._limits.max_tarball_bytes)

    async def keys(self) -> bytes | None:
        """The registry's keys, as it serves them; None where it serves none."""
        return await self._retried(lambda: self._extra(self._addresses.keys()))

    async def attestations(self, name: str, version: str) -> bytes | None:
        """The attestation bundles of a version, as they are served; None where there are none."""
        url = self._addresses.attestations(name, version)
        return await self._retried(lambda: self._extra(url))

    def _need_feed(self) -> None:
        if not self._addresses.has_feed:
            raise UsageError("there is no feed: set upstream.feed")

    def _unseen(self) -> str:
        return f"{self._clock.jitter(0.0, 1.0):.12f}"[2:]

    async def _parsed(
        self, read: Callable[[bytes], T], url: URL, session: Session | None = None
    ) -> T:
        raw = await self._retried(lambda: self._document(url, session or self._feed_session))
        return await self._threads.run(read, raw) if len(raw) > SMALL else read(raw)

    async def _document(self, url: URL, session: Session) -> bytes:
        with await session.answer(url, DOCUMENT) as answer:
            if answer.status != 200:
                raise await unexpected(answer)
            body = await read_body(answer, self._feed_caps, self._threads)
            return body.in_memory()

    async def _extra(self, url: URL) -> bytes | None:
        """A document of JSON beside the packuments; None where there is none."""
        with await self._session.answer(url, DOCUMENT) as answer:
            if answer.status in MISSING:
                return None
            if answer.status != 200:
                raise await unexpected(answer)
            body = await read_body(answer, EXTRA_CAPS, self._threads)
            refuse_no_json(body, answer)
            return body.in_memory()

    async def _packument(self, url: URL, headers: Headers, spool: Spool, caps: Caps) -> Packument:
        with await self._session.answer(url, headers) as answer:
            conditional = "If-None-Match" in headers
            return await read_packument(answer, caps, self._threads, spool, conditional=conditional)

    async def _tarball(self, name: str, dist: str) -> Answer:
        """An answer with status 200, to be left by the caller."""
        usual = self._addresses.usual_tarball(name, dist)
        error: BadAnswer | None = None
        if usual is not None:
            answer, error = await self._given(usual)
            if answer is not None:
                return answer
        candidates = self._addresses.tarball(name, dist)
        not_held = _not_held(error)
        for url in candidates.urls:
            # Another address of a mirror might have it fetched, which is not for us to ask.
            if url == usual or (not_held is not None and self._addresses.is_registry(url)):
                continue
            answer, error = await self._given(url)
            if answer is not None:
                return answer
            not_held = not_held or _not_held(error)
        if not_held is not None:
            raise not_held
        if candidates.refused is not None:
            raise BadAnswer(
                "host_refused", f"{candidates.refused} is not in tarball_hosts; {error}"
            )
        raise error or BadAnswer("bad_url", "there is nowhere to ask")

    async def _given(self, url: URL) -> tuple[Answer | None, BadAnswer | None]:
        """An answer with status 200, or the error of a 404; other errors are raised."""
        answer = await self._session.answer(url, TARBALL)
        if answer.status == 200:
            return answer, None
        with answer:
            error = await unexpected(answer)
            if answer.response.headers.get(OUTCOME) == NOT_HELD:
                return None, BadAnswer(NOT_HELD, error.detail)
        if answer.status != 404:
            raise error
        return None, error


def _not_held(error: BadAnswer | None) -> BadAnswer | None:
    return error if error is not None and error.reason == NOT_HELD else None
