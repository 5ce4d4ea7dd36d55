"""What `npmmirror removals list` shows, item by item: nobody knows how much that is."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any, Final

from npmmirror.config import Config
from npmmirror.daemon.index_file import index_of
from npmmirror.index import IndexReader
from npmmirror.index.removals import GonePackage, Holdings
from npmmirror.pipeline.removal import reason_of

PAGE: Final = 500
HELD: Final = "held"
CONFIRMING: Final = "confirming"
GONE: Final = "gone"
STATES: Final = ("removed", "unpublished", "security_hold")

Report = dict[str, Any]


class RemovalList:
    """What is held, on the way to be confirmed, and gone. `state`: of those one alone."""

    def __init__(self, config: Config, state: str | None = None) -> None:
        self._config = config
        self._state = state

    async def pages(self) -> AsyncIterator[tuple[str, list[Report]]]:
        """The breaker first, then pages of the three parts in their order, each by its word.

        Raises:
            StorageError: there is no index, or it cannot be read.
        """
        path = await index_of(self._config)
        async with await IndexReader.open(path, connections=1) as reader:
            yield "breaker", [await self._breaker(reader)]
            for part, pages in (
                (HELD, self._held(reader)),
                (CONFIRMING, self._confirming(reader)),
                (GONE, self._gone(reader)),
            ):
                if (
                    self._state is None
                    or self._state == part
                    or (part == GONE and self._state in STATES)
                ):
                    async for page in pages:
                        yield part, page

    async def _breaker(self, reader: IndexReader) -> Report:
        standing, policy = await reader.removals.standing(), self._config.policy
        return {
            "tripped": standing.held > 0,
            "held": standing.held,
            "since": standing.held_since,
            "decided_at": standing.decided_at,
            "packages": policy.removal_breaker_packages,
            "percent": policy.removal_breaker_percent,
        }

    async def _held(self, reader: IndexReader) -> AsyncIterator[list[Report]]:
        place = 0
        while rows := await reader.removals.held(place, PAGE):
            place = rows[-1][0]
            yield [
                {
                    "package": held.name,
                    "held_at": held.at,
                    "seq": held.seq,
                    "reason": reason_of(held.evidence),
                    "evidence": held.evidence,
                    **_holdings(holdings),
                }
                for _, held, holdings in rows
            ]

    async def _confirming(self, reader: IndexReader) -> AsyncIterator[list[Report]]:
        place, needed = 0, self._config.policy.confirm_removal_answers
        while rows := await reader.removals.confirming(place, PAGE):
            place = rows[-1][0]
            yield [
                {
                    "package": row.package,
                    "answers": row.attempts,
                    "needed": needed,
                    "since": row.since,
                    "next_at": row.not_before,
                    "deleted_by_feed": row.deleted,
                }
                for _, row in rows
            ]

    async def _gone(self, reader: IndexReader) -> AsyncIterator[list[Report]]:
        place, state = ("", 0), self._state if self._state in STATES else None
        while rows := await reader.removals.gone(place, PAGE, state):
            place = rows[-1].place
            yield [_gone(row) for row in rows]


def _gone(row: GonePackage) -> Report:
    removed = row.state == "removed"
    detail = {key: value for key, value in row.detail.items() if key != "versions"}
    return {
        "package": row.name,
        "state": row.state,
        "reason": reason_of(detail) if removed else row.state,
        "at": row.observed_at,
        "happened_at": row.happened_at,
        "seq": row.seq,
        # Of a document its record is the evidence.
        "evidence": detail if removed else {"rev": row.rev},
        "ordinal": row.ordinal,
        **_holdings(row.holdings),
    }


def _holdings(holdings: Holdings) -> Report:
    return asdict(holdings)
