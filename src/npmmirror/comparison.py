"""A document beside what the index knows: which versions are new, changed, back or gone."""

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property

from npmmirror.effects import Known, VersionFacts
from npmmirror.manifest import Manifest
from npmmirror.packument import SECURITY_VERSION, Packument, instant

_NOTHING = Known(state="")


def first_sight(known: Known | None) -> bool:
    """Whether no document of the package was captured before, stale and erased ones aside."""
    if known is None or known.state == "erased":
        return True
    return known.sha256 is None and known.rev is None and not known.versions


def changed_versions(new: Packument, known: Known | None) -> tuple[str, ...]:
    """Present versions whose manifest's bytes differ from those known, in the document's order.

    Where there are any, `diff` needs the document that those bytes were in.
    """
    if known is None:
        return ()
    return tuple(
        version
        for version in new.versions
        if (held := known.versions.get(version))
        and held.present
        and held.digest != new.digest(version)
    )


class Comparison:
    """What `npmmirror.diff` asks of a document and what was known before it.

    `previous` is the document that `known` was made of (None: not at hand). `since` is the start
    of following; None where nothing was ever followed.
    """

    def __init__(
        self,
        new: Packument,
        known: Known | None,
        previous: Packument | None,
        since: datetime | None,
    ) -> None:
        self.new = new
        self.known = known or _NOTHING
        self.previous = previous
        self.since = since
        self.first = first_sight(known)

    @cached_property
    def facts(self) -> dict[str, VersionFacts]:
        """The rows of versions that are new, back or changed: the only ones that are decoded."""
        touched = {*self.added, *self.changed}
        return {
            version: self.new.facts(version) for version in self.new.versions if version in touched
        }

    @cached_property
    def added(self) -> tuple[str, ...]:
        """Versions that are not known, or not as present, in the document's order."""
        held = self.known.versions
        return tuple(v for v in self.new.versions if v not in held or not held[v].present)

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """See `changed_versions`."""
        return changed_versions(self.new, self.known)

    @cached_property
    def vanished(self) -> tuple[str, ...]:
        """Versions that were present and are no longer named, sorted."""
        if not self.new.versions_told:
            return ()
        return tuple(sorted(self.present - self.new.versions.keys()))

    @cached_property
    def present(self) -> set[str]:
        """The versions that the index has as present."""
        return {version for version, held in self.known.versions.items() if held.present}

    @cached_property
    def news(self) -> tuple[str, ...]:
        """Versions published since the last look, or at first sight since following began."""
        news = set(self._first_news() if self.first else self._later_news())
        if self.new.security_hold:  # told by the event of that name
            news.discard(SECURITY_VERSION)
        return self.by_time(news)

    def _first_news(self) -> list[str]:
        # What a package created since then has without a date is as new as the package.
        times = self.new.times
        return [
            version
            for version in self.new.versions
            if self.is_new(times.get(version))
            or (self.created_since and instant(times.get(version)) is None)
        ]

    def _later_news(self) -> list[str]:
        if not self.restored:
            return list(self.added)
        return [v for v in self.added if not self.same_again(v) and not self._is_history(v)]

    def _is_history(self, version: str) -> bool:
        # Came back with its package, and we look at it for the first time.
        if version in self.known.versions:
            return False
        horizon = self.since or instant(self.known.modified_at)
        published = instant(self.new.times.get(version))
        return bool(horizon and published and published <= horizon)

    @cached_property
    def back(self) -> tuple[str, ...]:
        """Versions that came back with their package and are no news, in the document's order."""
        if self.first or not self.restored:
            return ()
        news = set(self.news)
        return tuple(version for version in self.added if version not in news)

    def same_again(self, version: str) -> bool:
        """Whether the version was there once and has the bytes that it had."""
        held = self.known.versions.get(version)
        return held is not None and held.digest == self.new.digest(version)

    @property
    def fresh(self) -> tuple[str, ...]:
        """News whose bytes were never seen."""
        return tuple(version for version in self.news if not self.same_again(version))

    @cached_property
    def created_since(self) -> bool:
        """Whether the package itself was created since following began."""
        return self.is_new(self.new.created)

    def is_new(self, date: str | None) -> bool:
        """Whether a date of the document lies after the start of following."""
        moment = instant(date)
        return bool(self.since and moment and moment > self.since)

    @property
    def restored(self) -> bool:
        """Whether the package was gone and is there again."""
        gone = self.known.state in {"removed", "unpublished", "security_hold"}
        return gone and self.new.state == "live"

    @property
    def when(self) -> str | None:
        """The document's word for its last change; None where its clock stood still."""
        stood_still = self.new.modified == self.known.modified_at
        return None if stood_still else self.new.modified

    @property
    def tags(self) -> dict[str, str]:
        """The dist-tags as they are now: the known ones where the document tells none."""
        return self.new.tags if self.new.tags_told else self.known.tags

    @property
    def tags_changed(self) -> bool:
        """Whether the dist-tags are others than those known."""
        return self.first or self.tags != self.known.tags

    @property
    def latest(self) -> str | None:
        """What the tag `latest` names, be it there or not."""
        return self.tags.get("latest")

    @cached_property
    def latest_manifest(self) -> Manifest | None:
        """The manifest that `latest` names; None where there is none."""
        there = self.latest is not None and self.latest in self.new.versions
        return self.new.manifest(self.latest) if there and self.latest is not None else None

    def by_time(self, versions: Iterable[str]) -> tuple[str, ...]:
        """Versions in the order of their publication: by date, undated ones last, as listed."""
        wanted = set(versions)
        listed = [version for version in self.new.versions if version in wanted]
        dated = [(instant(self.new.times.get(v)), v) for v in listed]
        known = sorted(((m, v) for m, v in dated if m), key=lambda pair: pair[0])
        return tuple(v for _, v in known) + tuple(v for m, v in dated if not m)
