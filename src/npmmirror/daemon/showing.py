"""What the mirror knows of a package, a version or a revision, as `npmmirror show --json` has it.

Only reads: beside a running daemon, and where none runs.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import anyio

from npmmirror.archive import CaptureReader
from npmmirror.config import Config
from npmmirror.confusion import Confusion
from npmmirror.daemon.index_file import index_of
from npmmirror.daemon.nearest import nearest, nearest_names
from npmmirror.daemon.standing import Standing, standing
from npmmirror.daemon.unwanted import Unwanted
from npmmirror.effects import DependencyFacts
from npmmirror.errors import NpmmirrorError
from npmmirror.index import EventRow, IndexReader, PackageRow, RevisionRow, VersionRow
from npmmirror.outcome import WorkItem
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.pipeline.job import PACKUMENT

Report = dict[str, Any]


class UnknownError(NpmmirrorError):
    """The mirror has never met this package, version or revision."""


@asynccontextmanager
async def shown(config: Config) -> AsyncIterator["Showing"]:
    """Open the mirror to look at it.

    Raises:
        StorageError: there is none, or its index cannot be read.
    """
    path = await index_of(config)
    with CaptureReader(config.storage.data_dir / "captures") as captures:
        async with await IndexReader.open(path, connections=1) as reader:
            yield Showing(reader, captures, Unwanted(config.policy))


class Showing:
    """Answers what is known. Made by `shown`."""

    def __init__(self, reader: IndexReader, captures: CaptureReader, unwanted: Unwanted) -> None:
        self._unwanted = unwanted
        self._reader = reader
        self._captures = captures

    async def known(self, name: str) -> PackageRow:
        """The row of a package.

        Raises:
            UnknownError: there is none; the nearest names are told.
        """
        row = await self._reader.package(name)
        if row is None:
            near = await nearest_names(self._reader, name)
            told = _or(near) or f"; `npmmirror sync {name}` mirrors it"
            raise UnknownError(f"the mirror knows no package {name!r}{told}")
        return row

    async def package(self, name: str) -> Report:
        """All there is to say of a package.

        Raises:
            UnknownError: it was never met.
        """
        row = await self.known(name)
        work = {item.item: item for item in await self._reader.work_of(name)}
        rows = await self._reader.versions(name)
        rules = self._unwanted.rules(name, row.latest, rows)
        revisions = await self._reader.revisions(name)
        events = await self._reader.events(name)
        return {
            **_package(row),
            "document_work": _work(work[PACKUMENT]) if PACKUMENT in work else None,
            "versions": [
                _explained(_brief(each, work.get(each.version)), rules) for each in _by_age(rows)
            ],
            "revisions": [revision_report(n, each) for n, each in enumerate(revisions, start=1)],
            "events": [event_report(each) for each in events],
        }

    async def version(self, name: str, asked: str) -> Report:
        """All there is to say of one version, named by itself or by a dist-tag.

        Raises:
            UnknownError: the package or the version was never met.
        """
        package = await self.known(name)
        wanted = asked if await self._reader.versions(name, asked) else package.tags.get(asked)
        rows = await self._reader.versions(name, wanted) if wanted is not None else []
        if wanted is None or not rows:
            raise await self._no_version(package, asked)
        work = {item.item: item for item in await self._reader.work_of(name)}
        tags = sorted(tag for tag, version in package.tags.items() if version == wanted)
        needs = await self._reader.dependencies(name, wanted) if tags else None
        events = await self._reader.events(name)
        confusions = await self._reader.confusions(name, wanted)
        return {
            "package": name,
            "package_state": package.state,
            **_explained(_version(rows[0], work.get(wanted)), await self._rules(package)),
            "manifest_confusion": _confusion(confusions.get(wanted)),
            "dist_tags": tags,
            "dependencies": None if needs is None else [_dependency(each) for each in needs],
            "events": [event_report(each) for each in events if each.version == wanted],
        }

    async def _rules(self, package: PackageRow) -> Mapping[str, tuple[str, str | None]]:
        rows = await self._reader.versions(package.name)
        return self._unwanted.rules(package.name, package.latest, rows)

    async def revision(self, name: str, number: int | None) -> Report:
        """One captured document: where it lies, and what it names. `number` as in `document`.

        Raises:
            UnknownError: the package was never met, or has no such revision.
            StorageError: the document cannot be read.
        """
        number, row = await self._chosen(name, number)
        raw = await anyio.to_thread.run_sync(self._captures.document, row.place)
        record = self._captures.record(row.place)
        return {
            "package": name,
            **revision_report(number, row),
            "etag": row.etag,
            "segment": row.place.segment,
            "offset": row.place.offset,
            "stored_length": record.stored_length,
            "delta": record.base is not None,
            **_named(raw, name),
        }

    async def document(self, name: str, number: int | None = None) -> bytes:
        """A captured document, byte for byte: the `number`-th (1 is the oldest), or the newest.

        Where none is named, stale ones do not count unless there are no others.

        Raises:
            UnknownError: the package was never met, or has no such revision.
            StorageError: the document cannot be read.
        """
        _, row = await self._chosen(name, number)
        return await anyio.to_thread.run_sync(self._captures.document, row.place)

    async def _chosen(self, name: str, number: int | None) -> tuple[int, RevisionRow]:
        await self.known(name)
        rows = await self._reader.revisions(name)
        if not rows:
            raise UnknownError(f"no document of {name!r} was captured")
        if number is None:
            fresh = [n for n, row in enumerate(rows, start=1) if not row.stale]
            number = fresh[-1] if fresh else len(rows)
        if not 1 <= number <= len(rows):
            raise UnknownError(
                f"{name!r} has no revision {number}: {len(rows)} of it were captured"
            )
        return number, rows[number - 1]

    async def _no_version(self, package: PackageRow, asked: str) -> UnknownError:
        rows = await self._reader.versions(package.name)
        near = nearest(asked, [*package.tags, *(row.version for row in rows)])
        return UnknownError(f"the mirror knows no version {asked!r} of {package.name!r}{_or(near)}")


def _or(near: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _package(row: PackageRow) -> Report:
    return {
        "package": row.name,
        "state": row.state,
        "skipped": None
        if row.skip is None
        else {"reason": row.skip.reason, "detail": row.skip.detail, "at": row.skip.at},
        "ordinal": row.ordinal,
        "seq": row.seq,
        "rev": row.rev,
        "observed_at": row.observed_at,
        "created_at": row.created_at,
        "modified_at": row.modified_at,
        "latest": row.latest,
        "latest_author": row.latest_author,
        "license": row.license,
        "dist_tags": row.tags,
        "people": [asdict(person) for person in row.people],
        "problems": list(row.problems),
    }


def _work(item: WorkItem) -> Report:
    return {
        "reason": item.reason,
        "detail": item.detail,
        "attempts": item.attempts,
        "next_try": item.not_before,
        "since": item.since,
    }


def _by_age(rows: Sequence[VersionRow]) -> list[VersionRow]:
    """In the order of their publication; those of which it is not told come first."""
    return sorted(rows, key=lambda row: (row.published_at or "", row.version))


def _brief(row: VersionRow, work: WorkItem | None) -> Report:
    return {
        "version": row.version,
        "present": row.present,
        "published_at": row.published_at,
        "deprecated": row.deprecated,
        "path": row.path,
        "size": row.size,
        "signature": row.signature,
        **_standing(standing(row, work)),
    }


def _explained(told: Report, rules: Mapping[str, tuple[str, str | None]]) -> Report:
    """The same, with the rule that does not want the tarball where no table says why."""
    if told["tarball"] == "not_wanted" and told["version"] in rules:
        told["reason"], told["detail"] = rules[told["version"]]
    return told


def _standing(found: Standing) -> Report:
    return {
        "tarball": found.word,
        "reason": found.reason or None,
        "detail": found.detail or None,
        "attempts": found.attempts,
        "next_try": found.next_try,
    }


def _version(row: VersionRow, work: WorkItem | None) -> Report:
    # A check that is older than the file says nothing of it.
    told = row.checked_at is not None and row.checked_at >= (row.verified_at or "")
    return {
        **_brief(row, work),
        "dist": {
            "tarball": row.tarball,
            "integrity": row.integrity,
            "shasum": row.shasum,
            "file_count": row.file_count,
            "unpacked_size": row.unpacked_size,
        },
        "license": row.license,
        "publisher": row.publisher,
        "has_install_script": row.has_install_script,
        "attestations": row.attestations,
        "unverifiable": row.state == "unverifiable",
        "sha512": row.sha512,
        "verified_at": row.verified_at,
        "checked_at": row.checked_at if told else None,
        "check": row.check_result if told else None,
    }


def _confusion(found: Confusion | None) -> Report | None:
    return (
        None
        if found is None
        else asdict(found) | {"differences": [*map(asdict, found.differences)]}
    )


def _dependency(facts: DependencyFacts) -> Report:
    return {"kind": facts.kind, "name": facts.name, "requirement": facts.requirement}


def revision_report(number: int, row: RevisionRow) -> Report:
    """A captured document, the `number`-th of its package."""
    return {
        "revision": number,
        "ordinal": row.ordinal,
        "rev": row.rev,
        "announced_rev": row.announced_rev,
        "seq": row.seq,
        "observed_at": row.observed_at,
        "stale": row.stale,
        "sha256": row.sha256,
        "length": row.length,
    }


def event_report(row: EventRow) -> Report:
    """An event."""
    return {
        "id": row.id,
        "kind": row.kind,
        "seq": row.seq,
        "version": row.version,
        "tag": row.tag,
        "happened_at": row.happened_at,
        "observed_at": row.observed_at,
        "publisher": row.publisher,
        "detail": row.detail,
    }


def _named(raw: bytes, name: str) -> Report:
    """What a document names, as far as it can be understood."""
    try:
        packument = Packument.parse(raw, name=name)
    except NotAPackumentError:
        return {"version_count": None, "dist_tags": None}
    return {"version_count": len(packument.versions), "dist_tags": dict(packument.tags)}
