"""Documents are parsed tolerantly, lazily, and never with a surprise."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.diff import diff
from npmmirror.effects import PersonFacts
from npmmirror.packument import NotAPackumentError, Packument, Unpublished, instant
from tests.core.documents import NAME, OLD, TREES, document, held, manifest, parsed, unpublished


def test_a_document_tells_its_fields() -> None:
    """The fields are npm's."""
    found = document("1.0.0", "1.1.0", rev="7-a", tags={"latest": "1.1.0", "next": "2.0.0"})
    assert (found.name, found.rev, found.created, found.modified) == (NAME, "7-a", OLD, OLD)
    assert list(found.versions) == ["1.0.0", "1.1.0"]
    assert found.times == {"1.0.0": OLD, "1.1.0": OLD}
    assert found.tags == {"latest": "1.1.0", "next": "2.0.0"}
    assert found.maintainers == (PersonFacts("maintainer", "alice"),)
    assert (found.state, found.unpublished, found.problems) == ("live", None, ())


def test_a_digest_is_of_the_very_bytes() -> None:
    """A digest is that of the manifest's bytes in the document, white space and all."""
    raw = b'{"name": "left-pad", "versions": {"1.0.0":  { "a" : 1 } }}'
    found = Packument.parse(raw, name=NAME)
    assert found.digest("1.0.0") == hashlib.sha256(b'{ "a" : 1 }').digest()[:16]
    assert found.raw == raw


def test_manifests_are_decoded_only_when_asked_for() -> None:
    """A manifest that nobody can decode hurts nobody who does not ask."""
    deep = "[" * 900 + "1e999" + "]" * 900
    raw = f'{{"name":"{NAME}","versions":{{"1.0.0":{{"x":{deep}}},"2.0.0":{{"license":"MIT"}}}}}}'
    found = Packument.parse(raw.encode(), name=NAME)
    assert found.manifest("2.0.0").license == "MIT"
    assert list(found.versions) == ["1.0.0", "2.0.0"]
    assert found.manifest("1.0.0").problems[-1] == "dist: missing"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"<!DOCTYPE html><p>no", "html"),
        (b"\n <html>", "html"),
        (b"", "not_json"),
        (b'{"name":"left-pad"', "not_json"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"name":"right-pad","versions":{}}', "wrong_name"),
        (b'{"_id":"right-pad","name":"right-pad"}', "wrong_name"),
        (b'{"name":"Left-Pad","versions":{}}', "wrong_name"),
        (b'{"error":"Not found"}', "wrong_name"),
        (b"{}", "wrong_name"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "too_deep"),
    ],
)
def test_what_is_no_packument_is_refused(raw: bytes, reason: str) -> None:
    """The one exception tells why."""
    with pytest.raises(NotAPackumentError) as caught:
        Packument.parse(raw, name=NAME)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "keys",
    [{"name": NAME}, {"_id": NAME, "name": 5}, {"_id": NAME, "name": "other"}, {"versions": {}}],
)
def test_a_document_that_may_be_the_one_is_kept(keys: dict[str, Any]) -> None:
    """One right name suffices; a nameless one needs versions."""
    assert parsed(keys).name == NAME


def test_what_is_left_of_an_unpublished_package() -> None:
    """`time.unpublished` tells when, and which versions there were."""
    found = unpublished("1.0.0", "1.1.0", at="2024-02-02T00:00:00.000Z")
    assert found.state == "unpublished"
    assert found.unpublished == Unpublished("2024-02-02T00:00:00.000Z", ("1.0.0", "1.1.0"))
    assert found.versions_told
    assert found.tags_told
    assert found.times == {}


def test_a_package_that_was_published_again_is_live() -> None:
    """Versions count for more than an old mark in `time`."""
    found = document("1.0.0", times={"unpublished": "2020"})
    assert (found.state, found.unpublished) == ("live", None)


def test_the_security_holder_is_known_by_its_publisher() -> None:
    """Anybody may publish such a version; only npm's, alone, is a hold."""
    assert held("1.0.0").state == "security_hold"
    assert document(manifest("0.0.1-security")).state == "live"
    holder = manifest("0.0.1-security", _npmUser={"name": "npm"})
    assert document("1.0.0", holder).state == "live"


def test_dates_of_old_documents() -> None:
    """Where `time` is missing there are `ctime` and `mtime`; the abbreviated form has one."""
    old = parsed({"name": NAME, "ctime": "2011", "mtime": "2012"})
    abbreviated = parsed({"name": NAME, "modified": "2013", "versions": {}})
    assert (old.created, old.modified) == ("2011", "2012")
    assert (abbreviated.created, abbreviated.modified) == (None, "2013")


@pytest.mark.parametrize(
    ("key", "found", "problem"),
    [
        ("versions", [], "versions: not_an_object"),
        ("dist-tags", "latest", "dist-tags: not_an_object"),
        ("dist-tags", {"latest": 1}, "dist-tags.latest: not_a_string"),
        ("time", [], "time: not_an_object"),
        ("time", {"1.0.0": 5}, "time.1.0.0: not_a_string"),
        ("time", {"unpublished": 5}, "time.unpublished: not_an_object"),
        ("maintainers", 5, "maintainers: not_an_array"),
        ("maintainers", [[]], "maintainers: not_a_person"),
        ("_rev", 5, "_rev: not_a_string"),
        ("name", "other", "name: of_another_package"),
    ],
)
def test_other_types_are_kept_and_named(key: str, found: Any, problem: str) -> None:
    """What is not npm's type is left out and named."""
    assert problem in parsed({"_id": NAME, key: found}).problems


def test_nothing_told_is_not_nothing() -> None:
    """A document without an object of versions does not say that there are none."""
    assert not parsed({"name": NAME, "versions": []}).versions_told
    assert not parsed({"name": NAME}).tags_told
    assert parsed({"name": NAME, "versions": {}, "dist-tags": {}}).versions_told


def test_strings_can_be_stored() -> None:
    """Lone surrogates become their escapes, in keys and in values."""
    raw = b'{"name":"left-pad","dist-tags":{"\\udc00":"1.0.0\\ud800"},"versions":{"\\ud9ff":{}}}'
    found = Packument.parse(raw, name=NAME)
    assert found.tags == {"\\udc00": "1.0.0\\ud800"}
    assert list(found.versions) == ["\\ud9ff"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2020-01-02T03:04:05.678Z", datetime(2020, 1, 2, 3, 4, 5, 678000, UTC)),
        ("2020-01-02T03:04:05", datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2020-01-02", datetime(2020, 1, 2, tzinfo=UTC)),
        ("2020-01-02T05:04:05+02:00", datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_dates_are_read_in_any_spelling(text: str | None, moment: datetime | None) -> None:
    """A date without a zone is UTC; what is no date is None."""
    assert instant(text) == moment


KEYS = ("_id", "_rev", "name", "versions", "dist-tags", "time", "maintainers", "modified", "readme")
TIMES = st.dictionaries(st.sampled_from(["created", "modified", "unpublished", "1.0.0"]), TREES)
MANIFESTS = st.dictionaries(
    st.sampled_from(["dist", "license", "licenses", "_npmUser", "author", "deprecated", "scripts"])
    | st.sampled_from(["dependencies", "bundleDependencies", "optionalDependencies"]),
    TREES | st.fixed_dictionaries({"tarball": TREES, "fileCount": TREES, "name": TREES}),
)
DOCUMENTS = st.dictionaries(st.sampled_from(KEYS), TREES) | st.fixed_dictionaries(
    {
        "name": st.just(NAME),
        "versions": st.dictionaries(st.text(), MANIFESTS | TREES, max_size=3) | TREES,
        "dist-tags": st.dictionaries(st.text(), TREES, max_size=3),
        "time": TIMES | TREES,
        "maintainers": st.lists(st.dictionaries(st.sampled_from(["name", "email"]), TREES)) | TREES,
    }
)


def read_everything(raw: bytes) -> None:
    """Parse a document and ask for all that can be asked."""
    try:
        found = Packument.parse(raw, name=NAME)
    except NotAPackumentError:
        return
    effects = diff(found, None, None, following_since="2000-01-01T00:00:00.000000Z")
    for version in found.versions:
        assert len(found.digest(version)) == 16
        found.manifest(version).dependencies()
    repr((found, effects)).encode()
    json.dumps([event.detail for event in effects.events])


@settings(max_examples=300)
@given(DOCUMENTS | TREES)
def test_any_json_is_read(tree: object) -> None:
    """No JSON makes parser or diff raise anything else, and all that comes out can be stored."""
    read_everything(json.dumps(tree).encode())


@settings(max_examples=300)
@given(
    st.sampled_from([document("1.0.0", "2.0.0-rc.1").raw, unpublished("1.0.0").raw]),
    st.lists(
        st.tuples(
            st.integers(0, 2000),
            st.integers(0, 40),
            st.binary(max_size=8) | st.sampled_from([b"\\ud800", b"1e999", b"{", b"}", b"null"]),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_mutated_documents_are_read_or_refused(
    raw: bytes, cuts: list[tuple[int, int, bytes]]
) -> None:
    """Bytes cut out and put in never raise anything else."""
    for place, length, put in cuts:
        raw = raw[:place] + put + raw[place + length :]
    read_everything(raw)
