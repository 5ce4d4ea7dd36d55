"""Fetching tarballs: each streamed, hashed, and held against upstream's claim."""

import itertools
from collections.abc import Callable, Sequence, Set as AbstractSet
from functools import partial

import anyio
import structlog

from npmmirror.archive import (
    DiskFaultError,
    Staged,
    TarballsAwayError,
    TarballStore,
    TarballTooLargeError,
)
from npmmirror.clock import Clock
from npmmirror.failpoints import reach
from npmmirror.layout import tarball_path
from npmmirror.liveness import at_rest
from npmmirror.outcome import (
    NOT_HELD,
    Digests,
    Failed,
    HeldTarball,
    MissedTarball,
    Skipped,
    TarballOutcome,
)
from npmmirror.pipeline.arrivals import Arrivals
from npmmirror.pipeline.blame import TARBALL, blame
from npmmirror.pipeline.examiner_process import DIED, ExaminerDiedError
from npmmirror.pipeline.intake import Claim, Intake, Judge, Judgement
from npmmirror.pipeline.pause import Pause
from npmmirror.upstream import TarballBody, Upstream, UpstreamError

TRIES = 2
"""Wrong bytes are asked for once more before they are recorded."""
AT_ONCE = 4
"""Tarballs of one package that are fetched side by side."""
JOB_SECONDS = 60.0
"""A job begins no further tarball after so long."""

log = structlog.get_logger(__name__)


class _Waiting:
    """A job's claims that are not begun, those that clients wait for first."""

    def __init__(self, claims: Sequence[Claim], urgent: Callable[[], AbstractSet[str]]) -> None:
        self._claims = {claim.version: claim for claim in claims}
        self._urgent = urgent

    def next(self) -> Claim | None:
        """The next one; None where there is none, or where what is urgent waits for the job's end.

        That is in the package's next job, or was in this one, and is to be committed.
        """
        wanted = self._urgent()
        urgent = next((version for version in wanted if version in self._claims), None)
        if urgent is None and wanted:
            return None
        version = urgent if urgent is not None else next(iter(self._claims), None)
        return None if version is None else self._claims.pop(version)


class TarballFetcher:
    """Turns claims into files in staging, or into reasons why not.

    What clients wait for, by `arrivals`, goes before everything else of its package, and beside
    the `downloads`.
    """

    def __init__(
        self,
        upstream: Upstream,
        store: TarballStore,
        downloads: anyio.Semaphore,
        *,
        host: Pause,
        disk: Pause,
        clock: Clock,
        max_bytes: int,
        hash_length: int,
        arrivals: Arrivals,
        judge: Judge | None = None,
    ) -> None:
        self._arrivals = arrivals
        self._judge = judge
        self._upstream = upstream
        self._store = store
        self._downloads = downloads
        self._host = host
        self._disk = disk
        self._max_bytes = max_bytes
        self._hash_length = hash_length
        self._clock = clock
        self._tokens = itertools.count()

    async def fetch(self, package: str, claims: list[Claim]) -> list[TarballOutcome]:
        """Outcomes in no order; those not begun after `JOB_SECONDS` or in a pause are left out.

        What is left out stays on the work list, so that one package never holds the checkpoint
        for long. So is the rest where a client waits for something else of the package.
        """
        if len(claims) == 1:
            return [await self._one(package, claims[0])]
        deadline = self._clock.monotonic() + JOB_SECONDS
        outcomes: list[TarballOutcome] = []
        waiting = _Waiting(claims, partial(self._arrivals.urgent, package))

        async def lane() -> None:
            while (claim := waiting.next()) is not None:
                outcomes.append(await self._one(package, claim))
                if self._host.paused or self._disk.paused or self._clock.monotonic() > deadline:
                    return

        async with anyio.create_task_group() as tasks:
            for _ in range(min(AT_ONCE, len(claims))):
                tasks.start_soon(lane)
        return outcomes

    async def try_disk(self) -> bool:
        """Whether the disk takes files again; that ends a pause for its sake, or prolongs it.

        A job might not tell: it may have no file for the disk.
        """
        try:
            await self._store.try_staging(f"{next(self._tokens)}")
        except DiskFaultError as fault:
            self._disk.fault("disk", str(fault))
            return False
        self._disk.success()
        return not self._disk.paused

    async def _one(self, package: str, claim: Claim) -> TarballOutcome:
        if claim.tarball is None:
            return MissedTarball(claim.version, Skipped("no_dist", "the manifest names no tarball"))
        path = tarball_path(package, claim.version, self._hash_length)
        try:
            adopted = await self._adopt(claim, path, Intake(package, claim))
        except TarballsAwayError as fault:
            self._disk.fault("disk", str(fault))
            return _failed(claim, "disk", str(fault), counts=False)
        if adopted is not None:
            return adopted
        outcome: TarballOutcome = MissedTarball(claim.version, Failed("not_tried", None))
        for _ in range(TRIES):
            intake = Intake(package, claim, self._judge)
            outcome = await self._guarded(package, claim, path, intake)
            if isinstance(outcome, HeldTarball) or outcome.outcome.reason != "digest_mismatch":
                break
        return outcome

    async def _adopt(self, claim: Claim, path: str, intake: Intake) -> HeldTarball | None:
        """The file that already has the final name, where its bytes are the right ones.

        The index does not know it: it was left by a kill, or came back with an older index.

        Raises:
            TarballsAwayError: nobody knows what is there, for the disk is away.
        """
        try:
            with at_rest():  # a NAS may be away for days
                size = await self._store.hash_file(path, intake)
        except TarballsAwayError:
            raise
        except DiskFaultError:
            return None
        if size is None or not intake.judgement.matches:
            return None
        return _held(claim, path, size, intake.judgement, None)

    async def _guarded(
        self, package: str, claim: Claim, path: str, intake: Intake
    ) -> TarballOutcome:
        """Fetch once; every expected failure becomes a value, and tells who is to blame."""
        try:
            # What a client waits for needs no place: whoever hands it in bounds its number.
            placed = claim.version not in self._arrivals.urgent(package)
            if placed:
                with at_rest():
                    await self._downloads.acquire()
            try:
                outcome = await self._download(package, claim, path, intake)
            finally:
                if placed:
                    self._downloads.release()
        except UpstreamError as error:
            return self._refused(package, claim, error)
        except TarballTooLargeError as error:
            return MissedTarball(claim.version, Skipped("too_large", str(error)))
        except DiskFaultError as fault:
            self._disk.fault("disk", str(fault))
            return _failed(claim, "disk", str(fault), counts=False)
        except ExaminerDiedError:
            return MissedTarball(claim.version, Failed(DIED, None))
        self._host.success(TARBALL)
        self._disk.success()
        reach("fetch.tarball_received")
        return outcome

    def _refused(self, package: str, claim: Claim, error: UpstreamError) -> MissedTarball:
        """Upstream did not give it: the host's fault, the tarball's, or open to doubt."""
        if error.reason == "too_large":
            return MissedTarball(claim.version, Skipped("too_large", error.detail))
        if error.reason == NOT_HELD:
            self._host.success(TARBALL)
            return MissedTarball(claim.version, Skipped(NOT_HELD, error.detail))
        blamed = blame(self._host, TARBALL, package, error, claim.row)
        return _failed(claim, error.reason, error.detail, counts=not blamed)

    async def _download(
        self, package: str, claim: Claim, path: str, intake: Intake
    ) -> TarballOutcome:
        async with self._upstream.tarball(package, claim.tarball or "") as body:
            token = f"{next(self._tokens)}"
            place = partial(self._store.temp_path, token, ".tgz")
            with self._arrivals.arriving(package, claim.version, place, body.length) as arrival:
                staged = await self._store.receive(
                    token,
                    body.chunks(eager=arrival.eager),
                    intake,
                    max_bytes=self._max_bytes,
                    watch=arrival,
                    elsewhere=intake.elsewhere,
                )
                judgement = intake.judgement
                arrival.verified = judgement.matches
        if judgement.matches:
            log.debug("downloaded_in_local", version=claim.version, bytes=staged.size)
            return _held(claim, path, staged.size, judgement, staged)
        await self._store.discard(staged)
        return _mismatch(claim, staged, judgement, body)


def _held(
    claim: Claim, path: str, size: int, judgement: Judgement, staged: Staged | None
) -> HeldTarball:
    return HeldTarball(
        version=claim.version,
        path=path,
        size=size,
        digests=Digests(judgement.sha512),
        integrity=claim.integrity or "",
        staged=str(staged.path) if staged is not None else None,
        unverifiable=judgement.unverifiable,
        confusion=judgement.confusion,
    )


def _failed(claim: Claim, reason: str, detail: str, *, counts: bool = True) -> MissedTarball:
    return MissedTarball(claim.version, Failed(reason, None, detail, counts))


def _mismatch(
    claim: Claim, staged: Staged, judgement: Judgement, body: TarballBody
) -> MissedTarball:
    """The reason that comes nearest to what went wrong, both digests in the detail."""
    if staged.size == 0:
        reason = "empty"
    elif "html" in (body.content_type or ""):
        reason = "html"
    else:
        reason = "digest_mismatch"
    return _failed(claim, reason, judgement.verdict)
