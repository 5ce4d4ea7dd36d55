"""Every version that some client would pick for a spec: npm on any Node, pnpm, Yarn.

Source: npm-pick-manifest. npm prefers versions whose `engines` allow the Node and npm that it runs
on, and that are not deprecated; `latest` goes before higher ones. pnpm does not look at engines,
Yarn 1 does not look at deprecations either.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import msgspec
import nodesemver

from npmmirror.jsontext import Raw
from npmmirror.packument import Packument
from npmmirror.policy.requirements import ANY
from npmmirror.policy.semver import higher_first, range_of, version_of
from npmmirror.policy.specs import resolve

OLDEST_NODE = "20.0.0"
"""Where nobody says what the clients run on: this Node and every later one."""
OLDEST_NPM = "10.0.0"

_NUMBERS = re.compile(r"(\d{1,9})(?:[.](\d{1,9}))?(?:[.](\d{1,9}))?")
_MOST_POINTS = 400
"""Boundaries that are looked at; a document of nonsense has thousands."""


class _Told(msgspec.Struct, gc=False):
    deprecated: Any = None
    engines: Any = None


_decode = msgspec.json.Decoder(_Told).decode


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A version as npm weighs it; an engine of None allows everything."""

    version: str
    deprecated: bool
    node: str | None
    npm: str | None

    @property
    def is_free(self) -> bool:
        """Whether every client takes it, if no better one comes before it."""
        return not self.deprecated and self.node is None and self.npm is None

    def runs_on(self, point: tuple[str, str]) -> bool:
        """Whether Node and npm of these versions are allowed."""
        return _allows(self.node, point[0]) and _allows(self.npm, point[1])


class Picking:
    """The versions of a document, to be picked from.

    `nodes` are the versions of Node that the clients run on; with none, all from `OLDEST_NODE` on.
    """

    def __init__(self, document: Packument, nodes: Sequence[str] = ()) -> None:
        self._document = document
        self._nodes = tuple(nodes)
        self._candidates: dict[str, _Candidate] = {}
        parsed = ((found, text) for text in document.versions if (found := version_of(text)))
        self._sorted = sorted(parsed, key=higher_first)

    def picks(self, spec: str) -> tuple[str, ...]:
        """The versions that clients would pick; the first is npm's where no engine matters."""
        wanted = " ".join(spec.split()) or ANY
        allowed = range_of(wanted) if version_of(wanted) is None else None
        if allowed is None or (
            wanted in self._document.versions and wanted not in self._document.tags
        ):
            return resolve(wanted, self._document)
        matching = [version for parsed, version in self._sorted if allowed.test(parsed)]
        latest = self._latest(matching, is_any=wanted == ANY)
        return tuple(dict.fromkeys(self._of_range(matching, latest)))

    def _latest(self, matching: list[str], *, is_any: bool) -> str | None:
        latest = self._document.tags.get("latest")
        if latest not in self._document.versions:
            return None
        # npm lets a bare `*` take `latest` even where that is a prerelease.
        return latest if is_any or latest in matching else None

    def _of_range(self, matching: list[str], latest: str | None) -> Iterator[str]:
        first = [] if latest is None else [latest]
        order = [self._candidate(v) for v in dict.fromkeys([*first, *matching])]
        if not order:
            return
        if order[0].is_free:  # by far the most frequent case
            yield order[0].version
            return
        weighed = [self._candidate(v) for v in matching]
        yield _best(order, weighed, lambda _: True)
        yield order[0].version
        for point in self._points(order):
            yield _best(order, weighed, lambda one, at=point: one.runs_on(at))  # type: ignore[misc]  # mypy knows no default of a lambda

    def _points(self, order: Sequence[_Candidate]) -> Iterable[tuple[str, str]]:
        """Pairs of Node and npm, one for each stretch of versions on which nothing changes."""
        looked_at: list[_Candidate] = []
        for each in order:
            looked_at.append(each)
            if each.is_free:
                break  # nobody passes it
        nodes = self._nodes or tuple(_boundaries(OLDEST_NODE, (one.node for one in looked_at)))
        return product(nodes, _boundaries(OLDEST_NPM, (one.npm for one in looked_at)))

    def _candidate(self, version: str) -> _Candidate:
        known = self._candidates.get(version)
        if known is None:
            known = _candidate(self._document, version)
            self._candidates[version] = known
        return known


def _best(
    order: Sequence[_Candidate],
    matching: Sequence[_Candidate],
    runs: Callable[[_Candidate], bool],
) -> str:
    """`latest` first where it is wholly right; else by npm's order of what matters."""
    for each in order:
        if not each.deprecated and runs(each):
            return each.version
    rest = matching or order
    chosen = next((one for one in rest if runs(one)), None)
    chosen = chosen or next((one for one in rest if not one.deprecated), rest[0])
    return chosen.version


def _candidate(document: Packument, version: str) -> _Candidate:
    told = _told(document.versions[version], document, version)
    engines = told.engines if isinstance(told.engines, dict) else {}
    deprecated = told.deprecated is not None and told.deprecated not in ("", False, 0)
    return _Candidate(version, deprecated, _engine(engines, "node"), _engine(engines, "npm"))


def _told(raw: Raw, document: Packument, version: str) -> _Told:
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = document.manifest(version).body
        return _Told(body.get("deprecated"), body.get("engines"))


def _engine(engines: dict[str, Any], name: str) -> str | None:
    told = engines.get(name)
    if not told or told == ANY:
        return None
    return told if isinstance(told, str) else "no range"


def _allows(engine: str | None, version: str) -> bool:
    return engine is None or _allowed(" ".join(engine.split()), version)


@lru_cache(maxsize=8192)
def _allowed(engine: str, version: str) -> bool:
    allowed = _engine_range(engine)
    return allowed is not None and bool(allowed.test(nodesemver.make_semver(version, True)))


@lru_cache(maxsize=1024)
def _engine_range(engine: str) -> Any:
    return range_of(engine)


def _boundaries(oldest: str, engines: Iterable[str | None]) -> list[str]:
    """The oldest, and every later version at which one of these ranges may begin or end."""
    floor = tuple(map(int, oldest.split(".")))
    found: set[tuple[int, ...]] = {floor}
    for engine in set(engines):
        for major, minor, patch in _NUMBERS.findall(engine or ""):
            told = (int(major), int(minor or 0), int(patch or 0))
            found |= {
                told,
                (told[0] + 1, 0, 0),
                (told[0], told[1] + 1, 0),
                (told[0], told[1], told[2] + 1),
            }
    later = sorted(point for point in found if point >= floor)
    return [".".join(map(str, point)) for point in later[:_MOST_POINTS]]
