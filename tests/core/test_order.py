"""Versions sort by their keys as npm sorts them, and ranges hold what lies between."""

from hypothesis import given, strategies as st

from npmmirror.policy.order import Range, is_stable, place
from npmmirror.policy.semver import descending, matches, range_of, version_of

NUMBERS = st.integers(0, 12).map(str)
IDENTIFIERS = st.sampled_from(["alpha", "beta", "0", "1", "10", "2", "rc-1", "x1", "-", "01"])
VERSIONS = st.builds(
    "{}.{}.{}{}{}{}".format,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.sampled_from(["", "", "-"]),
    st.lists(IDENTIFIERS, max_size=3).map(".".join),
    st.sampled_from(["", "", "+build.7"]),
)
ANY = VERSIONS | st.sampled_from(
    ["v1.2.3", "=1.2.3", " 1.2.3", "1.2", "x", "", "1.2.3beta", "01.2.3"]
)
RANGES = st.sampled_from(
    [
        "*",
        "",
        "1.x",
        "^1.2.0",
        "~2.3",
        "<5.0.0",
        ">=3.0.0 <4.0.0 || 7.x",
        "1.2.3",
        "2 - 4",
        ">0.0.1",
    ]
)


@given(ANY)
def test_what_npm_refuses_has_no_place(version: str) -> None:
    """And everything else has one."""
    assert (place(version) is None) == (version_of(version) is None)


@given(st.lists(ANY, max_size=12))
def test_places_sort_as_npm_sorts(versions: list[str]) -> None:
    """Highest first, as `descending` has it."""
    placed = [place(version) for version in descending(versions)]
    assert placed == sorted((one for one in placed if one), reverse=True)


@given(VERSIONS, VERSIONS)
def test_two_versions_compare_as_npm_compares(one: str, other: str) -> None:
    """Less, equal, more."""
    left, right = place(one), place(other)
    if left is None or right is None:
        return
    assert (left > right) - (left < right) == version_of(one).compare(version_of(other))


@given(RANGES, VERSIONS)
def test_a_range_holds_what_npm_would_install(text: str, version: str) -> None:
    """Of versions that are no prereleases, exactly that; of prereleases, that at least."""
    found, at, allowed = Range.parse(text), place(version), range_of(text or "*")
    if at is None or found is None:
        return
    if is_stable(at):
        assert found.holds(at) == matches(allowed, version)
    elif matches(allowed, version):
        assert found.holds(at)


def test_a_range_holds_prereleases_by_their_order() -> None:
    """`<2.0.0` is no refuge for 2.0.0-rc.1."""
    found, at = Range.parse("<2.0.0"), place("2.0.0-rc.1")
    assert found is not None
    assert at is not None
    assert found.holds(at)


def test_what_is_no_range_is_none() -> None:
    """A dist-tag, for one."""
    assert Range.parse("latest") is None
