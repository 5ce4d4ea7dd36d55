"""Held tarballs: each hashed again, against what was stored and what upstream claims."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from npmmirror.archive import DiskFaultError, OutOfMeansError, TarballsAwayError
from npmmirror.clock import timestamp
from npmmirror.daemon.verification.bench import Bench, Ticker, side_by_side
from npmmirror.daemon.verification.tally import Note, Tally, What
from npmmirror.index import Check, HeldFile
from npmmirror.integrity import Expected, Hasher, sri

BATCH = 256
OK = "ok"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`result` is `ok` or the word of a finding."""

    result: str
    detail: str = ""


def judge(file: HeldFile, size: int | None, hasher: Hasher) -> Verdict:
    """What the bytes say of a file; `size` is None where there is none."""
    if size is None:
        return Verdict(What.MISSING, "there is no such file")
    found = hasher.digests.sha512
    if found != file.sha512:
        was = f"{sri(file.sha512)} ({file.size:,} bytes)"
        return Verdict(What.ALTERED, f"was {was}, is {sri(found)} ({size:,} bytes)")
    if not hasher.matches:
        return Verdict(
            What.CLAIM_DIFFERS, f"the file is as it was stored, but upstream: {hasher.verdict()}"
        )
    return Verdict(OK)


async def examine(bench: Bench, file: HeldFile) -> Verdict:
    """Hash a file again.

    Raises:
        TarballsAwayError: the directory of the tarballs is not there.
        OutOfMeansError: no file can be looked at just now, which says nothing of this one.
    """
    hasher = Hasher(Expected.of(file.integrity, file.shasum))
    try:
        size = await bench.store.hash_file(file.path, hasher)
    except (TarballsAwayError, OutOfMeansError):
        raise
    except DiskFaultError as fault:
        return Verdict(What.UNREADABLE, str(fault))
    except ValueError as error:
        return Verdict(What.MISSING, str(error))  # only an index that was tampered with
    return judge(file, size, hasher)


class TarballCheck:
    """Hashes all held tarballs in the order of their names, or those of some packages."""

    def __init__(self, bench: Bench, tally: Tally, ticker: Ticker) -> None:
        self._bench = bench
        self._tally = tally
        self._ticker = ticker

    async def run(self, packages: Sequence[str] | None, note: Note) -> None:
        """Do it; `note` is called where a later start may go on."""
        status = await self._bench.reader.status()
        self._totals = (status.tarballs, status.tarball_bytes) if packages is None else (None, None)
        async for batch in self._batches(packages):
            verdicts = await side_by_side(batch, self._one)
            at = timestamp(self._bench.clock.now())
            checks = []
            for file, verdict in zip(batch, verdicts, strict=True):
                if verdict is not None:
                    checks.append(
                        Check(file.name, file.version, at, verdict.result, verdict.detail)
                    )
                    self._note(file, verdict)
            await self._bench.index.record_checks(checks)
            self._tally.after = [batch[-1].name, batch[-1].version]
            await note()

    async def _batches(self, packages: Sequence[str] | None) -> AsyncIterator[list[HeldFile]]:
        for only in [None] if packages is None else packages:
            after = ("", "")
            if only is None and self._tally.after:
                name, version = self._tally.after
                after = (name, version)
            elif only is not None:
                after = (only, "")
            while batch := await self._bench.reader.held(after, BATCH, only):
                after = (batch[-1].name, batch[-1].version)
                yield batch

    async def _one(self, file: HeldFile) -> Verdict | None:
        """The verdict; None where the file is no longer held, or is another one by now."""
        verdict = await examine(self._bench, file)
        if verdict.result != OK:
            key = (file.name, file.version)
            row = (await self._bench.reader.stored([key])).get(key)
            if row is None or not row.held or (row.path, row.sha512) != (file.path, file.sha512):
                return None
        self._tally.tarballs += 1
        self._tally.tarball_bytes += file.size
        total, total_bytes = self._totals
        self._ticker.tick(
            "tarballs", self._tally.tarballs, total, self._tally.tarball_bytes, total_bytes
        )
        return verdict

    def _note(self, file: HeldFile, verdict: Verdict) -> None:
        if verdict.result != OK:
            self._tally.find(
                What(verdict.result),
                package=file.name,
                version=file.version,
                path=file.path,
                detail=verdict.detail,
            )
