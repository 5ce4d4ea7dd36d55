"""What people ask for is read and resolved as npm does."""

import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.packument import Packument
from npmmirror.policy import parse_spec, resolve
from tests.core.documents import document, manifest


@pytest.mark.parametrize(
    ("text", "name", "spec"),
    [
        ("left-pad", "left-pad", None),
        (" left-pad ", "left-pad", None),
        ("left-pad@", "left-pad", None),
        ("left-pad@1.3.0", "left-pad", "1.3.0"),
        ("left-pad@next", "left-pad", "next"),
        ("left-pad@>=1 <2 || ^3", "left-pad", ">=1 <2 || ^3"),
        ("@babel/core", "@babel/core", None),
        ("@babel/core@^7", "@babel/core", "^7"),
        ("JSONStream@1", "JSONStream", "1"),
        ("-@1", "-", "1"),
        ("..@1", "..", "1"),
        ("ünïcödé@🚀", "ünïcödé", "🚀"),
    ],
)
def test_a_spec_is_split(text: str, name: str, spec: str | None) -> None:
    """At the first `@` that does not begin a scope."""
    assert parse_spec(text) == (name, spec)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "names no package"),
        ("  ", "names no package"),
        ("@", "names no package"),
        ("@1.0.0", "scoped"),
        ("@scope", "scoped"),
        ("@scope/", "scoped"),
        ("@/x", "scoped"),
        ("@@1", "names no package"),
        ("a@npm:b@1", "alias; ask for b@1 itself"),
        ("a@NPM:", "alias"),
        ("a@https://code.example/a.tgz", "URL"),
        ("a@file:../a", "URL"),
        ("a@git+ssh://git@code.example/a", "URL"),
        ("a@user/repo", "repository"),
        ("a@./a", "path"),
        ("https://code.example/a.tgz", "URL"),
        ("git+https://code.example/a", "URL"),
    ],
)
def test_what_is_no_package_of_a_registry_is_refused_in_words(text: str, word: str) -> None:
    """The sentence says what is wrong."""
    with pytest.raises(ValueError, match=word):
        parse_spec(text)


@given(st.text(max_size=30))
def test_any_text_is_split_or_refused(text: str) -> None:
    """Nothing else is raised, and a name is never empty."""
    try:
        name, spec = parse_spec(text)
    except ValueError:
        return
    assert name
    assert spec != ""


VERSIONS = ("1.0.0", "1.2.0", "1.10.0", "2.0.0-beta.1", "2.0.0-beta.2", "3.0.0-rc.1", "0.9.9")


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        (None, "1.2.0"),
        ("*", "1.2.0"),
        ("", "1.2.0"),
        ("x", "1.2.0"),
        ("latest", "1.2.0"),
        ("next", "3.0.0-rc.1"),
        ("1.10.0", "1.10.0"),
        ("v1.10.0", "1.10.0"),
        ("=1.10.0", "1.10.0"),
        ("^1", "1.2.0"),
        ("^1.2", "1.2.0"),
        (">1.2.0", "1.10.0"),
        (" >  1.2.0 ", "1.10.0"),
        ("~1.10", "1.10.0"),
        ("^2.0.0-beta.1", "2.0.0-beta.2"),
        ("^2.0.0-alpha", "2.0.0-beta.2"),
        (">=2.0.0", None),
        ("^2", None),
        ("<1", "0.9.9"),
        ("<1 || >=1.3", "1.10.0"),
        ("1.0.0 - 1.1", "1.0.0"),
        ("9.9.9", None),
        ("nosuch", None),
        ("1 2 3", None),
        ("9" * 400, None),
        ("^" + "9" * 400, None),
        ("<" + "9" * 17, None),
        ("x" * 2000, None),
        ("\u0661.\u0662.\u0663", None),
    ],
)
def test_a_spec_is_resolved_as_npm_does(spec: str | None, version: str | None) -> None:
    """`latest` where it satisfies the range, else the highest."""
    found = document(*VERSIONS, tags={"latest": "1.2.0", "next": "3.0.0-rc.1"})
    assert resolve(spec, found) == ((version,) if version else ())


def test_deprecated_versions_are_the_last_resort() -> None:
    """Neither `latest` nor the highest is taken while another is not deprecated."""
    old, bad = manifest("1.0.0"), manifest("1.1.0", deprecated="bad")
    found = document(old, bad, tags={"latest": "1.1.0"})
    assert resolve("^1", found) == ("1.0.0",)
    assert resolve("latest", found) == ("1.1.0",)
    assert resolve("^1.1", found) == ("1.1.0",)
    assert resolve("*", document(bad)) == ("1.1.0",)


def test_a_latest_that_is_a_prerelease() -> None:
    """A bare name takes it all the same; a range does not."""
    found = document("1.0.0", "2.0.0-rc.1", tags={"latest": "2.0.0-rc.1"})
    assert resolve(None, found) == ("2.0.0-rc.1",)
    assert resolve(">=1", found) == ("1.0.0",)


@pytest.mark.parametrize("tags", [{}, {"latest": "9.9.9"}, {"latest": "not a version"}])
def test_without_a_latest_the_highest_counts(tags: dict[str, str]) -> None:
    """A tag that names nothing resolves to nothing; the bare name still does."""
    found = document("1.0.0", "1.1.0", "2.0.0-rc.1", tags=tags)
    assert resolve(None, found) == ("1.1.0",)
    assert resolve("latest", found) == ()


def test_versions_that_are_no_semver() -> None:
    """They are found by name, and never by a range."""
    found = document("1.0.0", "__proto__", "1.1", "01.0.0", "1.0", tags={"latest": "1.0.0"})
    assert resolve("__proto__", found) == ("__proto__",)
    assert resolve("01.0.0", found) == ("01.0.0",)
    assert resolve(">=0", found) == ("1.0.0",)


def test_a_tag_goes_before_a_version_of_that_name() -> None:
    """As in npm, unless the text is a version."""
    found = document("1.0.0", "odd", tags={"odd": "1.0.0"})
    assert resolve("odd", found) == ("1.0.0",)


PARTS = st.sampled_from(
    ["^", "~", ">", "<", "=", " ", "||", " - ", "1", ".", "2", "x", "*", "-", "rc", "+", "v"]
)
SPECS = st.lists(PARTS, max_size=12).map("".join) | st.text(max_size=20)


@settings(max_examples=300)
@given(SPECS, st.lists(SPECS, max_size=4))
def test_any_spec_resolves_to_at_most_one_version_that_is_there(
    spec: str, versions: list[str]
) -> None:
    """Whatever is asked of whatever document."""
    found = odd_document(["1.0.0", "1.2.0-rc.1", *versions], spec)
    resolved = resolve(spec, found)
    assert len(resolved) <= 1
    assert set(resolved) <= set(found.versions)


def odd_document(versions: list[str], tag: str) -> Packument:
    """A document with these keys for versions, and a tag."""
    return document(*dict.fromkeys(versions), tags={"latest": versions[-1], tag: versions[0]})
