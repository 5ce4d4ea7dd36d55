"""A package as it stood at a moment of the past, as `npmmirror show NAME --at TIME --json` has it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import anyio

from npmmirror.archive import CaptureReader
from npmmirror.config import Config
from npmmirror.daemon.index_file import index_of
from npmmirror.daemon.showing import Report, Showing, UnknownError, event_report, revision_report
from npmmirror.daemon.unwanted import Unwanted
from npmmirror.effects import VersionFacts
from npmmirror.index import IndexReader, VersionRow
from npmmirror.index.past import PastPackage, bound, package_at
from npmmirror.index.rows import EVENTS_EACH
from npmmirror.integrity import may_be
from npmmirror.outcome import HELD
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.past import Bound, Outside, When

_UNTOLD: Report = {
    "created_at": None,
    "modified_at": None,
    "dist_tags": {},
    "people": [],
    "problems": ["not_a_packument"],
    "versions": [],
}


@asynccontextmanager
async def shown_past(config: Config, when: When) -> AsyncIterator["ShowingPast"]:
    """Open the mirror to look at what it knew at a moment.

    Raises:
        StorageError: there is none, or its index cannot be read.
        UnknownError: nothing was captured by then, or the moment is not past.
    """
    path = await index_of(config)
    with CaptureReader(config.storage.data_dir / "captures") as captures:
        async with await IndexReader.open(path, connections=1) as reader:
            moment = await reader.ask(partial(bound, when=when))
            if isinstance(moment, Outside):
                raise UnknownError(moment.sentence)
            showing = Showing(reader, captures, Unwanted(config.policy))
            yield ShowingPast(showing, reader, captures, moment)


class ShowingPast:
    """Answers what was known at one moment. Made by `shown_past`."""

    def __init__(
        self, showing: Showing, reader: IndexReader, captures: CaptureReader, moment: Bound
    ) -> None:
        self._showing = showing
        self._reader = reader
        self._captures = captures
        self._moment = moment

    async def package(self, name: str) -> Report:
        """All there is to say of a package. Of its tarballs it is told whether they are here now.

        Raises:
            UnknownError: no document of it was captured by then, or it was erased since.
            StorageError: the document cannot be read.
        """
        found = await self._found(name)
        raw = await anyio.to_thread.run_sync(self._captures.document, found.revision.place)
        held = {row.version: row for row in await self._reader.versions(name)}
        told = await anyio.to_thread.run_sync(_told, raw, name, held)
        revisions = [each.ordinal for each in await self._reader.revisions(name)]
        events = await self._reader.events(name)
        end = (self._moment.ordinal + 1) * EVENTS_EACH
        state = told.pop("state", "live")
        return {
            "package": name,
            "at": asdict(self._moment),
            "state": state if found.removed is None else "removed",
            "removed_by": found.removed,
            **told,
            "revision": revision_report(
                revisions.index(found.revision.ordinal) + 1, found.revision
            ),
            "events": [event_report(each) for each in events if each.id < end],
        }

    async def document(self, name: str) -> bytes:
        """The document of that moment, byte for byte.

        Raises:
            UnknownError: there was none then, or it was erased since.
            StorageError: the document cannot be read.
        """
        found = await self._found(name)
        if found.removed is not None:
            raise UnknownError(
                f"{name!r} was gone upstream by then; what it was before: --at seq:{found.removed - 1}"
            )
        return await anyio.to_thread.run_sync(self._captures.document, found.revision.place)

    async def _found(self, name: str) -> PastPackage:
        await self._showing.known(name)
        at = self._moment.ordinal
        found = await self._reader.ask(partial(package_at, name=name, ordinal=at))
        if found is None:
            raise UnknownError(
                f"no document of {name!r} was captured by {self._moment.committed_at}"
            )
        if found.erased:
            raise UnknownError(f"what was captured of {name!r} by then was erased since")
        return found


def _told(raw: bytes, name: str, held: Mapping[str, VersionRow]) -> Report:
    """What a document tells, as far as it can be understood."""
    try:
        packument = Packument.parse(raw, name=name)
    except NotAPackumentError:
        return dict(_UNTOLD)
    return {
        "state": packument.state,
        "created_at": packument.created,
        "modified_at": packument.modified,
        "dist_tags": dict(packument.tags),
        "people": [asdict(person) for person in packument.maintainers],
        "problems": list(packument.problems),
        "versions": [
            _version(packument, version, held.get(version)) for version in packument.versions
        ],
    }


def _version(packument: Packument, version: str, row: VersionRow | None) -> dict[str, Any]:
    facts = packument.facts(version)
    return {
        "version": version,
        "published_at": facts.published_at,
        "deprecated": facts.deprecated,
        "publisher": facts.publisher,
        **_file(facts, row),
    }


def _file(facts: VersionFacts, row: VersionRow | None) -> Report:
    """Our file, where it is one that the document of then could mean."""
    there = row is not None and row.state in HELD and row.sha512 is not None
    if (
        row is None
        or not there
        or not may_be(facts.integrity, facts.shasum, sha512=row.sha512 or "", verified=row.shasum)
    ):
        return {"held": False, "path": None, "size": None}
    return {"held": True, "path": row.path, "size": row.size}
