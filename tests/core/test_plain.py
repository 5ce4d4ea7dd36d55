"""The quick way to a manifest's facts says what the tolerant way says, or nothing."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from npmmirror.effects import VersionFacts
from npmmirror.jsontext import Raw
from npmmirror.manifest import Manifest
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.plain import plain_facts
from npmmirror.testing.oddities import Oddity, oddities
from npmmirror.testing.packages import catalogue
from npmmirror.testing.release import build

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2**63 - 1, 2**63, 2**70, 0.5, 3.0, 1e300]),
    st.text(st.characters(), max_size=4),
    st.lists(st.text(max_size=2), max_size=2),
    st.dictionaries(st.sampled_from(["name", "email", "type", "install"]), st.text(max_size=2)),
)
TEXT = st.text(max_size=8)
NUMBER = st.integers(0, 10_000)


def fields(**plain: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these keys, mostly of npm's types, and strange ones beside them."""
    optional = {key: st.one_of(good, good, good, ODD) for key, good in plain.items()}
    strange = st.dictionaries(st.text(max_size=3), ODD, max_size=2)
    told = st.fixed_dictionaries({}, optional=optional)
    return st.builds(lambda known, more: {**more, **known}, told, strange)


MANIFESTS = fields(
    dist=fields(tarball=TEXT, shasum=TEXT, integrity=TEXT, fileCount=NUMBER, unpackedSize=NUMBER),
    license=TEXT,
    licenses=st.none(),
    _npmUser=fields(name=TEXT, email=TEXT),
    deprecated=TEXT,
    hasInstallScript=st.booleans(),
    scripts=fields(preinstall=TEXT, install=TEXT, postinstall=TEXT, test=TEXT),
)


def both_ways(raw: Raw) -> tuple[VersionFacts | None, VersionFacts]:
    """The row by the quick way and by the tolerant one."""
    told = {"digest": b"d", "published_at": "2020"}
    plain = plain_facts(raw, version="1.0.0", **told)  # type: ignore[arg-type]  # of two types
    quick = None if plain is None else plain[0]
    return quick, Manifest.parse(raw, version="1.0.0").facts(**told)  # type: ignore[arg-type]


@given(MANIFESTS)
def test_the_quick_way_never_contradicts(manifest: dict[str, Any]) -> None:
    """Whatever types the fields are of, lone surrogates among them."""
    quick, tolerant = both_ways(Raw(json.dumps(manifest).encode()))
    assert quick in {None, tolerant}


@given(MANIFESTS, st.data())
def test_the_quick_way_takes_broken_text_from_nobody(
    manifest: dict[str, Any], data: st.DataObject
) -> None:
    """A byte that is no UTF-8, wherever it stands."""
    raw = json.dumps(manifest, ensure_ascii=False).encode("utf-8", "surrogatepass")
    place = data.draw(st.integers(1, len(raw)))
    try:
        document = Packument.parse(
            b'{"name":"a","versions":{"1.0.0":%b}}' % (raw[:place] + b"\xff" + raw[place:]),
            name="a",
        )
    except NotAPackumentError:
        return
    for manifest_ in document.versions.values():
        quick, tolerant = both_ways(manifest_)
        assert quick in {None, tolerant}


@pytest.mark.parametrize("oddity", [*oddities()], ids=lambda oddity: oddity.id)
def test_no_oddity_is_told_otherwise(oddity: Oddity) -> None:
    """The corpus of all that npm's documents are known for."""
    try:
        found = Packument.parse(oddity.raw, name=oddity.name)
    except NotAPackumentError:
        return
    for manifest in found.versions.values():
        quick, tolerant = both_ways(manifest)
        assert quick in {None, tolerant}


def test_what_npm_publishes_goes_the_quick_way() -> None:
    """Every manifest of the catalogue; else the whole would be as slow as without it."""
    for draft in catalogue(20):
        for release in draft.releases:
            raw, _ = build(draft.name, release, base="https://registry.example")
            quick, tolerant = both_ways(Raw(raw))
            assert quick == tolerant


def test_a_plain_manifest_is_read_whole() -> None:
    """Each field by its value."""
    manifest = {
        "dist": {
            "tarball": "https://registry.example/a.tgz",
            "shasum": "0" * 40,
            "integrity": "sha512-x",
            "fileCount": 3,
            "unpackedSize": 4000,
        },
        "license": "MIT",
        "_npmUser": {"name": "alice", "email": "a@people.example"},
        "deprecated": "use another",
        "scripts": {"postinstall": "node x.js"},
    }
    quick, tolerant = both_ways(Raw(json.dumps(manifest).encode()))
    assert quick == tolerant
    assert (quick.tarball, quick.file_count, quick.unpacked_size) == (
        "https://registry.example/a.tgz",
        3,
        4000,
    )
    assert (quick.license, quick.publisher, quick.deprecated) == ("MIT", "alice", "use another")
    assert quick.has_install_script
