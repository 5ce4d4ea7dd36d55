"""A package's document, read tolerantly and lazily.

One pass finds where the versions' manifests lie; a manifest is decoded when it is asked for. What
is not of npm's type is kept in `raw`, left out of the fields, and named in `problems`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from npmmirror.effects import PersonFacts, VersionFacts
from npmmirror.jsontext import Raw, UnreadableError, members, value
from npmmirror.manifest import Manifest, Problems, person
from npmmirror.plain import Signing, plain_facts

SECURITY_VERSION = "0.0.1-security"
"""The version that npm puts in the place of a package that it took down."""

_HEAD = 1024
_KEEPS_SIGNING_BYTES = 1 << 20
"""Of documents up to this size it is kept what is signed: many times what it takes as text, since
upstream may put anything there. Of larger ones it is read again, version by version."""
_NOT_VERSIONS = frozenset({"created", "modified", "unpublished"})
_Members = Mapping[str, Raw]
_T = TypeVar("_T")


class NotAPackumentError(ValueError):
    """The bytes are no document of that package.

    `reason` is `html`, `not_json`, `not_an_object`, `wrong_name` (another package's, or nobody's
    and without versions), or `too_deep` (nested beyond the interpreter's stack, about 1000).
    """

    def __init__(self, reason: str, name: str) -> None:
        super().__init__(f"not a packument of {name}: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Unpublished:
    """What is left of a package that was unpublished whole."""

    time: str | None
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Packument:
    """A package's document.

    Attributes:
        raw: The bytes as they came.
        name: The package that was asked for.
        rev: `_rev`.
        modified: When it changed last, in its own spelling.
        created: When the package was created, in its own spelling.
        versions: Each version's manifest, undecoded, in the document's order.
        times: When each version was published; versions that are no longer there included.
        tags: The dist-tags; a tag may name a version that is not there.
        maintainers: Who may publish. Empty means not told: npm lets nobody remove the last one,
            but leaves the list empty where it does not know.
        unpublished: Set where the package was unpublished whole and nothing was published since.
        security_hold: Whether npm's holder version is all there is.
        versions_told: False where `versions` is missing or no object, so that nothing can be said
            to have vanished. An unpublished package's document tells that there are none.
        tags_told: The same for `dist-tags`.
        problems: What was not understood, as `place: word`.
    """

    raw: bytes | memoryview = field(repr=False)
    name: str
    rev: str | None
    modified: str | None
    created: str | None
    versions: Mapping[str, Raw] = field(repr=False)
    times: Mapping[str, str] = field(repr=False)
    tags: dict[str, str]
    maintainers: tuple[PersonFacts, ...]
    unpublished: Unpublished | None
    security_hold: bool
    versions_told: bool
    tags_told: bool
    problems: tuple[str, ...]
    _digests: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    _decoded: dict[str, Manifest] = field(default_factory=dict, repr=False, compare=False)
    _signing: dict[str, Signing] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, raw: bytes | memoryview, *, name: str) -> "Packument":
        """Read the document of package `name`.

        Raises:
            NotAPackumentError: it is not one, for the reason it tells. Nothing else is raised.
        """
        try:
            top = members(raw)
        except UnreadableError as error:
            reason = "html" if bytes(raw[:_HEAD]).lstrip()[:1] == b"<" else error.reason
            raise NotAPackumentError(reason, name) from error
        reader = _Reader(top)
        if not reader.belongs_to(name):
            raise NotAPackumentError("wrong_name", name)
        return cls(raw=raw, name=name, **reader.fields())

    @property
    def state(self) -> str:
        """`live`, `unpublished` or `security_hold`."""
        if self.unpublished:
            return "unpublished"
        return "security_hold" if self.security_hold else "live"

    def digest(self, version: str) -> bytes:
        """The first 16 bytes of the SHA-256 of the manifest's bytes in the document.

        Raises:
            KeyError: the document has no such version.
        """
        known = self._digests.get(version)
        if known is None:
            known = hashlib.sha256(self.versions[version]).digest()[:16]
            self._digests[version] = known
        return known

    def manifest(self, version: str) -> Manifest:
        """A version's manifest; the one that was asked for last is kept decoded.

        Raises:
            KeyError: the document has no such version.
        """
        known = self._decoded.get(version)
        if known is None:
            known = Manifest.parse(self.versions[version], version=version)
            self._decoded.clear()
            self._decoded[version] = known
        return known

    def facts(self, version: str) -> VersionFacts:
        """A version's row.

        Raises:
            KeyError: the document has no such version.
        """
        raw, digest, at = self.versions[version], self.digest(version), self.times.get(version)
        plain = plain_facts(raw, version=version, digest=digest, published_at=at)
        if plain is None:
            return self.manifest(version).facts(digest=digest, published_at=at)
        facts, signing = plain
        if len(self.raw) <= _KEEPS_SIGNING_BYTES:
            self._signing[version] = signing
        return facts

    def signing(self, version: str) -> Signing | None:
        """What was read of its signatures together with the version's facts; None: it was not."""
        return self._signing.get(version)


def instant(text: str | None) -> datetime | None:
    """The moment that a date of a document means; without a zone it is UTC. None: no date."""
    try:
        read = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


class _Reader:
    """Takes the fields out of a document's members, noting what is not as npm has it."""

    def __init__(self, top: _Members) -> None:
        self._top = top
        self._problems = Problems()
        self._time = self._problems.mapping(self._value("time"), "time")

    def belongs_to(self, name: str) -> bool:
        told = [found for key in ("_id", "name") if (found := self._text(key))]
        for other in told:
            if other != name:
                self._problems.add("name", "of_another_package")
        if told:
            return name in told
        self._problems.add("name", "missing")
        return "versions" in self._top or "unpublished" in self._time

    def fields(self) -> dict[str, Any]:
        versions = self._members("versions")
        tags = self._members("dist-tags")
        unpublished = None if versions else self._unpublished()
        return {
            "rev": self._text("_rev"),
            "modified": self._date("modified", "modified", "mtime"),
            "created": self._date("created", "created", "ctime"),
            "versions": versions or {},
            "times": dict(self._times()),
            "tags": dict(self._tags(tags or {})),
            "maintainers": self._maintainers(),
            "unpublished": unpublished,
            "security_hold": _is_security_hold(versions or {}),
            "versions_told": versions is not None or unpublished is not None,
            "tags_told": tags is not None or unpublished is not None,
            "problems": tuple(self._problems),
        }

    def _value(self, key: str) -> Any:
        return self._understood(value, self._top.get(key), key)

    def _members(self, key: str) -> dict[str, Raw] | None:
        return self._understood(members, self._top.get(key), key)

    def _understood(self, read: Callable[[Raw], _T], raw: Raw | None, place: str) -> _T | None:
        if raw is None:
            return None
        try:
            return read(raw)
        except UnreadableError as error:
            self._problems.add(place, error.reason)
            return None

    def _text(self, key: str) -> str | None:
        return self._problems.text(self._value(key), key)

    def _date(self, key: str, *fallbacks: str) -> str | None:
        told = self._problems.text(self._time.get(key), f"time.{key}")
        for fallback in fallbacks:
            told = told or self._text(fallback)
        return told

    def _times(self) -> Iterator[tuple[str, str]]:
        for version, found in self._time.items():
            if version in _NOT_VERSIONS:
                continue
            if (told := self._problems.text(found, f"time.{version}")) is not None:
                yield version, told

    def _tags(self, found: _Members) -> Iterator[tuple[str, str]]:
        for tag, raw in found.items():
            version = self._understood(value, raw, f"dist-tags.{tag}")
            if isinstance(version, str):
                yield tag, version
            else:
                self._problems.add(f"dist-tags.{tag}", "not_a_string")

    def _maintainers(self) -> tuple[PersonFacts, ...]:
        found = self._value("maintainers")
        if isinstance(found, dict | str):
            found = [found]
        if not isinstance(found, list | None):
            self._problems.add("maintainers", "not_an_array")
            return ()
        people = (
            person(each, "maintainer", self._problems, place="maintainers") for each in found or ()
        )
        # Rows are keyed by name: of somebody listed twice the first entry counts.
        by_name: dict[str, PersonFacts] = {}
        for each in people:
            if each:
                by_name.setdefault(each.name, each)
        return tuple(by_name.values())

    def _unpublished(self) -> Unpublished | None:
        found = self._time.get("unpublished")
        if not found:
            return None
        if not isinstance(found, dict):
            self._problems.add("time.unpublished", "not_an_object")
            return Unpublished(found if isinstance(found, str) else None, ())
        versions = found.get("versions")
        if not isinstance(versions, list):
            versions = []
        return Unpublished(
            time=self._problems.text(found.get("time"), "time.unpublished.time"),
            versions=tuple(dict.fromkeys(v for v in versions if isinstance(v, str))),
        )


def _is_security_hold(versions: _Members) -> bool:
    if versions.keys() != {SECURITY_VERSION}:
        return False
    publisher = Manifest.parse(versions[SECURITY_VERSION], version=SECURITY_VERSION).publisher
    return publisher is not None and publisher.name == "npm"
