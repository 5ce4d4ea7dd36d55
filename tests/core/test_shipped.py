"""A package.json held against the packument: what npm itself changes is no difference."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.confusion import MOST, MOST_CHARACTERS, Confusion, Difference
from npmmirror.shipped import ShippedManifest, confusion
from npmmirror.testing import tarball

NAME, VERSION = "@scope/thing", "1.2.3"
PLAIN = {"name": NAME, "version": VERSION}


def compared(told: dict[str, Any], shipped: dict[str, Any]) -> Confusion | None:
    """What comes of two manifests of the same version."""
    return confusion(
        NAME, VERSION, json.dumps(PLAIN | told).encode(), json.dumps(PLAIN | shipped).encode()
    )


def fields(told: dict[str, Any], shipped: dict[str, Any]) -> list[str]:
    """Which fields differ."""
    found = compared(told, shipped)
    return [each.field for each in found.differences] if found is not None else []


@pytest.mark.parametrize(
    ("published", "shipped"),
    [
        ({}, {"name": f" {NAME}\n", "version": "v1.2.3+build.5"}),
        ({}, {"version": " =1.02.3 "}),
        ({"bin": {"thing": "cli.js"}}, {"bin": "./cli.js"}),
        ({"bin": {"a.js": "bin/a.js"}}, {"bin": ["./bin/a.js"]}),
        ({"bin": {"b": "b.js"}}, {"bin": {"../../b": "/b.js", "c": 5}}),
        ({"bin": {"b": "b.js"}}, {"bin": {"b": "..\\b.js"}}),
        ({"bin": {}}, {"bin": ""}),
        ({"bin": {"x": "bin/sub/x", "y": "bin/y"}}, {"directories": {"bin": "./bin/"}}),
        ({"dependencies": {"a": "^1", "b": ""}}, {"dependencies": ["a@^1", "b"]}),
        ({"dependencies": {"a": ">1", "b": "*"}}, {"dependencies": "a>1, b"}),
        ({"dependencies": {"a": "1"}}, {"dependencies": {"a": "1", "b": None, "c": 3}}),
        ({"dependencies": {}}, {"dependencies": None}),
        ({"dependencies": {"a": "1", "o": "2"}}, {"dependencies": {"a": "1"}}),
        ({"dependencies": {"a": "1"}}, {"dependencies": {"a": "1", "o": "1"}}),
        ({"dependencies": {"z": "*"}, "bundleDependencies": ["z"]}, {"bundledDependencies": ["z"]}),
        ({"bundleDependencies": ["a"]}, {"bundleDependencies": True}),
        ({"bundleDependencies": []}, {"bundleDependencies": False}),
        ({"bundleDependencies": ["a"]}, {"bundleDependencies": {"a": "1"}}),
        ({"scripts": {"test": "mocha x"}}, {"scripts": {"test": "./node_modules/.bin/mocha x"}}),
        ({"scripts": {}}, {"scripts": "npm test"}),
        ({"scripts": {}}, {"scripts": {"test": None}}),
        ({"scripts": {"install": "node-gyp rebuild"}}, {}),
        ({"scripts": {"start": "node server.js"}}, {}),
        ({"scripts": {"preinstall": "node-waf clean ; node-waf configure build"}}, {}),
        ({"devDependencies": {"x": "1"}}, {"devDependencies": {}}),
    ],
)
def test_what_npm_normalises_is_no_difference(
    published: dict[str, Any], shipped: dict[str, Any]
) -> None:
    """Names, versions, programs, dependencies and scripts in their many spellings."""
    common: dict[str, Any] = {"dependencies": {"a": "1"}, "optionalDependencies": {"o": "2"}}
    if "dependencies" in published or "dependencies" in shipped:
        common.pop("dependencies")
        if "o" not in published["dependencies"]:
            common.pop("optionalDependencies")
    if published.get("dependencies") == {"a": "1"} and shipped["dependencies"].get("o"):
        common["optionalDependencies"] = {"o": "2"}
    if shipped.get("bundledDependencies"):
        common = {}
    assert compared(common | published, common | shipped) is None


@pytest.mark.parametrize(
    "spelling",
    [
        "user/repo#v1",
        "github:user/repo#v1",
        "git://github.com/user/repo.git#v1",
        "git+https://git@github.com/user/repo#v1",
        "https://www.github.com/user/repo.git#v1",
        "git+ssh://git@github.com:user/repo.git#v1",
        "git@github.com:user/repo.git#v1",
        "https://github.com/user/repo/tree/v1",
    ],
)
def test_a_repository_has_many_spellings(spelling: str) -> None:
    """As the author had it, and as npm writes it."""
    told = {"dependencies": {"a": "git+https://github.com/user/repo.git#v1"}}
    assert compared(told, {"dependencies": {"a": spelling}}) is None


@pytest.mark.parametrize(
    ("told", "shipped", "expected"),
    [
        ({}, {"name": "other"}, ["name"]),
        ({}, {"name": None}, ["name"]),
        ({}, {"version": "1.2.4"}, ["version"]),
        ({}, {"version": 5}, ["version"]),
        ({}, {"scripts": {"postinstall": "node x.js"}}, ["scripts.postinstall"]),
        ({}, {"scripts": {"install": "node-gyp rebuild"}}, ["scripts.install"]),
        ({"scripts": {"install": "node-gyp rebuild;x"}}, {}, ["scripts.install"]),
        ({"scripts": {"test": "a"}}, {"scripts": {"test": "b"}}, ["scripts.test"]),
        ({}, {"dependencies": {"evil": "1"}}, ["dependencies.evil"]),
        ({"dependencies": {"a": "1"}}, {"dependencies": {"a": "user/a"}}, ["dependencies.a"]),
        (
            {"dependencies": {"a": "user/a#1"}},
            {"dependencies": {"a": "user/a#2"}},
            ["dependencies.a"],
        ),
        (
            {},
            {"optionalDependencies": {"evil": "1"}},
            ["dependencies.evil", "optionalDependencies.evil"],
        ),
        ({}, {"peerDependencies": {"evil": "1"}}, ["peerDependencies.evil"]),
        (
            {},
            {"bundleDependencies": ["evil"]},
            ["dependencies.evil", "bundleDependencies.evil"],
        ),
        ({}, {"bin": "x.js"}, ["bin.thing"]),
        ({"bin": {"x": "lib/x"}}, {"directories": {"bin": "bin"}}, ["bin.x"]),
    ],
)
def test_what_differs_is_told_by_field(
    told: dict[str, Any], shipped: dict[str, Any], expected: list[str]
) -> None:
    """Each with what either of the two says."""
    assert fields(told, shipped) == expected


def test_both_values_are_told() -> None:
    """As they are after npm's normalisation."""
    found = compared({"bin": "./a.js"}, {"bin": "./b.js"})
    assert found == Confusion("differs", (Difference("bin.thing", "a.js", "b.js"),))


def test_what_is_told_is_bounded() -> None:
    """However much a manifest says."""
    scripts = {f"{number:03}{'k' * 1000}": "v" * 100_000 for number in range(100)}
    found = compared({}, {"scripts": scripts})
    assert found is not None
    assert (len(found.differences), found.more) == (MOST, 100 - MOST)
    assert all(len(each.field) <= MOST_CHARACTERS for each in found.differences)
    assert len(json.dumps(found.facts)) < 10_000


def test_a_name_that_no_table_can_hold_is_held() -> None:
    """Its lone surrogate is told as it is written in JSON."""
    found = confusion("\ud800", VERSION, b"{}", json.dumps(PLAIN).encode())
    assert found == Confusion("differs", (Difference("name", "\\ud800", NAME),))


def test_the_log_gives_back_what_it_was_given() -> None:
    """Facts are JSON."""
    found = compared({}, {"scripts": {str(n): "x" for n in range(40)}})
    assert found is not None
    assert Confusion.read(json.loads(json.dumps(found.facts))) == found
    assert Confusion.read(None) is None


@pytest.mark.parametrize(
    ("shipped", "word"),
    [(b"", "not_json"), (b"{", "not_json"), (b"[]", "not_an_object"), (b"5", "not_an_object")],
)
def test_what_is_no_manifest_is_told(shipped: bytes, word: str) -> None:
    """By the reason why it cannot be read."""
    assert confusion(NAME, VERSION, b"{}", shipped) == Confusion(word)


def test_a_mark_and_wrong_bytes_are_read_as_npm_reads_them() -> None:
    """A byte order mark is dropped, what is no UTF-8 replaced."""
    shipped = b'\xef\xbb\xbf{"name":"@scope/thing","version":"1.2.3","x":"\xff"}'
    assert confusion(NAME, VERSION, b"{}", shipped) is None


def test_an_unreadable_manifest_of_the_packument_says_nothing() -> None:
    """All that the tarball says is more, then."""
    shipped = json.dumps(PLAIN | {"scripts": {"install": "x"}}).encode()
    found = confusion(NAME, VERSION, b"[]", shipped)
    assert found == Confusion("differs", (Difference("scripts.install", None, "x"),))


def test_a_version_that_the_packument_has_not_is_not_compared() -> None:
    """And its tarball is not unpacked."""
    reader = ShippedManifest(NAME, VERSION, None)
    reader.update(tarball.pack({"package.json": b"{}"}))
    assert reader.confusion == Confusion("no_manifest")


def test_a_tarball_is_compared_as_it_comes() -> None:
    """In pieces; the answer is there when its end is."""
    packed = tarball.pack({"index.js": b"x" * 5000, "package.json": json.dumps(PLAIN).encode()})
    reader = ShippedManifest(NAME, VERSION, json.dumps(PLAIN).encode())
    for byte in packed:
        reader.update(bytes([byte]))
    assert reader.confusion is None
    other = ShippedManifest(NAME, "9.9.9", json.dumps(PLAIN).encode())
    other.update(packed)
    assert other.confusion == Confusion("differs", (Difference("version", "9.9.9", "1.2.3"),))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(0, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
ODD = st.dictionaries(
    st.sampled_from(
        [
            *("name", "version", "scripts", "bin", "directories", "dependencies"),
            *("optionalDependencies", "peerDependencies"),
            *("bundleDependencies", "bundledDependencies"),
        ]
    ),
    JSON,
)


@given(ODD, ODD)
@settings(max_examples=150)
def test_any_two_manifests_are_compared(told: dict[str, Any], shipped: dict[str, Any]) -> None:
    """Without an exception, into what the log can hold."""
    found = confusion(NAME, VERSION, json.dumps(told).encode(), json.dumps(shipped).encode())
    assert found is None or Confusion.read(json.loads(json.dumps(found.facts))) == found


@given(ODD)
@settings(max_examples=100)
def test_a_manifest_does_not_differ_from_itself(both: dict[str, Any]) -> None:
    """Whatever is in it."""
    raw = json.dumps(both | PLAIN).encode()
    assert confusion(NAME, VERSION, raw, raw) is None
