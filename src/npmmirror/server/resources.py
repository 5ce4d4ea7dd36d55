"""What the parts of the server share."""

from dataclasses import dataclass, field

import anyio
from aiohttp import web

from npmmirror.config import ServerSection
from npmmirror.index.searching import NameSearch
from npmmirror.pulled import Pulling
from npmmirror.server.addresses import Addresses
from npmmirror.server.asked import Asked
from npmmirror.server.ready import ReadyAnswers
from npmmirror.server.replication.news import News
from npmmirror.server.stock import Stock
from npmmirror.server.visibility import Visibility
from npmmirror.worker_threads import WorkerThreads


@dataclass(frozen=True, slots=True)
class Resources:
    """The stock, the cache and the threads of one server.

    `threads` are for what costs CPU, `files` for the disk of the tarballs, which may hang,
    `searching` is the one thread of `search`. `news` tells of commits to the index. `pulling` is who
    fetches what is not held; None: nobody does. `turn` is for large documents, one at a time.
    """

    section: ServerSection
    stock: Stock
    ready: ReadyAnswers
    threads: WorkerThreads
    files: WorkerThreads
    addresses: Addresses
    visibility: Visibility
    news: News
    search: NameSearch
    searching: WorkerThreads
    pulling: Pulling | None = None
    turn: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def shared(self) -> str:
        """Whether caches between us and the client may keep answers: not where tokens are asked."""
        return "private" if self.section.tokens else "public"


class Part:
    """What answers one route of one view."""

    async def answer(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        """The answer to a request that the guard let pass; errors that are no bugs are answers."""
        raise NotImplementedError
