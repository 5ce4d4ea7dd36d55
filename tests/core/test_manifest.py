"""A manifest's facts, whatever types they come in."""

import json
from typing import Any

import pytest

from npmmirror.effects import DependencyFacts, PersonFacts
from npmmirror.jsontext import Raw
from npmmirror.manifest import Dist, Manifest


def read(body: Any) -> Manifest:
    """A manifest of version 1.0.0."""
    return Manifest.parse(Raw(json.dumps(body).encode()), version="1.0.0")


def test_facts_are_npms_fields() -> None:
    """What npm publishes arrives in the row, without a problem."""
    dist = {
        "tarball": "https://registry.example/a.tgz",
        "shasum": "0" * 40,
        "integrity": "sha512-x",
        "fileCount": 3,
        "unpackedSize": 4000,
    }
    found = read(
        {
            "dist": dist,
            "license": "MIT",
            "_npmUser": {"name": "alice", "email": "a@people.example"},
            "author": "Bob <b@people.example> (https://bob.example)",
            "deprecated": "use another",
            "scripts": {"postinstall": "node x.js"},
        }
    )
    facts = found.facts(digest=b"d", published_at="2020")
    assert found.dist == Dist("https://registry.example/a.tgz", "0" * 40, "sha512-x", 3, 4000)
    assert (facts.tarball, facts.integrity) == (dist["tarball"], dist["integrity"])
    assert (facts.license, facts.publisher, facts.deprecated) == ("MIT", "alice", "use another")
    assert facts.has_install_script
    assert found.author == PersonFacts("author", "Bob", "b@people.example")
    assert found.problems == ()


@pytest.mark.parametrize(
    ("found", "understood"),
    [
        (None, None),
        ("", None),
        (False, None),
        (0, None),
        ("gone", "gone"),
        (True, "true"),
        (1, "true"),
        ([], "true"),
        ({}, "true"),
    ],
)
def test_deprecated_is_what_javascript_takes_for_true(found: Any, understood: str | None) -> None:
    """That is all that npm asks."""
    assert read({"deprecated": found}).deprecated == understood


@pytest.mark.parametrize(
    ("keys", "understood"),
    [
        ({"license": {"type": "BSD", "url": "x"}}, "BSD"),
        ({"licenses": [{"type": "MIT"}]}, "MIT"),
        ({"licenses": ["MIT", {"type": "ISC"}]}, "(MIT OR ISC)"),
        ({"license": ["MIT", "ISC"]}, "(MIT OR ISC)"),
        ({"license": 5}, None),
        ({"license": []}, None),
        ({}, None),
    ],
)
def test_licenses_of_all_times(keys: dict[str, Any], understood: str | None) -> None:
    """The field had several forms."""
    assert read(keys).license == understood


@pytest.mark.parametrize(
    ("keys", "has"),
    [
        ({"scripts": {"install": "make"}}, True),
        ({"scripts": {"preinstall": "make"}}, True),
        ({"scripts": {"test": "make", "install": ""}}, False),
        ({"scripts": ["install"]}, False),
        ({"hasInstallScript": True}, True),
        ({"hasInstallScript": "yes"}, False),
    ],
)
def test_install_scripts(keys: dict[str, Any], has: bool) -> None:
    """Scripts that run at installation, or the abbreviated form's word for them."""
    assert read(keys).has_install_script is has


def test_dependencies_kind_by_kind() -> None:
    """Every kind is read; a bundle lists names."""
    found = read(
        {
            "dependencies": {"a": "^1", "b": ""},
            "devDependencies": {"c": "*"},
            "peerDependencies": {"d": ">=1"},
            "optionalDependencies": {"e": "1.x"},
            "bundledDependencies": ["a", "a", 5],
        }
    )
    assert [(each.kind, each.name, each.requirement) for each in found.dependencies()] == [
        ("dependencies", "a", "^1"),
        ("dependencies", "b", ""),
        ("devDependencies", "c", "*"),
        ("peerDependencies", "d", ">=1"),
        ("optionalDependencies", "e", "1.x"),
        ("bundleDependencies", "a", ""),
    ]


def test_bundling_everything() -> None:
    """`true` bundles all dependencies."""
    found = read({"dependencies": {"a": "1"}, "bundleDependencies": True})
    assert DependencyFacts("1.0.0", "bundleDependencies", "a", "") in found.dependencies()


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"dependencies": ["a"]}, "dependencies: not_an_object"),
        ({"dependencies": "a"}, "dependencies: not_an_object"),
        ({"dependencies": {"a": {}}}, "dependencies.a: not_a_string"),
        ({"bundleDependencies": {"a": 1}}, "bundleDependencies: not_an_array"),
        ({"dist": {"tarball": 5}}, "dist.tarball: not_a_string"),
        ({"dist": {"fileCount": "3"}}, "dist.fileCount: not_a_count"),
        ({"dist": {"unpackedSize": -1}}, "dist.unpackedSize: not_a_count"),
        ({"dist": {"unpackedSize": 2**63}}, "dist.unpackedSize: not_a_count"),
        ({"dist": {"fileCount": True}}, "dist.fileCount: not_a_count"),
        ({"dist": "x"}, "dist: not_an_object"),
        ({}, "dist: missing"),
        ({"_npmUser": 5}, "_npmUser: not_a_person"),
        ({"_npmUser": {}}, "_npmUser: nameless"),
        ({"scripts": "make"}, "scripts: not_an_object"),
        ({"deprecated": 1}, "deprecated: not_a_string"),
        ({"license": 5}, "license: not_a_license"),
        (None, "manifest: not_an_object"),
        ([], "manifest: not_an_object"),
    ],
)
def test_other_types_are_problems(keys: Any, problem: str) -> None:
    """What is not of npm's type is left out and named."""
    found = read(keys)
    assert problem in found.problems
    assert found.dependencies() == ()


@pytest.mark.parametrize(
    ("told", "name", "email"),
    [
        ({"name": "x", "email": "x@y"}, "x", "x@y"),
        ({"email": "x@y"}, "x@y", "x@y"),
        ("x <x@y>", "x", "x@y"),
        ("x (https://x.example)", "x", None),
        ("<x@y>", "x@y", "x@y"),
    ],
)
def test_people(told: Any, name: str, email: str | None) -> None:
    """A person is an object or a line of text, and goes by the address if nameless."""
    assert read({"_npmUser": told}).publisher == PersonFacts("publisher", name, email)


def test_problems_are_limited() -> None:
    """A hostile manifest cannot fill the index with its problems."""
    found = read({"dependencies": {f"{number}{'d' * 500}": 1 for number in range(1000)}})
    assert len(found.problems) == 21
    assert found.problems[-1] == "...: more"
    assert max(map(len, found.problems)) < 150
