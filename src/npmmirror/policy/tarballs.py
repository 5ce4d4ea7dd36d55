"""Which tarballs to fetch now, and in what order."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from npmmirror.diff import first_sight
from npmmirror.effects import Effects, Known
from npmmirror.packument import Packument, instant
from npmmirror.policy.selection import Candidate, Drop, Keep, Settings, TarballPolicy, judged
from npmmirror.policy.specs import resolve

_OURS = frozenset({"held", "unverifiable"})


@dataclass(frozen=True, slots=True)
class Want:
    """What a person asked for beyond the policy: versions, dist-tags, ranges, or everything."""

    specs: tuple[str, ...] = ()
    all_versions: bool = False

    def __bool__(self) -> bool:
        """Whether anything was asked for."""
        return bool(self.specs or self.all_versions)

    def to_json(self) -> str:
        """As text for a row or a request."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Want":
        """What `to_json` wrote; nothing for an empty text.

        Raises:
            ValueError: it is something else.
        """
        told = json.loads(text) if text else {}
        try:
            return cls(tuple(map(str, told.get("specs", ()))), bool(told.get("all_versions")))
        except (AttributeError, TypeError) as error:
            raise ValueError(f"not a want: {text[:80]!r}") from error


def wanted_tarballs(
    document: Packument,
    effects: Effects,
    known: Known | None,
    settings: Settings,
    want: Want,
    *,
    force: bool = False,
) -> tuple[str, ...]:
    """The versions of the document whose tarballs to fetch now, most wanted first.

    What a person asked for comes first, then `latest`, then the newest. A version whose tarball is
    held is left out. So is one that was dropped from the mirror, by another than the policy and
    unless a person asks for it; and one that the settings drop, unless that person has the `force`.
    """
    kept = _kept(document, settings)
    asked = dict.fromkeys(v for v in _asked(document, want) if force or kept is None or v in kept)
    by_policy = (
        version
        for version in _by_policy(document, effects, known, settings.tarballs)
        if not _dropped(known, version) and (kept is None or version in kept)
    )
    wanted = dict.fromkeys([*asked, *by_policy])
    latest = document.tags.get("latest")
    missing = [v for v in wanted if v in document.versions and _state(known, v) not in _OURS]
    if len(missing) < 2:
        return tuple(missing)
    newest_first = {version: rank for rank, version in enumerate(_newest_first(document, missing))}
    return tuple(sorted(missing, key=lambda v: (v not in asked, v != latest, newest_first[v])))


def refused_tarballs(
    document: Packument, known: Known | None, settings: Settings, want: Want
) -> dict[str, Drop]:
    """The versions that a person asks for, that are not held, and that the settings drop."""
    if not settings.filters:
        return {}
    verdicts = _verdicts(document, settings)
    return {
        version: verdict
        for version in _asked(document, want)
        if isinstance(verdict := verdicts.get(version), Drop)
        and _state(known, version) not in _OURS
    }


def _kept(document: Packument, settings: Settings) -> set[str] | None:
    """The versions that the settings keep; None: all of them."""
    if not settings.filters:
        return None
    verdicts = _verdicts(document, settings)
    return {version for version, verdict in verdicts.items() if isinstance(verdict, Keep)}


def _verdicts(document: Packument, settings: Settings) -> dict[str, Keep | Drop]:
    candidates = (Candidate(version, document.times.get(version)) for version in document.versions)
    return judged(settings, candidates, document.tags.get("latest"))


def _asked(document: Packument, want: Want) -> Iterator[str]:
    for spec in want.specs:
        yield from resolve(spec, document)
    if want.all_versions:
        yield from document.versions


def _by_policy(
    document: Packument, effects: Effects, known: Known | None, mode: TarballPolicy
) -> Iterable[str]:
    match mode:
        case "none":
            return ()
        case "latest":
            return _latest(document)
        case "new":
            return (*(_latest(document) if first_sight(known) else ()), *effects.fresh)
        case "all":
            return document.versions


def _latest(document: Packument) -> tuple[str, ...]:
    tagged = document.tags.get("latest")
    if tagged is not None and tagged in document.versions:
        return (tagged,)
    # A package without the tag, or whose tag names nothing, still has a version that npm installs.
    return resolve(None, document)


def _newest_first(document: Packument, versions: list[str]) -> list[str]:
    places = {version: place for place, version in enumerate(document.versions)}

    def age(version: str) -> tuple[float, int]:
        published = instant(document.times.get(version))
        return (-published.timestamp() if published else float("inf"), -places[version])

    return sorted(versions, key=age)


def _state(known: Known | None, version: str) -> str:
    held = known.versions.get(version) if known else None
    return held.state if held else ""


def _dropped(known: Known | None, version: str) -> bool:
    return _state(known, version) == "dropped"
