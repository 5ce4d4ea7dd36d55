"""The graph of a closure: what was asked for, what that requires, and which versions answer it."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from npmmirror.policy.requirements import Requirement

Version = tuple[str, str]
"""Package and version."""
Wish = tuple[str, str]
"""Package and spec."""
ALL = "(all versions)"
"""The spec of a root that asks for all versions; nothing that npm takes for a spec looks so."""


class Root(msgspec.Struct, frozen=True, gc=False):
    """Something asked for: a spec of a package, or all its versions (None).

    `by` tells people who asks: the command line, or a lock file. `integrity` is what a lock file
    says of the version; `optional` that it can do without.
    """

    package: str
    spec: str | None
    by: str
    integrity: str | None = None
    optional: bool = False


class Lack(msgspec.Struct, frozen=True, gc=False):
    """Something that the mirror does not have in the end; `optional`: nobody needs it to go on."""

    package: str
    spec: str
    reason: str
    required_by: tuple[str, ...]
    optional: bool


class LeftOut(msgspec.Struct, frozen=True, gc=False):
    """Something that is required from elsewhere than a registry: `what` tells from where."""

    name: str
    spec: str
    what: str
    required_by: tuple[str, ...]


class Graph:
    """Grows by answers; what is asked next is the level that nobody has asked for yet.

    A package is alive once anything but an optional peer requires it; optional peers of others
    that name it count from then on.
    """

    def __init__(self, roots: Iterable[Root]) -> None:
        self.roots = tuple(roots)
        self.picks: dict[Wish, tuple[str, ...]] = {}
        self.needs: dict[Version, tuple[Requirement, ...]] = {}
        self.versions: dict[str, set[str]] = {}
        """The versions found so far, by package."""
        self.reasons: dict[Wish | Version, str] = {}
        """Why a wish has no versions, or a version no tarball."""
        self.asked: set[Wish] = set()
        """All wishes so far, answered or not."""
        self._next: dict[str, list[str]] = {}
        self._alive: set[str] = set()
        self._dormant: dict[str, list[str]] = {}
        for root in self.roots:
            self._ask(*_wish(root))

    def level(self) -> dict[str, list[str]]:
        """Specs that were not asked for yet, by package; they count as asked for from now on."""
        found, self._next = self._next, {}
        return found

    def answer(self, package: str, picks: Mapping[str, Sequence[str]]) -> None:
        """The versions that answer specs of a package."""
        for spec, versions in picks.items():
            self.picks[package, spec] = tuple(versions)
            for version in versions:
                self.needs.setdefault((package, version), ())
            self.versions.setdefault(package, set()).update(versions)

    def fail(self, package: str, spec: str, reason: str) -> None:
        """Nothing answers a spec, or a version has no tarball."""
        self.reasons[package, spec] = reason

    def expand(self, package: str, version: str, required: Sequence[Requirement]) -> None:
        """What a version requires; said twice, both hold."""
        known = self.needs.get((package, version), ())
        self.needs[package, version] = tuple(dict.fromkeys((*known, *required)))
        for each in required:
            if each.elsewhere:
                continue
            if each.dormant and each.package not in self._alive:
                self._dormant.setdefault(each.package, []).append(each.spec)
            else:
                self._ask(each.package, each.spec)

    def _ask(self, package: str, spec: str) -> None:
        if (package, spec) not in self.asked:
            self.asked.add((package, spec))
            self._next.setdefault(package, []).append(spec)
        if package not in self._alive:
            self._alive.add(package)
            for woken in self._dormant.pop(package, ()):
                self._ask(package, woken)

    def required_by(self) -> dict[Version, list[str]]:
        """Who requires each version: those who asked, then `NAME@VERSION`s; each once."""
        found: dict[Version, dict[str, None]] = {version: {} for version in self.needs}
        for by, wish in self._edges():
            for version in self.picks.get(wish, ()):
                found[wish[0], version][by] = None
        return {version: list(names) for version, names in found.items()}

    def lacks(self) -> Iterator[Lack]:
        """What is not there, each with who requires it, in the order of names."""
        if not self.reasons:
            return
        needed, by_whom, wanting = self._needed(), self.required_by(), self._wanting()
        for key, reason in sorted(self.reasons.items()):
            if key not in self.needs and key not in self.asked:
                continue  # what only the policy brought along
            names = by_whom.get(key) or list(wanting.get(key, ()))
            yield Lack(key[0], key[1], reason, tuple(names), key not in needed)

    def left_out(self) -> Iterator[LeftOut]:
        """What is required from elsewhere, each with who requires it."""
        found: dict[tuple[str, str, str], dict[str, None]] = {}
        for (package, version), required in self.needs.items():
            for each in required:
                if each.elsewhere:
                    key = (each.package, each.spec, each.elsewhere)
                    found.setdefault(key, {})[f"{package}@{version}"] = None
        for key, names in found.items():
            yield LeftOut(*key, tuple(names))

    def _wanting(self) -> dict[Wish, dict[str, None]]:
        """Who wanted what nothing answers."""
        found: dict[Wish, dict[str, None]] = {}
        for by, wish in self._edges():
            if wish in self.reasons:
                found.setdefault(wish, {})[by] = None
        return found

    def _edges(self) -> Iterator[tuple[str, Wish]]:
        for root in self.roots:
            yield root.by, _wish(root)
        for (package, version), required in self.needs.items():
            for each in required:
                if not each.elsewhere:
                    yield f"{package}@{version}", (each.package, each.spec)

    def _needed(self) -> set[Wish | Version]:
        """The wishes and versions that no way through something optional leads around."""
        walked: set[Wish] = set()
        versions: set[Version] = set()
        waiting = deque(_wish(root) for root in self.roots if not root.optional)
        while waiting:
            wish = waiting.popleft()
            if wish in walked:
                continue
            walked.add(wish)
            for version in self.picks.get(wish, ()):
                versions.add((wish[0], version))
                waiting += (
                    (each.package, each.spec)
                    for each in self.needs.get((wish[0], version), ())
                    if not (each.elsewhere or each.optional)
                )
        return walked | versions


def _wish(root: Root) -> Wish:
    return root.package, ALL if root.spec is None else root.spec
