"""Short ways to write down what a group holds."""

import hashlib
from dataclasses import replace
from typing import Any

import msgspec

from npmmirror.capture import Location, Payload
from npmmirror.effects import (
    Effects,
    Event,
    EventKind,
    PackageFacts,
    PersonFacts,
    VersionFacts,
)
from npmmirror.index import Group, Mark, StoredDocument, StoredDrop, StoredGone, StoredTarball
from npmmirror.outcome import WorkItem

AT = "2026-11-20T10:00:00.000000Z"
LATER = "2026-11-20T11:00:00.000000Z"
LATEST = "2026-11-20T12:00:00.000000Z"


def facts(state: str = "live", **changed: Any) -> PackageFacts:
    """What a document says of its package."""
    told = PackageFacts(
        state=state,
        rev="1-a",
        created_at="2020-01-01T00:00:00.000Z",
        modified_at="2021-01-01T00:00:00.000Z",
        latest="1.0.0",
        latest_author="Ann",
        license="MIT",
        version_count=1,
        modifications=1,
    )
    return replace(told, **changed)


def version(name: str, text: str = "", **changed: Any) -> VersionFacts:
    """A version whose digest comes of some text."""
    digest = hashlib.sha256(f"{name} {text}".encode()).digest()[:16]
    facts = VersionFacts(name, digest, integrity=f"sha512-{name}")
    return msgspec.structs.replace(facts, **changed)


def effects(*versions: str, **changed: Any) -> Effects:
    """The effects of a document with new versions; a live package, unless changed."""
    told = Effects(facts(version_count=len(versions)), tuple(version(name) for name in versions))
    return replace(told, **changed)


def document(
    name: str, ordinal: int, found: Effects | None, *, number: int = 0, **changed: Any
) -> StoredDocument:
    """A captured document; its bytes' digest comes of its ordinal."""
    sha256 = hashlib.sha256(f"{ordinal}".encode()).hexdigest()
    stored = StoredDocument(
        name=name,
        ordinal=ordinal,
        place=place(ordinal),
        at=AT,
        payload=Payload(b"", 100 + ordinal, sha256, number),
        effects=found,
        rev=found.package.rev if found is not None else "0-old",
    )
    return replace(stored, **changed)


def place(ordinal: int) -> Location:
    """Where the record of an ordinal lies."""
    return Location(1, 1000 * ordinal)


def captured(name: str, ordinal: int, *versions: str, **changed: Any) -> Group:
    """A group of one document."""
    return Group(documents=(document(name, ordinal, effects(*versions, **changed)),))


def gone(name: str, ordinal: int) -> StoredGone:
    """A confirmed removal."""
    return StoredGone(name, ordinal, AT, Event(EventKind.PACKAGE_REMOVED), seq=ordinal)


def tarball(name: str, held: str, ordinal: int, **changed: Any) -> StoredTarball:
    """A stored file."""
    path = f"ab/{name}/{name}-{held}.tgz"
    return replace(StoredTarball(name, held, ordinal, AT, path, 1000, "ab" * 64), **changed)


def drop(name: str, held: str, ordinal: int) -> StoredDrop:
    """A file that is held no longer."""
    return StoredDrop(name, held, ordinal, LATER, "pruned")


def mark(ordinal: int, at: str = AT) -> Mark:
    """The end of a group."""
    return Mark(ordinal, at, f"{ordinal:064x}", place(ordinal), cursor=ordinal)


def work(package: str, item: str = "", not_before: str | None = AT, **changed: Any) -> WorkItem:
    """A row of the work list."""
    return replace(WorkItem(package, item, "http_500", not_before, 1, since=AT), **changed)


def maintainers(*names: str) -> tuple[PersonFacts, ...]:
    """Maintainers without addresses."""
    return tuple(PersonFacts("maintainer", name) for name in names)
