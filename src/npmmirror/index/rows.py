"""From a group to the rows of its tables. Pure: what is read of the index comes in as `Ids`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import orjson
from msgspec.structs import astuple

from npmmirror.effects import Effects, Event
from npmmirror.index import confusions, signing
from npmmirror.index.group import Group, StoredDocument, StoredDrop, StoredTarball
from npmmirror.index.statements import PACKAGE_COLUMNS
from npmmirror.signatures import UNKNOWN_KEY
from npmmirror.sqlite import Row, storable

EVENTS_EACH: Final = 1_000_000
"""An event's id is its record's ordinal times this, plus its place among the record's events."""
MAX_INTEGER: Final = 2**63 - 1

Compared = tuple[StoredDocument, Effects]

_package = attrgetter(*PACKAGE_COLUMNS)


@dataclass(frozen=True, slots=True)
class Package:
    """A package's number and its state before the group."""

    id: int
    state: str = ""


def cleaned(row: Row) -> Row:
    """The row with what SQLite cannot hold made holdable: lone surrogates, huge integers."""
    return tuple(_cleaned(value) for value in row)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, int):
        return max(-MAX_INTEGER, min(value, MAX_INTEGER))
    return value


def json_text(value: Any) -> str:
    """JSON of a value, with what SQLite cannot hold made holdable."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return orjson.dumps(_tamed(value)).decode()


def _tamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {storable(key): _tamed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_tamed(inner) for inner in value]
    return _cleaned(value)


def names(group: Group) -> list[str]:
    """Every package that the group is about, in the order of its first mention."""
    mentions: Iterable[Any] = (
        *group.documents,
        *group.gone,
        *group.tarballs,
        *group.drops,
        *group.erasures,
        *group.bundles,
        *group.finished,
        *group.skips,
        *group.wake,
    )
    found = dict.fromkeys(item.name for item in mentions)
    found |= dict.fromkeys(item.package for item in group.work_put)
    found |= dict.fromkeys((*(held.name for held in group.held), *group.unheld))
    return list(found)


@dataclass(frozen=True, slots=True)
class Batches:
    """A group's rows by table, each made only when it is taken; `packages` has every name."""

    group: Group
    packages: Mapping[str, Package]

    @property
    def compared(self) -> list[Compared]:
        """The documents that are not stale, each with its effects."""
        return [(doc, doc.effects) for doc in self.group.documents if doc.effects is not None]

    def _id(self, name: str) -> int:
        return self.packages[name].id

    def _touched(self) -> dict[str, int]:
        """The newest record of each package by which what is served of it changed."""
        group = self.group
        records: list[Any] = [*group.gone, *group.tarballs, *group.drops]
        records += [doc for doc, _ in self.compared]
        records.sort(key=attrgetter("ordinal"))
        return {record.name: record.ordinal for record in records}

    def touched(self) -> Iterator[Row]:
        """For `statements.TOUCH`: the packages of which files alone came or went."""
        told = {doc.name for doc, _ in self.compared} | {gone.name for gone in self.group.gone}
        for name, ordinal in self._touched().items():
            if name not in told:
                yield self._id(name), ordinal

    def documents(self) -> Iterator[Row]:
        """For `statements.DOCUMENT`."""
        touched = self._touched()
        for doc, effects in self.compared:
            facts = effects.package
            problems = json_text(list(facts.problems)) if facts.problems else None
            yield (
                *(self._id(doc.name), doc.name, *_package(facts)),
                *(facts.modifications, problems, doc.ordinal, doc.ordinal, doc.seq, doc.at),
                touched[doc.name],
            )

    def stale(self) -> Iterator[Row]:
        """For `statements.STALE`."""
        for doc in self.group.documents:
            if doc.effects is None and not doc.erased:
                yield self._id(doc.name), doc.ordinal

    def gone(self) -> Iterator[Row]:
        """For `statements.GONE`."""
        touched = self._touched()
        for gone in self.group.gone:
            row = (self._id(gone.name), gone.reason, gone.ordinal, gone.seq, gone.at)
            yield *row, touched[gone.name]

    def versions(self, documents: Iterable[Compared]) -> Iterator[Row]:
        """For `statements.VERSION`."""
        for doc, effects in documents:
            number = self._id(doc.name)
            for facts in effects.versions:
                yield number, facts.version, 1, *astuple(facts)[1:]

    def signed(self, documents: Iterable[Compared]) -> Counter[str]:
        """How many versions come in each state of their signatures."""
        return Counter(
            f"{signing.TOTAL}{facts.signature}"
            for _, effects in documents
            for facts in effects.versions
            if facts.signature
        )

    def keys(self) -> Iterator[Row]:
        """For `signing.KEYS`."""
        for one in self.group.keys:
            yield one.ordinal, one.at, one.document

    def unknown_signers(self) -> Iterator[Row]:
        """For `signing.UNKNOWN`."""
        for doc, effects in self.compared:
            if any(facts.signature == UNKNOWN_KEY for facts in effects.versions):
                yield doc.ordinal, self._id(doc.name), effects.keys

    def bundles(self) -> Iterator[Row]:
        """For `signing.BUNDLE`."""
        for one in self.group.bundles:
            digest = bytes.fromhex(one.sha256) if one.sha256 is not None else None
            yield (
                *(self._id(one.name), one.version, one.ordinal, one.at, digest, one.length),
                *(one.place.segment, one.place.offset),
            )

    def vanished(self) -> Iterator[Row]:
        """For `statements.VANISHED`."""
        for doc, effects in self.compared:
            for version in effects.vanished:
                yield self._id(doc.name), version

    def tags(self) -> Iterator[Row]:
        """For `statements.TAG`."""
        for doc, effects in self.compared:
            for tag, version in (effects.tags or {}).items():
                yield self._id(doc.name), tag, version

    def people(self) -> Iterator[Row]:
        """For `statements.PERSON`."""
        for doc, effects in self.compared:
            for position, person in enumerate(effects.people or ()):
                yield self._id(doc.name), person.role, position, person.name, person.email

    def dependencies(self) -> Iterator[Row]:
        """For `statements.DEPENDENCY`."""
        for doc, effects in self.compared:
            for dep in effects.dependencies or ():
                yield self._id(doc.name), dep.version, dep.kind, dep.name, dep.requirement

    def revisions(self) -> Iterator[Row]:
        """For `statements.REVISION`."""
        for doc in self.group.documents:
            payload = doc.payload
            yield (
                *(doc.ordinal, self._id(doc.name), doc.rev, doc.announced_rev, doc.seq, doc.at),
                *(doc.etag, doc.effects is None and not doc.erased),
                *(bytes.fromhex(payload.sha256), payload.length),
                *(doc.place.segment, doc.place.offset, payload.number, doc.erased),
                doc.announced_at,
            )

    def events(self) -> Iterator[Row]:
        """For `statements.EVENT`, in the order of the records."""
        for doc, effects in self.compared:
            for n, event in enumerate(effects.events):
                yield _event(doc.ordinal * EVENTS_EACH + n, self._id(doc.name), doc, event)
        for gone in self.group.gone:
            yield _event(gone.ordinal * EVENTS_EACH, self._id(gone.name), gone, gone.event)

    def files(self) -> list[Row]:
        """For `statements.FILE`: of each version the newest record alone."""
        records: list[StoredTarball | StoredDrop] = [*self.group.tarballs, *self.group.drops]
        records.sort(key=attrgetter("ordinal"))
        newest = {(record.name, record.version): record for record in records}
        return [_file(self._id(record.name), record) for record in newest.values()]

    def compared_files(self) -> Iterator[Row]:
        """For `confusions.CLEAR`."""
        for tarball in confusions.newest(self.group.tarballs):
            yield self._id(tarball.name), tarball.version

    def confusions(self) -> Iterator[Row]:
        """For `confusions.PUT`."""
        for tarball in confusions.newest(self.group.tarballs):
            yield from confusions.rows(self._id(tarball.name), tarball)

    def finished(self) -> Iterator[Row]:
        """For `statements.FINISHED`."""
        for end in self.group.finished:
            yield self._id(end.name), end.seq, end.rev, end.deleted

    def unskipped(self) -> Iterator[Row]:
        """For `statements.UNSKIP`: packages captured and files stored are no longer skipped."""
        for doc, _ in self.compared:
            yield self._id(doc.name), ""
        for tarball in self.group.tarballs:
            yield self._id(tarball.name), tarball.version

    def skips(self) -> Iterator[Row]:
        """For `statements.SKIP`."""
        for skip in self.group.skips:
            yield self._id(skip.name), skip.version, skip.reason, skip.detail, skip.at

    def work_put(self) -> Iterator[Row]:
        """For `statements.WORK`."""
        for item in self.group.work_put:
            yield (
                *(self._id(item.package), item.item, item.reason, item.not_before),
                *(item.attempts, item.rev, item.seq, item.deleted, item.since, item.detail),
                item.origin,
                item.announced_at,
            )

    def work_done(self) -> list[Row]:
        """For `statements.WORK_DONE`; a package that has no number has no row."""
        return [
            (self._id(name), item) for name, item in self.group.work_done if name in self.packages
        ]

    def wake(self) -> Iterator[Row]:
        """For `statements.WAKE`."""
        for wake in self.group.wake:
            yield self._id(wake.name), wake.at

    def counts(self) -> Counter[str]:
        """What the group adds to the totals, but for versions and files."""
        added = Counter(revisions=len(self.group.documents), events=len(self.group.gone))
        after = {gone.name: gone.reason for gone in self.group.gone}
        for doc, effects in self.compared:
            added["events"] += len(effects.events)
            after[doc.name] = effects.package.state
        for name, state in after.items():
            before = self.packages[name].state
            added[f"packages_{state}"] += 1
            if before:
                added[f"packages_{before}"] -= 1
        return added


def _event(number: int, package: int, record: Any, event: Event) -> Row:
    return (
        *(number, package, record.seq, event.kind.value, event.version, event.tag),
        *(event.happened_at, record.at, event.publisher, json_text(event.detail)),
    )


def _file(package: int, record: StoredTarball | StoredDrop) -> Row:
    key = (package, record.version, b"", 0)
    if isinstance(record, StoredDrop):
        return (*key, "dropped", record.reason, None, None, None, None, record.ordinal)
    state = "unverifiable" if record.unverifiable else "held"
    digest = bytes.fromhex(record.sha512)
    return (*key, state, None, record.path, record.size, digest, record.at, record.ordinal)
