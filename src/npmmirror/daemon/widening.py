"""A policy that is another one than before: what is wanted by now is put on the work list.

Nothing is deleted by it, and nothing is asked of upstream: rows come to the end of the work list,
and are worked off as all others. The place is noted page by page, so that a restart goes on there.
"""

import sys
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

import orjson
import structlog

from npmmirror.clock import timestamp
from npmmirror.daemon.mirror import Mirror
from npmmirror.daemon.policy_change import COMMAND, Place
from npmmirror.index import IndexUnavailableError, Resumption, shelf
from npmmirror.outcome import WorkItem
from npmmirror.pipeline.job import PACKUMENT, WANTED
from npmmirror.pipeline.wanting import Larger, wanted_of_each
from npmmirror.policy import Policy

PAGE: Final = 200
VERSIONS: Final = 5_000
"""Packages, and versions of them, that are looked at together."""
REST_SECONDS: Final = 0.02
"""Between two pages: whoever works has the index to himself."""
UNAVAILABLE_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Applied:
    """What is kept of the policy that was last applied."""

    digest: str
    max_tarball_bytes: int | None = None
    max_packument_bytes: int = 0

    @classmethod
    def of(cls, policy: Policy) -> "Applied":
        """What is to be kept of a policy."""
        settings = policy.settings_of_all
        return cls(policy.digest, settings.max_tarball_bytes, settings.max_packument_bytes)


class Widening:
    """Holds the mirror's policy against the one before, and goes through the index where it must."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._clock = mirror.clock
        self._reader, self._index = mirror.opened.reader, mirror.opened.index
        self._policy = mirror.opened.policy

    async def run(self) -> None:
        """Do it, once; faults of the disk are waited out."""
        while True:
            try:
                await self._apply()
            except IndexUnavailableError as error:
                log.warning("waiting_for_disk", error=str(error))
                await self._clock.sleep(UNAVAILABLE_SECONDS)
            else:
                return

    async def _apply(self) -> None:
        before = await self._reader.ask(shelf.applied_policy)
        now = Applied.of(self._policy)
        if before is None:
            # A new index, or one of a version that knew no policies: what is there was chosen so.
            await self._index.apply_policy(_text(now))
            return
        earlier = Applied(**orjson.loads(before))
        if earlier == now:
            await self._index.forget_resumption(COMMAND)
            return
        place, started_at = await self._place()
        log.info("policy_changed", resumed_after=place.after or None)
        await self._walk(place, started_at, _larger(earlier, now))
        await self._index.forget_resumption(COMMAND)
        await self._index.apply_policy(_text(now))
        log.info(
            "policy_applied",
            packages=place.packages,
            queued_packages=place.queued_packages,
            queued_tarballs=place.queued_tarballs,
        )

    async def _place(self) -> tuple[Place, str]:
        """Where to go on: where a walk for this very policy left off, else at the beginning."""
        note = await self._reader.resumption(COMMAND)
        if note is not None and (place := Place(**orjson.loads(note.place))).digest == (
            self._policy.digest
        ):
            return place, note.started_at
        return Place(self._policy.digest), timestamp(self._clock.now())

    async def _walk(self, place: Place, started_at: str, larger: Larger) -> None:
        since = self._mirror.following_since
        while page := await self._reader.ask(
            partial(shelf.page, asked=shelf.Page(place.after, PAGE, VERSIONS, held_only=False))
        ):
            at = timestamp(self._clock.now())
            rows = [
                WorkItem(package, item, WANTED, at, since=at)
                for package, items in await self._mirror.threads.run(
                    wanted_of_each, self._policy, page, since, larger
                )
                for item in items
            ]
            place.after, place.packages = page[-1][0], place.packages + len(page)
            place.queued_packages += sum(row.item == PACKUMENT for row in rows)
            place.queued_tarballs += sum(row.item != PACKUMENT for row in rows)
            # Rows that are there already are left alone, so that a kill in between costs nothing.
            await self._index.put_new_work(rows)
            text = orjson.dumps(asdict(place)).decode()
            await self._index.note_resumption(Resumption(COMMAND, started_at, text))
            if rows:
                self._mirror.feed.wake()
            await self._clock.sleep(REST_SECONDS)


def _larger(before: Applied, now: Applied) -> Larger:
    allowed = now.max_packument_bytes or sys.maxsize
    return Larger(
        tarballs=(now.max_tarball_bytes or 0) > (before.max_tarball_bytes or 0),
        documents=allowed > (before.max_packument_bytes or sys.maxsize),
    )


def _text(applied: Applied) -> str:
    return orjson.dumps(asdict(applied)).decode()
