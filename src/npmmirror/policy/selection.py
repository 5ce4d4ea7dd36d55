"""What the operator wants to have: of packages, and of the versions of a package.

Everything here is a pure function of the policy and of what upstream says, so that the reason of
each decision can be told at any time and need not be kept.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from npmmirror.packument import instant
from npmmirror.patterns import Pattern, first_match

TarballPolicy = Literal["none", "latest", "new", "all"]
"""`policy.tarballs`: `new` is `latest` at first sight and every version published since."""

POLICY: Final = "policy"
"""The reason of what the policy skips, and of files that it had dropped."""
OUTSIZED: Final = "packument_too_large"
"""The reason of packages that it skips for the size of their document."""
TARBALL_LIMIT: Final = "policy.max_tarball_bytes"
"""The key that says which tarballs are too large; it is the same for all packages."""
_RELEASE: Final = re.compile(r"[=v\s]*[0-9]+\.[0-9]+\.[0-9]+([^+]*)")
_NUMBER: Final = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Keep:
    """Wanted. `rule` is the key or rule that decides."""

    rule: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Not wanted. `rule` is the key or rule that decides, `why` says it in a few words."""

    rule: str
    why: str

    @property
    def detail(self) -> str:
        """Both in one line, for records and messages."""
        return f"{self.rule}: {self.why}"


Verdict = Keep | Drop


class Settings(msgspec.Struct, frozen=True, array_like=True):
    """What holds for the versions of one package; `rules` tells by which rule, where one decides."""

    tarballs: TarballPolicy = "new"
    keep_versions: int = 0
    prereleases: bool = True
    published_since: str | None = None
    max_tarball_bytes: int | None = None
    max_packument_bytes: int = 0
    rules: dict[str, str] = {}

    def rule(self, key: str) -> str:
        """Which key or rule decides about a setting."""
        return self.rules.get(key, f"policy.{key}")

    @property
    def filters(self) -> bool:
        """Whether a version may be dropped for its name, its age, or its place among the others."""
        return bool(self.keep_versions or self.published_since) or not self.prereleases


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version to be judged. `published_at` in upstream's spelling, `size` of its file in bytes."""

    version: str
    published_at: str | None = None
    size: int | None = None


def outsized(settings: Settings, length: int | None) -> Drop | None:
    """Why a package whose document is so long is not wanted; None where that is no reason.

    `length` is in bytes, decompressed; None: more than is allowed, nobody looked how much.
    """
    most = settings.max_packument_bytes
    if not most or (length is not None and length <= most):
        return None
    more = (
        f"more than {most:,} bytes" if length is None else f"{length:,} bytes, more than {most:,}"
    )
    return Drop(settings.rule("max_packument_bytes"), f"its document has {more}")


@dataclass(frozen=True, slots=True)
class SelectionRule:
    """Settings for the packages that a pattern matches; those that are None it leaves alone."""

    label: str
    patterns: tuple[Pattern, ...]
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole policy, read and ready.

    `deny` goes before `allow`. Of each setting the first rule that matches the package and has the
    setting decides, else `settings`. `digest` tells two policies apart, their files' names included.
    """

    settings_of_all: Settings = field(default_factory=Settings)
    allow: tuple[Pattern, ...] = ()
    deny: tuple[Pattern, ...] = ()
    rules: tuple[SelectionRule, ...] = ()
    digest: str = ""

    def package(self, name: str) -> Verdict:
        """Whether a package is wanted at all."""
        if (pattern := first_match(self.deny, name)) is not None:
            return Drop("policy.deny", _quoted(pattern.text))
        if not self.allow:
            return Keep("policy.allow")
        if (pattern := first_match(self.allow, name)) is not None:
            return Keep(f"policy.allow: {_quoted(pattern.text)}")
        return Drop("policy.allow", "none of its patterns matches the name")

    def settings(self, name: str) -> Settings:
        """What holds for a package's versions."""
        found: dict[str, Any] = {}
        labels: dict[str, str] = {}
        for rule in self.rules:
            if rule.settings.keys() <= found.keys() or first_match(rule.patterns, name) is None:
                continue
            for key, value in rule.settings.items():
                if key not in found:
                    found[key], labels[key] = value, rule.label
        if not found:
            return self.settings_of_all
        return msgspec.structs.replace(self.settings_of_all, **found, rules=labels)


def judged(
    settings: Settings, candidates: Iterable[Candidate], latest: str | None
) -> dict[str, Verdict]:
    """Which of a package's versions are wanted, by their names, ages, sizes and numbers.

    `keep_versions` counts among those that nothing else drops, newest first by their time of
    publishing (one without a time is the oldest); the version that `latest` names is kept beside
    them. What `tarballs` says is no part of it: that is what is fetched without being asked for.
    """
    found = {one.version: (one, _alone(settings, one)) for one in candidates}
    verdicts = {version: verdict for version, (_, verdict) in found.items()}
    if settings.keep_versions:
        passing = [one for one, verdict in found.values() if isinstance(verdict, Keep)]
        verdicts |= _newest(settings, passing, latest)
    return verdicts


def _newest(
    settings: Settings, passing: Sequence[Candidate], latest: str | None
) -> dict[str, Verdict]:
    number, rule = settings.keep_versions, settings.rule("keep_versions")
    ordered = sorted(passing, key=age, reverse=True)
    verdicts: dict[str, Verdict] = {one.version: Keep(rule) for one in ordered[:number]}
    for one in ordered[number:]:
        if one.version == latest:
            verdicts[one.version] = Keep("dist-tag latest")
        else:
            verdicts[one.version] = Drop(rule, f"not among the newest {number}")
    return verdicts


def age(one: Candidate) -> tuple[float, tuple[int, ...], str]:
    """What sorts versions from the oldest to the newest, whatever order they come in."""
    published = instant(one.published_at)
    at = published.timestamp() if published else float("-inf")
    return at, tuple(map(int, _NUMBER.findall(one.version[:256]))), one.version


def _alone(settings: Settings, one: Candidate) -> Verdict:
    """What is to be said of a version without regard to the others."""
    if not settings.prereleases and is_prerelease(one.version):
        return Drop(settings.rule("prereleases"), "it is a prerelease")
    since = instant(settings.published_since)
    published = instant(one.published_at)
    if since is not None and published is not None and published < since:
        return Drop(
            settings.rule("published_since"), f"published before {settings.published_since}"
        )
    most = settings.max_tarball_bytes
    if most is not None and one.size is not None and one.size > most:
        return Drop(settings.rule("max_tarball_bytes"), f"{one.size:,} bytes, more than {most:,}")
    return Keep("policy")


def is_prerelease(version: str) -> bool:
    """Whether npm takes a version for a prerelease; what is no version of semver is none."""
    release = _RELEASE.match(version)
    return release is not None and bool(release[1].strip())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
