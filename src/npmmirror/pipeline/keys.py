"""The registry's keys: looked at now and then, kept where they changed, and what they change.

A version is judged with the newest keys in the capture log. One that names a key that is not among
them is judged again by the first later record that has it; no other verdict is ever looked at again,
so that a state says what was so when the version was captured. All of that is a function of the
capture log: replaying it ends with the same states.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Final

import anyio
import structlog

from npmmirror.archive import CaptureDamagedError, ErasedError, PayloadEncoder
from npmmirror.clock import Clock, timestamp
from npmmirror.effects import VersionFacts
from npmmirror.index import IndexReader, IndexUnavailableError, IndexWriter, StoredKeys, signing
from npmmirror.index.signing import Judgement, Unjudged
from npmmirror.jsontext import value
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.pipeline.job import Done
from npmmirror.pipeline.record import Recorder
from npmmirror.signatures import INVALID, UNKNOWN_KEY, Keys, NotKeysError, judge
from npmmirror.upstream import Upstream, UpstreamError
from npmmirror.worker_threads import WorkerThreads

LOOK_SECONDS: Final = 3600.0
"""Between two looks that nobody asked for, where the first had an answer."""
SOON_SECONDS: Final = 60.0
"""Between two looks at the least, whoever asks."""
FIRST_SECONDS: Final = 5.0
"""How long nothing is fetched, at the very first start, for want of keys to judge it by."""
ABSENT_ANSWERS: Final = 3
"""After so many in a row it is believed that upstream serves no keys any more."""
DOCUMENTS_EACH: Final = 20
NAMED: Final = 10
"""Versions that a line of the log names at most."""

Read = Callable[[Unjudged, Callable[[Packument], Judgement]], Awaitable[Judgement]]
"""What a call makes of a captured document, read in a thread (`CapturedDocuments.read_at`)."""

log = structlog.get_logger(__name__)


class KeyKeeper:
    """Knows the registry's keys. Used from one event loop; `stored` is what the index has of them."""

    def __init__(
        self,
        upstream: Upstream,
        recorder: Recorder,
        index: IndexWriter,
        reader: IndexReader,
        clock: Clock,
        *,
        threads: WorkerThreads,
        stored: Sequence[StoredKeys],
        read: Read,
    ) -> None:
        self._upstream = upstream
        self._recorder = recorder
        self._index = index
        self._reader = reader
        self._threads = threads
        self._clock = clock
        self._read = read
        self._document = stored[-1].document if stored else None
        self._known = parsed(stored)
        self._missed = 0
        self._is_told = True
        self._looked_at: float | None = None
        self._asked = anyio.Event()
        self._looked = anyio.Event()
        self._looking = anyio.Lock()

    @property
    def current(self) -> Keys:
        """What signatures are held against by now."""
        return self._known[-1]

    async def first_look(self) -> None:
        """Wait until `run` has looked, where no keys are known yet; not for long."""
        if len(self._known) == 1:
            with anyio.move_on_after(FIRST_SECONDS):
                await self._looked.wait()

    async def run(self) -> None:
        """Look at the keys now, every so often, and soon after somebody asked."""
        await self.look()
        while True:
            await self._rest()
            self._asked = anyio.Event()
            # Documents that were in work while the keys changed are recorded behind them.
            await self.judge_again()
            due = (self._looked_at or 0.0) + SOON_SECONDS
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
            await self.look()

    def ask(self) -> None:
        """Have the keys looked at soon."""
        self._asked.set()

    def committed(self, dones: Sequence[Done]) -> None:
        """Tell of signatures that are wrong; have unknown keys asked for, where there are keys."""
        for done in dones:
            effects = done.document.effects if done.document is not None else None
            if effects is None:
                continue
            tell_invalid(done.job.package, of_state(effects.versions, INVALID))
            if self._known[-1].keys and of_state(effects.versions, UNKNOWN_KEY):
                self.ask()

    async def look(self) -> None:
        """One look at upstream's keys; what they change is changed when this returns."""
        async with self._looking:
            self._looked_at = self._clock.monotonic()
            try:
                await self._take(await self._upstream.keys())
                self._is_told = True
            except UpstreamError as fault:
                self._is_told = False
                log.info("keys_not_fetched", reason=fault.reason, detail=fault.detail)
            await self.judge_again()
            self._looked.set()

    async def _rest(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_rest, tasks.cancel_scope)
            await self._asked.wait()
            tasks.cancel_scope.cancel()

    async def _end_rest(self, rest: anyio.CancelScope) -> None:
        await self._clock.sleep(LOOK_SECONDS if self._is_told else SOON_SECONDS)
        rest.cancel()

    async def _take(self, document: bytes | None) -> None:
        """Keep the keys where they are not those of before."""
        if document is None:
            await self._take_absence()
            return
        self._missed = 0
        try:
            Keys.parse(0, document)
        except NotKeysError as error:
            log.warning("keys_not_understood", error=str(error))
            return
        if self._document is None or value(document) != value(self._document):
            await self._keep(document)

    async def _take_absence(self) -> None:
        if self._document is None:
            return  # there never were any, or it is kept that there are none
        self._missed += 1
        if self._missed < ABSENT_ANSWERS:
            log.warning("keys_missing", answers=self._missed)
            return
        await self._keep(None)

    async def _keep(self, document: bytes | None) -> None:
        payload = None
        if document is not None:
            payload = await self._threads.run(PayloadEncoder.whole, document)
        at = timestamp(self._clock.now())
        ordinal = await self._recorder.keep_keys(at, document, payload)
        self._document, self._missed = document, 0
        self._known.append(Keys.parse(ordinal, document))
        keyids = [key.keyid for key in self.current.keys]
        log.info("keys_changed", ordinal=ordinal, keys=keyids)

    async def judge_again(self) -> None:
        """Judge versions again whose key was not known when they were captured, and is by now."""
        try:
            await judge_again(self._index, self._reader.ask, self._known, self._read)
        except IndexUnavailableError as fault:
            log.warning("waiting_for_disk", error=str(fault))


def parsed(stored: Iterable[StoredKeys]) -> list[Keys]:
    """Records of keys, with none at all in front of them."""
    return [Keys(), *(Keys.parse(one.ordinal, one.document) for one in stored)]


async def judge_again(
    index: IndexWriter,
    ask: Callable[..., Awaitable[list[Unjudged]]],
    known: Sequence[Keys],
    read: Read,
) -> None:
    """Judge versions again whose key was not known, by the records of keys since.

    A few documents at a time, each in a thread, and committed before the next: what a kill cuts off
    is gone on with. A document that cannot be read is passed over.
    """
    newest, after, changed = known[-1].ordinal, 0, 0
    while rows := await ask(
        partial(signing.unjudged, before=newest, after=after, limit=DOCUMENTS_EACH)
    ):
        judgements = []
        for row in rows:
            judgement = await _read(row, known, read)
            if judgement is not None:
                judgements.append(judgement)
                wrong = [version for version, _, state in judgement.states if state == INVALID]
                tell_invalid(row.name, wrong)
        await index.do(partial(signing.settle, judgements=judgements))
        changed += sum(len(one.states) for one in judgements)
        after = rows[-1].ordinal
    if changed:
        log.info("signatures_judged_again", versions=changed)


async def _read(row: Unjudged, known: Sequence[Keys], read: Read) -> Judgement | None:
    try:
        return await read(row, partial(_judged, row, known))
    except (CaptureDamagedError, ErasedError, NotAPackumentError) as error:
        log.warning("not_judged_again", package=row.name, ordinal=row.ordinal, error=str(error))
        return None


def _judged(row: Unjudged, known: Sequence[Keys], packument: Packument) -> Judgement:
    """What the records of keys behind the last one that a document was held against say of it."""
    later = [keys for keys in known if keys.ordinal > row.keys]
    states: list[tuple[str, bytes, str]] = []
    left = 0
    for version, digest in row.versions:
        if version not in packument.versions or packument.digest(version) != digest:
            continue  # another document brought that manifest
        state = _first_verdict(packument, version, later)
        if state == UNKNOWN_KEY:
            left += 1
        else:
            states.append((version, digest, state))
    return Judgement(row.ordinal, known[-1].ordinal, tuple(states), is_done=not left)


def _first_verdict(packument: Packument, version: str, later: Iterable[Keys]) -> str:
    verdicts = (judge(packument, version, keys) for keys in later)
    return next((state for state in verdicts if state != UNKNOWN_KEY), UNKNOWN_KEY)


def of_state(versions: Iterable[VersionFacts], state: str) -> list[str]:
    """The versions whose signatures are in a state."""
    return [facts.version for facts in versions if facts.signature == state]


def tell_invalid(package: str, versions: Collection[str]) -> None:
    """Have the log say that signatures are wrong: an alarm."""
    if versions:
        named = sorted(versions)[:NAMED]
        log.error("signature_invalid", package=package, number=len(versions), versions=named)
