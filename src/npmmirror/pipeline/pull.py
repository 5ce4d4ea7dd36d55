"""Pull-through: fetching what a client of the server waits for, on the way of all other jobs."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from npmmirror.clock import Clock, timestamp
from npmmirror.index import IndexReader, IndexUnavailableError
from npmmirror.outcome import (
    Failed,
    Gone,
    HeldTarball,
    Mirrored,
    Outcome,
    Skipped,
    TarballOutcome,
    WorkItem,
)
from npmmirror.pipeline.arrivals import Arrivals, Key, Reader
from npmmirror.pipeline.feed import Feed
from npmmirror.pipeline.job import ASKED, PACKUMENT, Done, Job
from npmmirror.pipeline.pause import Pause
from npmmirror.policy import Drop, Policy
from npmmirror.policy.requirements import is_name
from npmmirror.pulled import SOON, Refused

WAIT_SECONDS: Final = 120.0
"""How long a client waits for the first byte; the fetch goes on behind it."""
LOOK_SECONDS: Final = 1.0
"""Between two looks whether it is still worth waiting."""
NOT_THERE_SECONDS: Final = 60.0
"""For so long upstream is not asked again for what it does not have."""
FAILED_SECONDS: Final = 5.0
WAITING: Final = 20
"""So many fetches may wait for each that may be under way: npm begins more at once than there are
workers, and takes a refusal for ten seconds' rest."""
REMEMBERED: Final = 10_000
"""Refusals that are remembered."""

_NOT_THERE: Final = frozenset(
    {"http_404", "http_410", "http_451", "host_refused", "bad_url", "bad_name", "not_found"}
)

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Pull:
    """Something that clients wait for. There is one of it, however many they are."""

    done: Done | None = None
    over: bool = False
    news: anyio.Event = field(default_factory=anyio.Event)

    def answer(self, done: Done) -> None:
        """The job is committed."""
        self.done, self.over = done, True
        self.tell()

    def tell(self) -> None:
        """Wake all that wait."""
        self.news.set()
        self.news = anyio.Event()


class Puller:
    """Hands in jobs for clients and has them read what arrives. See `pulled.Pulling`.

    Jobs pass the gate like any other and are done by the express workers, of which there are
    `most`. `draining` says that no more begins.
    """

    def __init__(
        self,
        feed: Feed,
        index: IndexReader,
        policy: Policy,
        arrivals: Arrivals,
        clock: Clock,
        *,
        host: Pause,
        disk: Pause,
        most: int,
        draining: Callable[[], bool],
    ) -> None:
        self._feed = feed
        self._index = index
        self._policy = policy
        self._arrivals = arrivals
        self._clock = clock
        self._host = host
        self._disk = disk
        self._most = most
        self._draining = draining
        self._pulls: dict[Key, _Pull] = {}
        self._refusals: OrderedDict[Key, tuple[Refused, float]] = OrderedDict()
        self._tasks: TaskGroup | None = None

    @property
    def under_way(self) -> int:
        """How many fetches clients wait for, or did."""
        return len(self._pulls)

    async def run(self) -> None:
        """Own the fetches, for ever: clients come and go."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                await anyio.sleep_forever()
            finally:
                self._tasks = None

    async def tarball(self, package: str, version: str) -> Reader | Refused | None:
        """A tarball that is not held; None: it is by now, or it is not known why not.

        It is read from its beginning while it arrives, by everybody who comes in time.
        """
        pull = self._joined((package, version))
        if isinstance(pull, Refused):
            return pull
        with anyio.move_on_after(WAIT_SECONDS):
            while not pull.over:
                news, arrival = pull.news, self._arrivals.under_way(package, version)
                if arrival is not None and (reader := await arrival.open()) is not None:
                    return reader
                if arrival is None and (hindered := self._hindered()) is not None:
                    return hindered
                with anyio.move_on_after(LOOK_SECONDS):
                    await news.wait()
            return self._tarballs_end((package, version), pull)
        return Refused(503, "slow", SOON)

    async def package(self, name: str) -> Refused | None:
        """A package of which no document is captured; None: by now one is.

        Its document alone is fetched, tarballs as they are asked for.
        """
        if not is_name(name):
            return Refused(404, "not_found")
        pull = self._joined((name, PACKUMENT))
        if isinstance(pull, Refused):
            return pull
        with anyio.move_on_after(WAIT_SECONDS):
            while not pull.over:
                news = pull.news
                if (hindered := self._hindered()) is not None:
                    return hindered
                with anyio.move_on_after(LOOK_SECONDS):
                    await news.wait()
            return self._packages_end((name, PACKUMENT), pull)
        return Refused(503, "slow", SOON)

    def _joined(self, key: Key) -> _Pull | Refused:
        """The fetch that is under way, or begun now."""
        if (pull := self._pulls.get(key)) is not None:
            return pull
        refused = self._remembered(key) or self._unwanted(key) or self._hindered()
        if refused is not None:
            return refused
        if self._tasks is None:
            return Refused(503, "starting", SOON)
        if len(self._pulls) >= self._most * (1 + WAITING):
            return Refused(503, "busy", SOON)
        pull = self._pulls[key] = _Pull()
        self._tasks.start_soon(self._fetch, key, pull)
        return pull

    async def _fetch(self, key: Key, pull: _Pull) -> None:
        """Hand in a job and wait for its end, whoever waits for that."""
        package, item = key
        job = Job(package, document=item == PACKUMENT, express=True, light=item == PACKUMENT)
        job.replies.append(pull.answer)
        try:
            if item != PACKUMENT:
                job.work[item] = await self._row(package, item)
            with self._arrivals.wanted(package, item, pull.tell):
                log.debug("pull_begun", package=package, version=item or None)
                await self._feed.submit(job)
                while not pull.over:
                    await pull.news.wait()
        except IndexUnavailableError as error:
            log.warning("waiting_for_disk", error=str(error))
        finally:
            pull.over = True
            pull.tell()
            del self._pulls[key]

    async def _row(self, package: str, version: str) -> WorkItem:
        """The row that asks for it; the attempts of one that is there are not forgotten."""
        now = timestamp(self._clock.now())
        for row in await self._index.work_of(package):
            if row.item == version:
                return replace(row, reason=ASKED, not_before=now)
        return WorkItem(package, version, ASKED, now, since=now)

    def _tarballs_end(self, key: Key, pull: _Pull) -> Refused | None:
        outcomes = pull.done.tarballs if pull.done is not None else ()
        for outcome in outcomes:
            if outcome.version == key[1]:
                return self._end(key, outcome)
        return None

    def _packages_end(self, key: Key, pull: _Pull) -> Refused | None:
        outcome = pull.done.outcome if pull.done is not None else None
        return None if outcome is None else self._ended(key, outcome)

    def _end(self, key: Key, outcome: TarballOutcome) -> Refused | None:
        return None if isinstance(outcome, HeldTarball) else self._ended(key, outcome.outcome)

    def _ended(self, key: Key, outcome: Outcome) -> Refused | None:
        """What a client is told of an end, and who comes after it for a while."""
        match outcome:
            case Mirrored():
                return None
            case Gone(reason=reason) | Skipped(reason=reason):
                return self._remember(key, Refused(404, reason), NOT_THERE_SECONDS)
            case Failed(reason=reason) if reason in _NOT_THERE:
                return self._remember(key, Refused(404, reason), NOT_THERE_SECONDS)
            case Failed(counts=False, reason=reason):
                return self._hindered() or Refused(503, reason, SOON)
            case Failed(reason=reason):
                return self._remember(key, Refused(502, reason, FAILED_SECONDS), FAILED_SECONDS)

    def _remember(self, key: Key, refused: Refused, seconds: float) -> Refused:
        self._refusals[key] = (refused, self._clock.monotonic() + seconds)
        self._refusals.move_to_end(key)
        if len(self._refusals) > REMEMBERED:
            self._refusals.popitem(last=False)
        return refused

    def _remembered(self, key: Key) -> Refused | None:
        found = self._refusals.get(key)
        if found is None:
            return None
        refused, until = found
        if self._clock.monotonic() < until:
            return refused
        del self._refusals[key]
        return None

    def _unwanted(self, key: Key) -> Refused | None:
        verdict = self._policy.package(key[0])
        return Refused(404, "policy") if isinstance(verdict, Drop) else None

    def _hindered(self) -> Refused | None:
        """Why nothing can be fetched now."""
        if self._draining():
            return Refused(503, "draining", SOON)
        for pause, reason in ((self._disk, "disk"), (self._host, "upstream")):
            if pause.paused:
                return Refused(503, reason, pause.seconds_left)
        return None
