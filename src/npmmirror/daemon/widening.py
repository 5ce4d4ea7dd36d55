"""A policy that is another one than before: what is wanted by now is put on the work list.

Nothing is deleted by it, and nothing is asked of upstream: rows come to the end of the work list,
and are worked off as all others. The place is noted page by page, so that a restart goes on there.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

import orjson
import structlog

from npmmirror.clock import timestamp
from npmmirror.daemon.mirror import Mirror
from npmmirror.daemon.policy_change import COMMAND, Place
from npmmirror.index import IndexUnavailableError, Resumption, shelf
from npmmirror.index.shelf import Shelf, Shelved
from npmmirror.outcome import WorkItem
from npmmirror.pipeline.job import PACKUMENT, WANTED
from npmmirror.policy import POLICY, Candidate, Keep, Policy
from npmmirror.policy.retention import LIVE, by_itself
from npmmirror.sqlite import Row

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


@dataclass(frozen=True, slots=True)
class Larger:
    """What may be larger by now than by the policy before."""

    tarballs: bool = False
    documents: bool = False

    @classmethod
    def of(cls, before: Applied, now: Applied) -> "Larger":
        """By two policies."""
        allowed = now.max_packument_bytes or sys.maxsize
        return cls(
            tarballs=(now.max_tarball_bytes or 0) > (before.max_tarball_bytes or 0),
            documents=allowed > (before.max_packument_bytes or sys.maxsize),
        )


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
        await self._walk(place, started_at, Larger.of(earlier, now))
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
                    _wanted, self._policy, page, since, larger
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


def _wanted(
    policy: Policy, page: Sequence[Row], since: str | None, larger: Larger
) -> list[tuple[str, list[str]]]:
    """Of each package of a page: in a thread, for it takes up to a tenth of a second."""
    shelves = map(shelf.read, page)
    return [(one.package, list(wanted_of(policy, one, since, larger))) for one in shelves]


def wanted_of(policy: Policy, found: Shelf, since: str | None, larger: Larger) -> Iterator[str]:
    """What the policy wants of a package, is not held, and nobody is going to fetch by himself.

    The packument ("") of one that the policy had skipped; else tarballs.
    """
    if not isinstance(policy.package(found.package), Keep):
        return
    if found.skipped or (found.outsized and larger.documents):
        if PACKUMENT not in found.waiting:
            yield PACKUMENT
        return
    if found.state != LIVE:
        return
    present = [Candidate(one.version, one.published_at) for one in found.versions if one.present]
    wanted = by_itself(policy.settings(found.package), present, found.latest, since)
    off = found.waiting if larger.tarballs else found.waiting | found.too_large
    for one in found.versions:
        if one.version in wanted and one.version not in off and _is_open(one):
            yield one.version


def _is_open(one: Shelved) -> bool:
    """Whether a version's file is not here, and nobody but the policy had it dropped."""
    if one.state == "dropped":
        return (one.reason or "").startswith(f"{POLICY}: ")
    return not one.held


def _text(applied: Applied) -> str:
    return orjson.dumps(asdict(applied)).decode()
