"""Which events a mirror must have found, given the documents that it captured: told a second time.

It shares no code with `npmmirror.diff`: it works on what upstream says of each revision
(`soaking.truth`), and knows the few forms of documents alone that the soak's upstream has.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from benchmarks.soaking.truth import Told, Version

Event = tuple[str, str | None, str | None, str | None]
"""Kind, version, tag, and the maintainer's name."""
HOLDER = "0.0.1-security"
GONE = {"removed", "unpublished", "security_hold"}


@dataclass(slots=True)
class Mirror:
    """What a mirror knows of a package when it has captured some of its documents.

    `versions` are those of all documents, with the digests that they had last; `present` are those
    of the last one.
    """

    state: str = ""
    last: Told | None = None
    versions: dict[str, str] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)
    maintainers: set[str] = field(default_factory=set)

    def removed(self) -> Counter[Event]:
        """The package was found gone."""
        self.state = "removed"
        return Counter([("package_removed", None, None, None)])

    def captured(self, told: Told) -> Counter[Event]:
        """A document was captured that is not stale."""
        events = Counter(self._events(told))
        self.state, self.last, self.present = told.state, told, set(told.versions)
        self.versions |= {version: found.digest for version, found in told.versions.items()}
        self.maintainers = set(told.maintainers) or self.maintainers
        return events

    def _events(self, told: Told) -> Iterable[Event]:
        news = self._news(told)
        if self.last is None:
            yield from _sighting(told, news)
        elif self.state in GONE and told.state == "live":
            yield "package_restored", None, None, None
        for version in news:
            yield "version_published", version, None, None
        if told.state == "live":
            yield from self._withdrawn(told)
        elif told.state != self.state:
            yield _END[told.state]
        yield from self._deprecations(told, news)
        yield from self._changes(told)

    def _news(self, told: Told) -> list[str]:
        added = [version for version in told.versions if version not in self.present]
        if self.last is None:
            added = [version for version in added if told.versions[version].is_news]
        elif self.state in GONE and told.state == "live":
            added = [v for v in added if self._is_news(v, told.versions[v])]
        return [v for v in added if v != HOLDER or told.state != "security_hold"]

    def _is_news(self, version: str, found: Version) -> bool:
        """Of a version that comes with a restored package: whether it does not only come back."""
        if version in self.versions:
            return self.versions[version] != found.digest
        return found.is_news

    def _withdrawn(self, told: Told) -> Iterable[Event]:
        if self.last is None:
            return
        for version in self.present - told.versions.keys():
            if not (self.state == "security_hold" and version == HOLDER):
                yield "version_unpublished", version, None, None
        before = self.last.tags
        for tag, version in told.tags.items():
            if before.get(tag) != version:
                yield "dist_tag_set", version, tag, None
        for tag in before.keys() - told.tags.keys():
            yield "dist_tag_removed", before[tag], tag, None
        if told.maintainers and self.maintainers:
            for name in set(told.maintainers) - self.maintainers:
                yield "maintainer_added", None, None, name
            for name in self.maintainers - set(told.maintainers):
                yield "maintainer_removed", None, None, name

    def _deprecations(self, told: Told, news: list[str]) -> Iterable[Event]:
        for version in news:
            found = told.versions[version]
            if found.deprecated is not None and self.versions.get(version) != found.digest:
                yield "deprecated", version, None, None
        for version, before, found in self._changed(told):
            if found.deprecated != before.deprecated:
                kind = "undeprecated" if found.deprecated is None else "deprecated"
                yield kind, version, None, None

    def _changes(self, told: Told) -> Iterable[Event]:
        for version, before, found in self._changed(told):
            if found.rest != before.rest:
                yield "manifest_changed", version, None, None

    def _changed(self, told: Told) -> Iterable[tuple[str, Version, Version]]:
        if self.last is None:
            return
        for version, found in told.versions.items():
            before = self.last.versions.get(version)
            if version in self.present and before is not None and before.digest != found.digest:
                yield version, before, found


def _sighting(told: Told, news: list[str]) -> Iterable[Event]:
    old = told.versions.keys() - {HOLDER, *news}
    if told.created_since:
        yield "package_created", None, None, None
    if old or not told.created_since:
        yield "package_observed", None, None, None


_END: dict[str, Event] = {
    "unpublished": ("package_unpublished", None, None, None),
    "security_hold": ("security_hold", HOLDER, None, None),
}
