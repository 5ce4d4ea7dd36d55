"""Whether the documents of a registry have a `_rev`: found out once, and kept in the index.

A plain copy of a registry gives none. A single document proves nothing, for odd ones are on every
registry: several packages in a row have to agree, and many to say that it has changed.
"""

from typing import Final

import structlog

from npmmirror.clock import Clock, timestamp
from npmmirror.index import IndexReader, IndexUnavailableError, IndexWriter, feed_notes
from npmmirror.index.feed_notes import RegistryRevs

ENOUGH: Final = 3
"""So many packages in a row tell what a registry does that nothing is known of."""
ENOUGH_TO_CHANGE: Final = 20
"""So many tell that it does otherwise by now."""

log = structlog.get_logger(__name__)


class Witness:
    """Counts packages in a row whose documents have a `_rev`, or have none. Pure.

    `given` is what is known so far: None is nothing.
    """

    def __init__(self, *, given: bool | None = None) -> None:
        self.given = given
        self._kind: bool | None = None
        self._packages: set[str] = set()

    def note(self, package: str, *, given: bool) -> bool:
        """Count a document in; whether something else is known by it than before."""
        if given == self.given:
            self._packages.clear()
            return False
        if given != self._kind:
            self._kind = given
            self._packages.clear()
        self._packages.add(package)
        if len(self._packages) < (ENOUGH if self.given is None else ENOUGH_TO_CHANGE):
            return False
        self.given = given
        self._packages.clear()
        return True


class RevsOfRegistry:
    """What is known of one registry (its base URL). `load` reads what an earlier process kept."""

    def __init__(
        self, registry: str, reader: IndexReader, index: IndexWriter, clock: Clock
    ) -> None:
        self._registry = registry
        self._reader = reader
        self._index = index
        self._clock = clock
        self._witness = Witness()
        self._kept: bool | None = None

    async def load(self) -> None:
        """Take over what is kept, where it is of this very registry."""
        kept = await self._reader.ask(feed_notes.registry_revs)
        if kept is not None and kept.registry == self._registry:
            self._kept = kept.given
            self._witness = Witness(given=kept.given)

    @property
    def absent(self) -> bool:
        """Whether its documents have none, so that dates and versions say which one is older."""
        return self._witness.given is False

    @property
    def given(self) -> bool:
        """Whether its documents have one."""
        return self._witness.given is True

    async def note(self, package: str, rev: str | None) -> None:
        """Learn from the document of a living package; what is new is told, and kept."""
        before = self._witness.given
        if self._witness.note(package, given=rev is not None):
            self._tell(before)
        if self._witness.given is not self._kept:
            await self._keep()

    def _tell(self, before: bool | None) -> None:
        word = "given" if self._witness.given else "absent"
        if before is None:
            log.info("registry_revs", registry=self._registry, revs=word)
        else:
            log.warning("registry_revs_changed", registry=self._registry, revs=word)

    async def _keep(self) -> None:
        given = self._witness.given is True
        anew = self._kept is not None
        kept, self._kept = self._kept, given  # one of those who work at the same time does it
        now = timestamp(self._clock.now())
        try:
            notes = self._index.feed_notes
            await notes.keep_registry_revs(RegistryRevs(self._registry, given, now), anew=anew)
        except IndexUnavailableError:
            self._kept = kept  # the next document does it
