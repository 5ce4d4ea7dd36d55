"""Reading all names that the feed lists, page by page, from any name on."""

from collections.abc import Sequence
from typing import Final

import structlog

from npmmirror.upstream import BadAnswer, Listed, Upstream

PAGE_ROWS: Final = 10_000
"""What npm's feed gives at most."""

log = structlog.get_logger(__name__)


class NameList:
    """The feed's `_all_docs`. Names may come twice, in no order: a row moves while they are read."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.total: int | None = None
        """How many rows there are, as the last page says."""
        self.rows = 0

    async def page(self, after: str | None) -> Sequence[Listed]:
        """The names behind one (None: from the first on). Empty at the end.

        Raises:
            UpstreamError: the feed does not give it, or gives the same page for ever.
        """
        listing = await self._upstream.all_docs(startkey=after, limit=PAGE_ROWS)
        for odd in listing.odd:
            log.error("list_row_unreadable", row=odd)
        self.total = listing.total
        rows = listing.rows
        # The key is included, and its package may be gone by now.
        if rows and rows[0].name == after:
            rows = rows[1:]
        if rows and rows[-1].name == after:
            raise BadAnswer("bad_feed", f"_all_docs gives the same names again behind {after!r}")
        self.rows += len(rows)
        return rows
