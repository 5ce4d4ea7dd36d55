"""One version's manifest, read tolerantly: what is not of npm's type is None and a problem."""

from collections.abc import ItemsView, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from npmmirror.effects import DependencyFacts, PersonFacts, VersionFacts
from npmmirror.jsontext import MAX_INTEGER, Raw, UnreadableError, value

_INSTALL_SCRIPTS = ("preinstall", "install", "postinstall")
_DEPENDENCY_KINDS = (
    "dependencies",
    "devDependencies",
    "peerDependencies",
    "optionalDependencies",
)
_MAX_PROBLEMS = 20
_MAX_PLACE = 120


class Problems:
    """What was not understood, as `place: word`; the first twenty, then one `...: more`."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}

    def add(self, place: str, word: str) -> None:
        """Remember that the value at `place` is not what npm would have written."""
        if len(self._found) < _MAX_PROBLEMS:
            self._found[f"{place[:_MAX_PLACE]}: {word}"] = None
        else:
            self._found["...: more"] = None

    def text(self, found: Any, place: str) -> str | None:
        """`found` if it is a string; None without a problem where there is nothing."""
        if found is None or isinstance(found, str):
            return found
        self.add(place, "not_a_string")
        return None

    def count(self, found: Any, place: str) -> int | None:
        """`found` if it is a whole number that an index can hold."""
        if found is None:
            return None
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= MAX_INTEGER:
            return found
        self.add(place, "not_a_count")
        return None

    def mapping(self, found: Any, place: str) -> Mapping[str, Any]:
        """`found` if it is an object, else an empty one."""
        if isinstance(found, dict):
            return found
        if found is not None:
            self.add(place, "not_an_object")
        return {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)


@dataclass(frozen=True, slots=True)
class Dist:
    """Where a version's tarball is and what upstream claims of it; None: not told.

    `attested`: it tells of attestations.
    """

    tarball: str | None = None
    shasum: str | None = None
    integrity: str | None = None
    file_count: int | None = None
    unpacked_size: int | None = None
    attested: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as far as it is understood. Strings are storable (see `npmmirror.jsontext`).

    `deprecated` is as npm takes it: None where the field is missing, empty, null or false; the
    message; or "true" where something else that JavaScript takes for true stands there.
    """

    version: str
    dist: Dist
    license: str | None
    author: PersonFacts | None
    publisher: PersonFacts | None
    deprecated: str | None
    has_install_script: bool
    problems: tuple[str, ...]
    body: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, raw: Raw, *, version: str) -> "Manifest":
        """Read a manifest; never raises. One that is no object is all None, and says so."""
        problems = Problems()
        try:
            found = value(raw)
            body = problems.mapping("null" if found is None else found, "manifest")
        except UnreadableError as error:
            problems.add("manifest", error.reason)
            body = {}
        return cls._of(body, version, problems)

    @classmethod
    def _of(cls, body: Mapping[str, Any], version: str, problems: Problems) -> "Manifest":
        return cls(
            version=version,
            dist=_dist(body.get("dist"), problems),
            license=_license(body, problems),
            author=person(body.get("author"), "author", problems, place="author"),
            publisher=person(body.get("_npmUser"), "publisher", problems, place="_npmUser"),
            deprecated=_deprecated(body.get("deprecated"), problems),
            has_install_script=_has_install_script(body, problems),
            problems=tuple(_checked(body, problems)),
            body=body,
        )

    def facts(self, *, digest: bytes, published_at: str | None) -> VersionFacts:
        """The version's row."""
        return VersionFacts(
            version=self.version,
            digest=digest,
            published_at=published_at,
            tarball=self.dist.tarball,
            shasum=self.dist.shasum,
            integrity=self.dist.integrity,
            file_count=self.dist.file_count,
            unpacked_size=self.dist.unpacked_size,
            license=self.license,
            publisher=self.publisher.name if self.publisher else None,
            deprecated=self.deprecated,
            has_install_script=self.has_install_script,
        )

    def dependencies(self) -> tuple[DependencyFacts, ...]:
        """What it depends on, kind by kind; requirements that are no strings left out."""
        return tuple(
            DependencyFacts(self.version, kind, name, requirement)
            for kind in _DEPENDENCY_KINDS
            for name, requirement in _members(self.body.get(kind))
            if isinstance(requirement, str)
        ) + tuple(
            DependencyFacts(self.version, "bundleDependencies", name, "")
            for name in _bundled(self.body)
        )


def person(found: Any, role: str, problems: Problems, *, place: str) -> PersonFacts | None:
    """Somebody given as `{name, email}` or as `name <email> (url)`; by the address if nameless."""
    name: str | None
    if isinstance(found, str):
        name, email = _name_and_address(found)
    elif isinstance(found, dict):
        name = problems.text(found.get("name"), f"{place}.name")
        email = problems.text(found.get("email"), f"{place}.email")
    elif found is None:
        return None
    else:
        problems.add(place, "not_a_person")
        return None
    if name or email:
        return PersonFacts(role=role, name=name or email or "", email=email)
    problems.add(place, "nameless")
    return None


def _name_and_address(text: str) -> tuple[str, str | None]:
    before, _, rest = text.partition("<")
    return before.partition("(")[0].strip(), rest.partition(">")[0].strip() or None


def _dist(found: Any, problems: Problems) -> Dist:
    if found is None:
        problems.add("dist", "missing")
        return Dist()
    told = problems.mapping(found, "dist")
    return Dist(
        tarball=problems.text(told.get("tarball"), "dist.tarball"),
        shasum=problems.text(told.get("shasum"), "dist.shasum"),
        integrity=problems.text(told.get("integrity"), "dist.integrity"),
        file_count=problems.count(told.get("fileCount"), "dist.fileCount"),
        unpacked_size=problems.count(told.get("unpackedSize"), "dist.unpackedSize"),
        attested=bool(told.get("attestations")),
    )


def _license(body: Mapping[str, Any], problems: Problems) -> str | None:
    found = body.get("license")
    if found is None:
        found = body.get("licenses")
    if isinstance(found, list):
        named = [name for entry in found if (name := _license_name(entry))]
        if not named:
            problems.add("license", "not_a_license")
            return None
        return named[0] if len(named) == 1 else f"({' OR '.join(named)})"
    name = _license_name(found)
    if name is None and found is not None:
        problems.add("license", "not_a_license")
    return name


def _license_name(found: Any) -> str | None:
    if isinstance(found, dict):
        found = found.get("type") or found.get("name")
    return found if isinstance(found, str) else None


def _deprecated(found: Any, problems: Problems) -> str | None:
    if isinstance(found, str):
        return found or None
    # JavaScript takes empty objects and arrays for true.
    if not found and not isinstance(found, dict | list):
        return None
    if found is not True:
        problems.add("deprecated", "not_a_string")
    return "true"


def _has_install_script(body: Mapping[str, Any], problems: Problems) -> bool:
    scripts = problems.mapping(body.get("scripts"), "scripts")
    return body.get("hasInstallScript") is True or any(map(scripts.get, _INSTALL_SCRIPTS))


def _checked(body: Mapping[str, Any], problems: Problems) -> Problems:
    for kind in _DEPENDENCY_KINDS:
        for name, requirement in problems.mapping(body.get(kind), kind).items():
            if not isinstance(requirement, str):
                problems.add(f"{kind}.{name}", "not_a_string")
    if not isinstance(_told_bundle(body), list | bool | None):
        problems.add("bundleDependencies", "not_an_array")
    return problems


def _members(found: Any) -> ItemsView[str, Any]:
    return found.items() if isinstance(found, dict) else {}.items()


def _told_bundle(body: Mapping[str, Any]) -> Any:
    found = body.get("bundleDependencies")
    return body.get("bundledDependencies") if found is None else found


def _bundled(body: Mapping[str, Any]) -> list[str]:
    found = _told_bundle(body)
    if found is True:  # npm: everything that the version depends on
        return [name for name, _ in _members(body.get("dependencies"))]
    if not isinstance(found, list):
        return []
    return list(dict.fromkeys(name for name in found if isinstance(name, str)))
