"""Damaged tarballs moved aside and fetched again, orphans adopted.

The order, for each kill in between: a damaged file is moved aside (kept, never deleted), so that
it is missing, which the next `verify` finds; then the log says that it is dropped, and the same
transaction puts it on the work list, from where the pipeline fetches and verifies it as any other.
A kill between log and index is rolled forward with the row. Adoption begins with such a row, too:
the pipeline looks at the file that is there before it asks upstream.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from npmmirror.archive import DiskFaultError
from npmmirror.clock import timestamp
from npmmirror.daemon.mirror import Mirror
from npmmirror.daemon.verification.bench import Bench, Ticker
from npmmirror.daemon.verification.tally import Tally, What
from npmmirror.daemon.verification.tarballs import OK, examine
from npmmirror.index import Check, HeldFile, StoredDrop, StoredRow
from npmmirror.outcome import WorkItem
from npmmirror.pipeline.job import REPAIR

BATCH = 100
POLL_SECONDS = 0.2
MANY = 100
MUCH = 0.1
"""More damage than this many files and this part of all is no damage: a disk is not mounted."""

DAMAGE = frozenset({What.MISSING, What.ALTERED, What.UNREADABLE, What.LOST})

Key = tuple[str, str]


@dataclass(slots=True)
class _Step:
    """What is done together."""

    drops: list[StoredDrop] = field(default_factory=list)
    work: list[WorkItem] = field(default_factory=list)


class Repairer:
    """Makes good what was found. `serves` where nobody else works off the work list."""

    def __init__(
        self, bench: Bench, mirror: Mirror, tally: Tally, ticker: Ticker, *, serves: bool
    ) -> None:
        self._bench = bench
        self._mirror = mirror
        self._tally = tally
        self._ticker = ticker
        self._serves = serves
        self._orphans: frozenset[Key] = frozenset()
        self._damaged = mirror.config.storage.data_dir / "damaged"

    async def run(
        self, packages: Sequence[str] | None, orphans: Sequence[Key], *, force: bool
    ) -> None:
        """Repair what the index says is damaged, and adopt these orphans."""
        rows = await self._rows(packages)
        if await self._is_too_much(sum(row.held for row in rows)) and not force:
            self._tally.refused = (
                f"{len(rows):,} files are missing or damaged: is "
                f"{self._mirror.config.storage.packages_path} mounted? "
                "--force repairs even so many"
            )
            return
        self._orphans = frozenset(orphans)
        lost = {(row.name, row.version) for row in rows}
        adopted = [key for key in orphans if key not in lost]
        async with anyio.create_task_group() as tasks:
            if self._serves:
                names = {name for name, _ in (*lost, *adopted)}
                tasks.start_soon(self._mirror.feed.serve_work_list, frozenset(names))
            for start in range(0, len(rows), BATCH):
                await self._refetch(rows[start : start + BATCH])
                self._ticker.tick("repair", start, len(rows))
            for start in range(0, len(adopted), BATCH):
                await self._finish(_Step(work=self._asked(adopted[start : start + BATCH])))
            tasks.cancel_scope.cancel()

    async def _rows(self, packages: Sequence[str] | None) -> list[StoredRow]:
        rows: list[StoredRow] = []
        for only in [None] if packages is None else packages:
            after = ("", "") if only is None else (only, "")
            while page := await self._bench.reader.damaged(after, 1000, only):
                after = (page[-1].name, page[-1].version)
                rows += page
        return rows

    async def _is_too_much(self, damaged: int) -> bool:
        held = (await self._bench.reader.status()).tarballs
        return damaged > MANY and damaged > held * MUCH

    async def _refetch(self, rows: Sequence[StoredRow]) -> None:
        step = _Step()
        for row in rows:
            if not row.held or await self._set_aside(row, step):
                step.work += self._asked([(row.name, row.version)])
        await self._finish(step)

    async def _set_aside(self, row: StoredRow, step: _Step) -> bool:
        """Make sure that a held file is damaged, and move it away; whether to fetch it again."""
        key, at = (row.name, row.version), timestamp(self._bench.clock.now())
        file = _held(row)
        verdict = await examine(self._bench, file)
        if verdict.result in {OK, What.CLAIM_DIFFERS}:
            await self._bench.index.record_checks([Check(*key, at, verdict.result, verdict.detail)])
            self._tally.mend(key, DAMAGE, "it is whole again", repaired=verdict.result == OK)
            return False
        try:
            await self._bench.threads.run(self._bench.store.set_aside, file.path, self._damaged)
        except DiskFaultError as fault:
            self._tally.mend(key, DAMAGE, f"it cannot be moved aside: {fault}", repaired=False)
            return False
        step.drops.append(StoredDrop(*key, 0, at, verdict.result))
        return True

    def _asked(self, keys: Sequence[Key]) -> list[WorkItem]:
        now = timestamp(self._bench.clock.now())
        return [WorkItem(name, version, REPAIR, now, since=now) for name, version in keys]

    async def _finish(self, step: _Step) -> None:
        """Have it recorded and worked off, and note what came of it."""
        if not step.work:
            return
        await self._mirror.recorder.drop(step.drops, step.work)
        self._mirror.feed.wake()
        keys = [(item.package, item.item) for item in step.work]
        await self._worked_off(keys)
        rows = await self._bench.reader.stored(keys)
        at = timestamp(self._bench.clock.now())
        whole = [key for key in keys if key in rows and rows[key].held]
        await self._bench.index.record_checks(
            [Check(*key, at, OK, "fetched again, or adopted") for key in whole]
        )
        for key in keys:
            if key in whole:
                self._mend(key, "it is there again, and verified", repaired=True)
            else:
                self._mend(key, await self._why_not(key), repaired=False)

    def _mend(self, key: Key, word: str, *, repaired: bool) -> None:
        kinds = DAMAGE | {What.ORPHAN} if key in self._orphans else DAMAGE
        self._tally.mend(key, kinds, word, repaired=repaired)

    async def _worked_off(self, keys: Sequence[Key]) -> None:
        """Return when each was tried once, or when upstream or the disk is at fault."""
        waiting = set(keys)
        while waiting and not (self._mirror.host.paused or self._mirror.disk.paused):
            for name in {name for name, _ in waiting}:
                rows = {row.item: row for row in await self._bench.reader.work_of(name)}
                waiting -= {
                    key for key in waiting if key[0] == name and not _is_new(rows.get(key[1]))
                }
            if waiting:
                await anyio.sleep(POLL_SECONDS)

    async def _why_not(self, key: Key) -> str:
        rows = await self._bench.reader.versions(*key)
        reason, detail = (rows[0].missing, rows[0].missing_detail) if rows else (None, None)
        if reason == REPAIR:
            return "it waits on the work list, for fetching is paused"
        return f"{reason} ({detail})" if detail else reason or "upstream does not have it"


def _is_new(row: WorkItem | None) -> bool:
    """Whether a row of the work list was not tried yet."""
    return row is not None and row.attempts == 0 and row.not_before is not None


def _held(row: StoredRow) -> HeldFile:
    return HeldFile(
        name=row.name,
        version=row.version,
        path=row.path or "",
        size=row.size or 0,
        sha512=row.sha512 or "",
        unverifiable=row.state == "unverifiable",
        integrity=row.integrity,
        shasum=row.shasum,
        checked_at=None,
        check_result=row.result,
    )
