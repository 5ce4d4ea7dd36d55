"""A mirror that is open: every part of it made, and tied to the others."""

import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio

from npmmirror.capture import NewRecord
from npmmirror.clock import Clock
from npmmirror.config import Config
from npmmirror.daemon.disk_watch import DiskWatch
from npmmirror.daemon.disks import Disks
from npmmirror.daemon.opening import Opened
from npmmirror.index import StoredDrop, StoredKeys
from npmmirror.liveness import Liveness
from npmmirror.outcome import Failed
from npmmirror.pipeline.arrivals import Arrivals
from npmmirror.pipeline.attestations import AttestationFetcher
from npmmirror.pipeline.breaker import Limits as BreakerLimits, RemovalBreaker
from npmmirror.pipeline.captured import CapturedDocuments
from npmmirror.pipeline.channel import Receiver, Sender, open_channel
from npmmirror.pipeline.examiner_process import ExaminerProcess
from npmmirror.pipeline.examiner_start import StartedExaminer
from npmmirror.pipeline.feed import Feed
from npmmirror.pipeline.fetch import SUDDEN_DEATHS, Fetcher
from npmmirror.pipeline.gate import Gate
from npmmirror.pipeline.handout import Handout
from npmmirror.pipeline.holding import Holding
from npmmirror.pipeline.in_work import InWork
from npmmirror.pipeline.job import Done, Job, Result
from npmmirror.pipeline.keys import KeyKeeper
from npmmirror.pipeline.look import Looker
from npmmirror.pipeline.manifests import CapturedManifests
from npmmirror.pipeline.packuments import PackumentFetcher
from npmmirror.pipeline.pause import Pause
from npmmirror.pipeline.record import Pace, Recorder
from npmmirror.pipeline.registry_revs import RevsOfRegistry
from npmmirror.pipeline.removal import RemovalRule
from npmmirror.pipeline.retiring import Retirer
from npmmirror.pipeline.schedule import Schedule
from npmmirror.pipeline.selecting import Selector
from npmmirror.pipeline.sync import Syncer
from npmmirror.pipeline.tarballs import TarballFetcher
from npmmirror.pipeline.telling import Telling
from npmmirror.upstream import Upstream
from npmmirror.worker_threads import WorkerThreads

RESULTS = 1
"""Groups of results that may wait for a slow disk before fetching does, beside the one whose files
are moved and the one that is recorded."""
BESIDE_REQUESTS_SECONDS = 600.0
"""How long a task may be at work beside its requests, each of which has its own time-out."""
COMMIT_SECONDS = 30.0
"""How long the last group may take after the drain's end."""

_CREDENTIALS: Final = re.compile("://[^/@]*@")

Producer = Callable[[], Coroutine[Any, Any, None]]
"""Something that brings jobs (or serves whoever does) until it is cancelled."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a mirror gets things: the registry's base URL, and the feed's where one is used."""

    registry: str
    feed: str | None = None

    @property
    def public(self) -> "Source":
        """The same without user names and passwords: for logs, reports, and what is kept."""
        feed = None if self.feed is None else _CREDENTIALS.sub("://", self.feed)
        return Source(_CREDENTIALS.sub("://", self.registry), feed)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a mirror works: `patient` waits out faults of the host, `raise_bugs` is for tests.

    `own_process` says that the process is the mirror's own: then the handler of crashes is, too,
    and documents are examined in a process beside it: in `examiner`, where that was started already.
    """

    patient: bool = True
    raise_bugs: bool = False
    own_process: bool = False
    examiner: StartedExaminer | None = None


class Mirror:
    """Everything that works on one data directory. Made by `open_mirror`.

    Jobs come in by `feed` and `syncer`, results are committed by `recorder`; `run` moves them.
    """

    def __init__(
        self,
        config: Config,
        opened: Opened,
        upstream: Upstream,
        *,
        registry: str,
        keys: Sequence[StoredKeys],
        deaths: InWork,
        threads: WorkerThreads,
        beside: ExaminerProcess | None,
        clock: Clock,
        manner: Manner,
    ) -> None:
        self.config = config
        self.deaths = deaths
        self.clock = clock
        self.opened = opened
        self.upstream = upstream
        self.gate = Gate()
        self.host = Pause(clock)
        self.disk = Pause(clock, longest_seconds=60.0)
        self.disks = Disks(config.storage, opened.store.look)
        self.following_since = opened.following_since
        self._pulls = pulls_of(config) if manner.patient else 0
        limit = config.upstream.total_seconds + BESIDE_REQUESTS_SECONDS
        self.liveness = Liveness(clock, limit)
        self._manner = manner
        self._stored_keys = keys
        self._threads = threads
        self._beside = beside
        self._jobs: tuple[Sender[Job], Receiver[Job]]
        self._jobs = open_channel(0)
        self._express: tuple[Sender[Job], Receiver[Job]]
        self._express = open_channel(0)
        self.arrivals = Arrivals(threads)
        self._results: tuple[Sender[Result], Receiver[Result]]
        self._results = open_channel(RESULTS * config.storage.commit_count)
        self.handout = Handout(self._jobs[0], self._is_suspect, express=self._express[0])
        self.telling = Telling(
            clock, most=config.log.max_changes_per_second, quiet=config.log.changes == "debug"
        )
        self.breaker = RemovalBreaker(
            BreakerLimits(
                config.policy.removal_breaker_packages, config.policy.removal_breaker_percent
            ),
            opened.reader,
            clock,
        )
        self.revs = RevsOfRegistry(registry, opened.reader, opened.index, clock)
        self.feed = self._make_feed()
        self.holding = Holding(self.gate, self.feed.let_go, clock)
        self.retirer = Retirer(
            opened.reader,
            opened.index,
            clock,
            drop=self._drop,
            remove=self._remove,
            hold=self.holding.held_at_once,
        )
        self.fetcher = self._make_fetcher()
        self.recorder = self._make_recorder()
        self.on_commit: list[Callable[[], None]] = []
        """Who else is told of each commit."""
        self.keys = KeyKeeper(
            upstream,
            self.recorder,
            opened.index,
            opened.reader,
            clock,
            threads=threads,
            stored=keys,
            read=self.documents.read_at,
        )
        self.disk_watch = DiskWatch(
            self.disks, self.disk, self.recorder, opened.store, config.storage, clock=clock
        )
        self.syncer = Syncer(
            self.feed, opened.reader, gives_up=lambda: self.host.paused and not manner.patient
        )

    @property
    def threads(self) -> WorkerThreads:
        """The threads for what would hold up the event loop."""
        return self._threads

    async def run(self, stop: anyio.Event, *producers: Producer) -> None:
        """Run the producers, and move the jobs that they bring to the index, until told to stop.

        Then no new job begins. Work that is not done `fetch.drain_seconds` after the stop is left
        as it is: the next start does it again.
        """
        with self._results[0].clone() as fetched:
            await self._move(stop, producers, fetched)
        self.telling.sum_up()

    def close(self) -> None:
        """Close the channels, whether anything ever passed through them or not."""
        for end in (*self._jobs, *self._express, *self._results):
            end.close()

    async def _move(
        self,
        stop: anyio.Event,
        producers: Sequence[Producer],
        fetched: Sender[Result],
    ) -> None:
        (send_jobs, receive_jobs), (send_results, receive_results) = self._jobs, self._results
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.recorder.run, receive_results)
            fetching = anyio.CancelScope()
            tasks.start_soon(self._fetch, fetching, receive_jobs, fetched)
            async with anyio.create_task_group() as bringing:
                watch = [self.disk_watch.run] if self._manner.patient else []
                for producer in (self.feed.send_promoted, *watch, *producers):
                    bringing.start_soon(producer)
                await stop.wait()
                bringing.cancel_scope.cancel()
            self.fetcher.drain()
            deadline = anyio.current_time() + self.config.fetch.drain_seconds
            fetching.deadline = deadline
            # A disk that is full or hangs would hold the last group for ever. What is in the log
            # by then is rolled forward, the rest is done again.
            grace = 0.0 if self.disk.held else COMMIT_SECONDS
            tasks.cancel_scope.deadline = deadline + grace
            send_jobs.close()
            self._express[0].close()
            send_results.close()

    async def _fetch(
        self,
        scope: anyio.CancelScope,
        jobs: Receiver[Job],
        results: Sender[Result],
    ) -> None:
        with scope:
            await self.fetcher.run(
                jobs,
                results,
                workers=self.config.fetch.concurrency,
                express=self._express[1],
                express_workers=self._pulls,
            )

    async def begin_following(self, record: NewRecord) -> None:
        """Have the log say what is followed from here on; what is older is history."""
        await self.recorder.begin_following(record)
        self.following_since = self.following_since or record.at

    def committed(self, dones: Sequence[Done]) -> None:
        """What happens once a group is in the index: the gate opens, and who waits is told."""
        self.telling.committed(dones)
        self.keys.committed(dones)
        ended: list[str] = []
        for done in dones:
            if isinstance(done.outcome, Failed) and done.outcome.reason == SUDDEN_DEATHS:
                self.deaths.set_aside(done.job.package)
            else:
                ended.append(done.job.package)
        self.deaths.end(ended)
        self.feed.committed(dones)
        self.syncer.committed(dones)
        for tell in self.on_commit:
            tell()

    def _is_suspect(self, package: str) -> bool:
        record = self.deaths.record(package)
        return record is not None and record.is_suspect

    async def _drop(self, drops: Sequence[StoredDrop]) -> None:
        await self.recorder.drop(drops)

    async def _remove(self, paths: Sequence[str]) -> int:
        return await self.opened.publishing.run(self.opened.store.remove, paths)

    def _in_work(self) -> int:
        """How many results a group may still wait for."""
        return 1 if self.handout.alone else self.gate.running

    def _make_feed(self) -> Feed:
        fetch = self.config.fetch
        return Feed(
            self.handout,
            self._results[0],
            self.gate,
            self.opened.reader,
            self.clock,
            workers=fetch.concurrency,
            work_share=fetch.work_share,
            tarballs_per_job=fetch.tarballs_per_job,
        )

    def _make_fetcher(self) -> Fetcher:
        fetch, policy, storage = self.config.fetch, self.config.policy, self.config.storage
        packuments = PackumentFetcher(
            self.upstream,
            self.opened.store,
            self._threads,
            large_bytes=fetch.large_packument_bytes,
        )
        self.documents = CapturedDocuments(
            self.opened.reader, self.opened.captures, self._threads, packuments.turn
        )
        looker = Looker(
            packuments,
            self.opened.examiner,
            self._threads,
            self.gate,
            beside=self._beside,
            host=self.host,
            disk=self.disk,
            clock=self.clock,
            rule=RemovalRule(policy.confirm_removal_answers, policy.confirm_removal_hours),
            breaker=self.breaker,
            revs=self.revs,
            following_since=lambda: self.following_since,
            keys=lambda: self.keys.current,
        )
        downloads = anyio.Semaphore(fetch.concurrency, fast_acquire=True)
        attestations = AttestationFetcher(
            self.upstream,
            self.opened.reader,
            self._threads,
            downloads,
            host=self.host,
            per_job=fetch.tarballs_per_job,
        )
        tarballs = TarballFetcher(
            self.upstream,
            self.opened.store,
            downloads,
            host=self.host,
            disk=self.disk,
            clock=self.clock,
            max_bytes=policy.max_tarball_bytes,
            hash_length=storage.subdirectory_hash_length,
            arrivals=self.arrivals,
            judge=self._beside,
        )
        return Fetcher(
            looker,
            tarballs,
            self.opened.reader,
            Schedule(self.clock, fetch.retry_seconds, fetch.retry_max_seconds, fetch.max_attempts),
            self.clock,
            attestations=attestations,
            host=self.host,
            disk=self.disk,
            selector=Selector(self.opened.policy, self.opened.reader),
            retirer=self.retirer,
            manifests=CapturedManifests(self.opened.captures, self._threads, packuments.turn),
            tarballs_per_job=fetch.tarballs_per_job,
            deaths=self.deaths,
            liveness=self.liveness,
            raise_bugs=self._manner.raise_bugs,
            patient=self._manner.patient,
        )

    def _make_recorder(self) -> Recorder:
        storage = self.config.storage
        return Recorder(
            self.opened.log,
            self.opened.store,
            self.opened.index,
            self.opened.writing,
            self.opened.publishing,
            clock=self.clock,
            disk=self.disk,
            pace=Pace(storage.commit_count, storage.commit_seconds),
            cursor=self.opened.cursor,
            keys=self._stored_keys[-1].ordinal if self._stored_keys else 0,
            in_work=self._in_work,
            liveness=self.liveness,
            committed=self.committed,
        )


def pulls_of(config: Config) -> int:
    """How many fetches for clients of the server there may be at a time."""
    return config.server.unheld_fetches if config.server.unheld == "fetch" else 0
