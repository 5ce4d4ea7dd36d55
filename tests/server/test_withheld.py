"""The withheld list: which entries there may be, and what they withhold."""

import pytest
from hypothesis import given, strategies as st

from npmmirror.policy.semver import matches, range_of
from npmmirror.server.withheld import WithheldList, files_of


def withheld(*entries: str) -> WithheldList:
    """A list of these entries; one of them may stand for the file `bad.txt`."""
    return WithheldList.parse(entries, {"bad.txt": frozenset({"evil", "worse@<2", "@bad/*@1.x"})})


@pytest.mark.parametrize(
    ("entry", "name", "version", "covered"),
    [
        ("evil", "evil", "1.0.0", True),
        ("evil", "evil-twin", "1.0.0", False),
        ("evil@1.2.3", "evil", "1.2.3", True),
        ("evil@1.2.3", "evil", "1.2.4", False),
        ("evil@1.2.3", "evil", "1.2.3-rc.1", False),
        ("evil@1.2.3", "evil", "v1.2.3", True),
        ("evil@v1.2.3", "evil", "1.2.3", True),
        ("evil@>=1.2.0 <1.3.0", "evil", "1.2.9", True),
        ("evil@>=1.2.0 <1.3.0", "evil", "1.3.0-rc.1", True),
        ("evil@>=1.2.0 <1.3.0", "evil", "1.3.0", False),
        ("evil@1.x || 3.x", "evil", "3.4.5", True),
        ("evil@*", "evil", "0.0.1-security", True),
        ("evil@1.x", "evil", "no version", False),
        ("@bad", "@bad/thing", "1.0.0", True),
        ("@bad", "@badly/thing", "1.0.0", False),
        ("@bad/thing@2", "@bad/thing", "2.7.1", True),
        ("@bad/*@2", "@bad/thing", "3.0.0", False),
        ("*-miner", "coin-miner", "1.0.0", True),
        ("/^ev[i1]l$/", "ev1l", "1.0.0", True),
        ("file:bad.txt", "evil", "9.9.9", True),
        ("file:bad.txt", "worse", "1.9.9", True),
        ("file:bad.txt", "worse", "2.0.0", False),
        ("file:bad.txt", "@bad/thing", "1.1.1", True),
    ],
)
def test_an_entry_withholds_what_it_says(
    entry: str, name: str, version: str, covered: bool
) -> None:
    """Names, versions, ranges (prereleases by their order), patterns, and files of these."""
    found = withheld(entry).of(name)
    assert (found is not None and found.covers(version)) is covered


@pytest.mark.parametrize(
    "entry", ["", "evil@latest", "evil@>=", " evil", "/^ev", "/(/", "evil@1.2.3.4.x", "@1.0.0 "]
)
def test_what_is_no_entry_is_refused(entry: str) -> None:
    """Before anybody is served: a slip must not let anything through."""
    with pytest.raises(ValueError, match=r"must |is no version"):
        withheld(entry)


def test_a_whole_package_needs_no_versions() -> None:
    """A bare name withholds it whole, whatever other entries say."""
    found = withheld("evil@1.x", "evil").of("evil")
    assert found is not None
    assert found.whole


def test_entries_add_up() -> None:
    """Several of a package withhold what any of them does."""
    found = withheld("evil@1.0.0", "ev*@2.x").of("evil")
    assert found is not None
    assert [found.covers(v) for v in ("1.0.0", "1.0.1", "2.5.0")] == [True, False, True]


@given(st.text(max_size=30))
def test_any_text_is_an_entry_or_refused(text: str) -> None:
    """Nothing but `ValueError` is raised."""
    try:
        found = withheld(text)
    except ValueError:
        return
    found.of(text)


@given(
    st.sampled_from(["1.2.3", "^1.0.0", "~2.1", "<3 || >5", "1 - 2"]),
    st.builds("{}.{}.{}".format, *[st.integers(0, 6)] * 3),
)
def test_a_range_withholds_what_npm_would_install_for_it(spec: str, version: str) -> None:
    """Of plain versions exactly that."""
    found = withheld(f"evil@{spec}").of("evil")
    assert found is not None
    assert found.covers(version) == matches(range_of(spec), version)


def test_the_files_that_entries_stand_for_are_told() -> None:
    """So that they can be read before the list is made."""
    assert files_of(["evil", "file:bad.txt", "file:/etc/worse.txt"]) == [
        "bad.txt",
        "/etc/worse.txt",
    ]
