"""What the policy says of packages and versions: pure, and the same in whatever order they come."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from npmmirror.config import PolicySection
from npmmirror.patterns import Pattern
from npmmirror.policy import (
    Candidate,
    Drop,
    Keep,
    Policy,
    Settings,
    is_prerelease,
    judged,
)
from npmmirror.policy.configured import lists_of, policy_of
from npmmirror.policy.retention import surplus

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


def at(day: int | None) -> str | None:
    """A time of publishing, in npm's spelling."""
    return None if day is None else (EPOCH + timedelta(days=day)).isoformat().replace("+00:00", "Z")


def policy(names: dict[str, frozenset[str]] | None = None, **keys: Any) -> Policy:
    """The policy of these keys."""
    return policy_of(PolicySection.model_validate(keys), names)


@st.composite
def histories(draw: st.DrawFn) -> list[Candidate]:
    """Versions of a package, with times that may be equal or missing."""
    numbers = draw(st.lists(st.integers(0, 30), min_size=1, max_size=12, unique=True))
    return [
        Candidate(
            f"1.{number}.0" + draw(st.sampled_from(["", "-rc.1"])),
            at(draw(st.one_of(st.none(), st.integers(0, 5)))),
            draw(st.one_of(st.none(), st.integers(0, 20))),
        )
        for number in numbers
    ]


SETTINGS = st.builds(
    Settings,
    keep_versions=st.integers(0, 4),
    prereleases=st.booleans(),
    published_since=st.sampled_from([None, "2024-01-03"]),
    max_tarball_bytes=st.sampled_from([None, 10]),
)


def kept(settings: Settings, candidates: Sequence[Candidate], latest: str | None) -> set[str]:
    """The versions that stay."""
    verdicts = judged(settings, candidates, latest)
    return {version for version, verdict in verdicts.items() if isinstance(verdict, Keep)}


@given(histories(), SETTINGS, st.randoms())
def test_the_order_in_which_versions_are_told_does_not_matter(
    versions: list[Candidate], settings: Settings, random: Any
) -> None:
    """Each has the same verdict, its rule included."""
    latest = random.choice(versions).version
    shuffled = random.sample(versions, len(versions))
    assert judged(settings, versions, latest) == judged(settings, shuffled, latest)


@given(histories(), SETTINGS, st.randoms())
def test_the_order_in_which_versions_arrive_does_not_matter(
    versions: list[Candidate], settings: Settings, random: Any
) -> None:
    """Applied after each arrival, what stays is what stays of all at once."""
    latest = random.choice(versions).version
    held: list[Candidate] = []
    for one in random.sample(versions, len(versions)):
        held.append(one)
        staying = kept(settings, held, latest)
        held = [each for each in held if each.version in staying]
    assert {one.version for one in held} == kept(settings, versions, latest)


@given(histories(), SETTINGS)
def test_what_stays_stays(versions: list[Candidate], settings: Settings) -> None:
    """A second application drops nothing."""
    latest = versions[0].version
    staying = kept(settings, versions, latest)
    again = [one for one in versions if one.version in staying]
    assert kept(settings, again, latest) == staying


@given(histories(), st.integers(1, 4))
def test_the_newest_are_kept_and_latest_beside_them(versions: list[Candidate], number: int) -> None:
    """No version that stays is older than one that goes, but for the tag latest."""
    latest = versions[0].version
    staying = kept(Settings(keep_versions=number), versions, latest)
    assert latest in staying
    assert len(staying) in {min(number, len(versions)), min(number + 1, len(versions))}
    told = {one.version: one.published_at or "" for one in versions}
    going = told.keys() - staying
    assert all(told[old] <= told[new] for old in going for new in staying - {latest})


@given(
    histories(),
    SETTINGS,
    st.sampled_from(["unpublished", "removed", "security_hold", "", "erased"]),
)
def test_nothing_of_a_package_that_is_gone_upstream_is_dropped(
    versions: list[Candidate], settings: Settings, state: str
) -> None:
    """Whatever the policy says, be it that the whole package is denied."""
    denied = replace(policy(deny=["*"]), settings_of_all=settings)
    assert surplus(denied, "left-pad", state, versions, None) == {}


@given(histories())
def test_all_of_a_denied_package_is_dropped(versions: list[Candidate]) -> None:
    """The tag latest included."""
    drops = surplus(policy(deny=["left-*"]), "left-pad", "live", versions, versions[0].version)
    assert drops == {one.version: Drop("policy.deny", '"left-*"') for one in versions}


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("left-pad", ["left-pad"], ["left-pad2", "@x/left-pad", "Left-Pad"]),
        ("*-loader", ["css-loader", "@x/y-loader"], ["loader", "css-loader2"]),
        ("@babel", ["@babel/core"], ["@babel2/core", "babel", "@babel"]),
        ("@babel/*", ["@babel/core"], ["@babel2/core"]),
        ("/^react(-|$)/", ["react", "react-dom"], ["preact", "reactive"]),
        ("/dom/", ["react-dom", "dom-x"], ["react"]),
        ("[ab]?c", ["abc", "bxc"], ["cbc", "ac"]),
        ("file:few", ["one", "@two/three"], ["two"]),
    ],
)
def test_patterns(pattern: str, matching: list[str], others: list[str]) -> None:
    """A name, a glob, a scope, a regular expression, a file of names."""
    read = Pattern.parse(pattern, {"few": frozenset({"one", "@two/three"})})
    assert [name for name in matching if not read.matches(name)] == []
    assert [name for name in others if read.matches(name)] == []


def test_deny_goes_before_allow() -> None:
    """And whoever is in neither is not wanted where something is allowed."""
    both = policy(allow=["@babel"], deny=["@babel/old-*"])
    assert both.package("@babel/core") == Keep('policy.allow: "@babel"')
    assert both.package("@babel/old-core") == Drop("policy.deny", '"@babel/old-*"')
    assert isinstance(both.package("react"), Drop)
    assert policy().package("react") == Keep("policy.allow")


def test_of_each_setting_the_first_rule_that_has_it_decides() -> None:
    """What no rule sets is as in the section itself, and each tells who decided."""
    rules = [
        {"match": "@babel/core", "keep_versions": 5},
        {"match": "react", "tarballs": "none"},
        {"match": ["@babel", "react"], "keep_versions": 2, "tarballs": "all"},
    ]
    of_core = policy(rule=rules, prereleases=False).settings("@babel/core")
    assert (of_core.keep_versions, of_core.tarballs, of_core.prereleases) == (5, "all", False)
    assert of_core.rule("keep_versions") == 'policy.rule 1 ("@babel/core")'
    assert of_core.rule("tarballs") == 'policy.rule 3 ("@babel", …)'
    assert of_core.rule("prereleases") == "policy.prereleases"
    assert policy(rule=rules).settings("vue") == policy().settings("vue")


def test_a_rule_may_set_a_key_back() -> None:
    """`false` and 0 are settings, too."""
    rules = [{"match": "react", "keep_versions": 0, "prereleases": False}]
    of_react = policy(keep_versions=3, rule=rules).settings("react")
    assert (of_react.keep_versions, of_react.prereleases) == (0, False)


@pytest.mark.parametrize(
    ("settings", "one", "rule"),
    [
        (Settings(prereleases=False), Candidate("2.0.0-rc.1"), "policy.prereleases"),
        (
            Settings(published_since="2024-01-03"),
            Candidate("1.0.0", at(1)),
            "policy.published_since",
        ),
        (
            Settings(published_since="2024-01-03T00:00:00+02:00"),
            Candidate("1.0.0", "2024-01-02T21:59:59Z"),
            "policy.published_since",
        ),
        (Settings(max_tarball_bytes=10), Candidate("1.0.0", size=11), "policy.max_tarball_bytes"),
    ],
)
def test_why_a_version_is_dropped(settings: Settings, one: Candidate, rule: str) -> None:
    """The key that says so."""
    verdict = judged(settings, [one], one.version)[one.version]
    assert isinstance(verdict, Drop)
    assert verdict.rule == rule


def test_a_version_whose_time_nobody_tells_counts_as_new() -> None:
    """For `published_since`; among the newest ones it is the oldest."""
    unknown, known = Candidate("2.0.0"), Candidate("1.0.0", at(3))
    assert kept(Settings(published_since="2024-01-03"), [unknown, known], None) == {
        "2.0.0",
        "1.0.0",
    }
    assert kept(Settings(keep_versions=1), [unknown, known], None) == {"1.0.0"}


@pytest.mark.parametrize(
    ("version", "answer"),
    [
        ("1.0.0", False),
        ("1.0.0-rc.1", True),
        ("1.0.0+build-5", False),
        ("1.0.0-0+build", True),
        ("v1.0.0-beta", True),
        ("1.0.0beta", True),
        ("next-thing", False),
        ("1.2-3", False),
    ],
)
def test_prereleases(version: str, answer: bool) -> None:
    """As npm's semver reads versions, loosely."""
    assert is_prerelease(version) is answer


def test_the_digest_tells_policies_apart() -> None:
    """Also where only the names in a list are others; not where nothing else than names differs."""
    section = PolicySection.model_validate({"allow": ["file:few"]})
    one = policy_of(section, {"few": frozenset({"a", "b"})})
    assert lists_of(section) == {"few": "policy.allow"}
    assert one.digest == policy_of(section, {"few": frozenset({"b", "a"})}).digest
    assert one.digest != policy_of(section, {"few": frozenset({"a"})}).digest
    assert policy().digest != policy(keep_versions=1).digest
    assert policy().digest == policy(confirm_removal_answers=5).digest
