"""What a manifest requires: of the registry, or from elsewhere."""

from typing import Any

import pytest

from npmmirror.policy.requirements import Requirement, is_name, requirement, requirements


@pytest.mark.parametrize(
    ("spec", "package", "asked"),
    [
        ("^1.0.0", "a", "^1.0.0"),
        ("", "a", "*"),
        ("  ", "a", "*"),
        (" >=1  <2 ", "a", ">=1 <2"),
        ("next", "a", "next"),
        ("1.x || >=2.5.0 || 5.0.0 - 7.2.3", "a", "1.x || >=2.5.0 || 5.0.0 - 7.2.3"),
        ("npm:b@^2", "b", "^2"),
        ("npm:@s/b@~1.2", "@s/b", "~1.2"),
        ("npm:b", "b", "*"),
        ("NPM:b@1", "b", "1"),
    ],
)
def test_what_is_asked_of_the_registry(spec: str, package: str, asked: str) -> None:
    """Versions, ranges, tags, and aliases by what is behind them."""
    assert requirement("a", spec) == Requirement(package, asked)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("git+ssh://git@code.example/a/b.git", "git"),
        ("git://code.example/a/b.git#v1", "git"),
        ("github:a/b", "git"),
        ("a/b", "git"),
        ("a/b#semver:^1", "git"),
        ("git@code.example:a/b.git", "git"),
        ("https://files.example/b.tgz", "url"),
        ("http://files.example/b", "url"),
        ("file:../b", "file"),
        ("./b", "file"),
        ("~/b", "file"),
        ("/b", "file"),
        ("b.tgz", "file"),
        ("a/b/c", "file"),
        ("workspace:*", "workspace"),
        ("link:../b", "link"),
        ("portal:../b", "portal"),
        ("patch:b@1#x", "patch"),
        ("catalog:", "catalog"),
        ("jsr:@s/b@1", "jsr"),
        ("exec:./x", "exec"),
        ("gopher:x", "protocol"),
        ("npm:c@npm:b@1", "nested_alias"),
        ("npm:../../b@1", "invalid_name"),
        ("a tag!?", "invalid_tag"),
    ],
)
def test_what_is_elsewhere(spec: str, what: str) -> None:
    """Each by a word, and as it was written."""
    found = requirement("a", spec)
    assert found == Requirement("a", spec, what)


def test_names_that_lead_out_are_no_names() -> None:
    """None is asked of a registry."""
    for name in (
        "",
        ".",
        "..",
        "../a",
        "_a",
        "-a",
        "@s/",
        "@/a",
        "@s/.a",
        "a b",
        "a/b",
        "node_modules",
    ):
        assert not is_name(name)
        assert requirement(name, "^1").elsewhere == "invalid_name"
    for name in ("a", "@s/a", "JSONStream", "a.b", "@s/-", "a_b~!"):
        assert is_name(name)


BODY: dict[str, Any] = {
    "dependencies": {"a": "^1", "both": "^1", "packed": "^1", "odd": 7},
    "optionalDependencies": {"both": "^2", "o": "^1"},
    "peerDependencies": {"p": "^1", "maybe": "^3"},
    "peerDependenciesMeta": {"maybe": {"optional": True}, "nowhere": {"optional": True}},
    "devDependencies": {"d": "^1"},
    "bundledDependencies": ["packed"],
}


def test_an_installed_package_needs() -> None:
    """Optional ones go before others of that name; bundled and development ones are not needed."""
    assert set(requirements(BODY)) == {
        Requirement("a", "^1"),
        Requirement("both", "^2", optional=True),
        Requirement("o", "^1", optional=True),
        Requirement("p", "^1"),
        Requirement("maybe", "^3", optional=True, dormant=True),
    }


def test_a_project_needs_more() -> None:
    """What it is developed with, and what it bundles."""
    more = set(requirements(BODY, developed=True)) - set(requirements(BODY))
    assert more == {Requirement("d", "^1"), Requirement("packed", "^1")}


@pytest.mark.parametrize("told", [True, ["a", "both", "packed", 3]])
def test_everything_may_be_bundled(told: object) -> None:
    """`true` means all of `dependencies`."""
    body = {"dependencies": {"a": "1", "both": "1", "packed": "1"}, "bundleDependencies": told}
    assert requirements(body) == ()


@pytest.mark.parametrize("nonsense", [None, [], "a", 3, {"a": None}, {"a": {}}])
def test_nonsense_requires_nothing(nonsense: object) -> None:
    """As npm's oldest documents have it."""
    kinds = ("dependencies", "optionalDependencies", "peerDependencies", "devDependencies")
    assert requirements(dict.fromkeys(kinds, nonsense), developed=True) == ()
