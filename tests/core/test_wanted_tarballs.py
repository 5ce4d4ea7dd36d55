"""Which tarballs are fetched, and in what order."""

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from npmmirror.diff import diff
from npmmirror.effects import Known
from npmmirror.packument import Packument
from npmmirror.policy import Settings, TarballPolicy, Want, wanted_tarballs
from tests.core.documents import NEW, NEWER, SINCE, document, first

NOTHING = Want()


def wanted(
    new: Packument,
    known: Known | None,
    mode: TarballPolicy,
    want: Want = NOTHING,
    since: str | None = SINCE,
) -> tuple[str, ...]:
    """What a look at a document asks for."""
    effects = diff(new, known, None, following_since=since)
    return wanted_tarballs(new, effects, known, Settings(mode), want)


def having(known: Known, **states: str) -> Known:
    """The index with tarballs in these states, by `v1_0_0`."""
    versions = dict(known.versions)
    for key, state in states.items():
        version = key.removeprefix("v").replace("_", ".")
        versions[version] = replace(versions[version], state=state)
    return replace(known, versions=versions)


OLD_PACKAGE = document("1.0.0", "2.0.0", "1.1.0", tags={"latest": "2.0.0"})
GROWN = document(
    *("1.0.0", "2.0.0", "1.1.0", "3.0.0", "2.1.0", "4.0.0-rc.1"),
    tags={"latest": "3.0.0"},
    times={"3.0.0": NEW, "2.1.0": NEWER, "4.0.0-rc.1": NEWER},
)


@pytest.mark.parametrize(
    ("mode", "at_first", "later"),
    [
        ("none", (), ()),
        ("latest", ("2.0.0",), ("3.0.0",)),
        ("new", ("2.0.0",), ("3.0.0", "4.0.0-rc.1", "2.1.0")),
        (
            "all",
            ("2.0.0", "1.1.0", "1.0.0"),
            ("3.0.0", "4.0.0-rc.1", "2.1.0", "1.1.0", "2.0.0", "1.0.0"),
        ),
    ],
)
def test_each_policy(
    mode: TarballPolicy, at_first: tuple[str, ...], later: tuple[str, ...]
) -> None:
    """`latest` first, then the newest; `new` loses none of several published between two looks."""
    assert wanted(OLD_PACKAGE, None, mode) == at_first
    assert wanted(GROWN, first(OLD_PACKAGE), mode) == later


def test_new_at_first_sight_takes_what_was_published_since_following() -> None:
    """Beside `latest`."""
    assert wanted(GROWN, None, "new") == ("3.0.0", "4.0.0-rc.1", "2.1.0")
    assert wanted(GROWN, None, "new", since=None) == ("3.0.0",)


def test_new_takes_an_old_latest_at_first_sight_only() -> None:
    """Afterwards it is a row of the work list, or dropped, or not wanted by the policy of then."""
    assert wanted(OLD_PACKAGE, first(OLD_PACKAGE), "new") == ()


def test_what_is_held_is_not_wanted() -> None:
    """Neither verified nor unverifiable files are fetched again."""
    known = having(first(OLD_PACKAGE), v2_0_0="held", v1_0_0="unverifiable")
    assert wanted(OLD_PACKAGE, known, "all") == ("1.1.0",)
    assert wanted(OLD_PACKAGE, known, "none", Want(all_versions=True)) == ("1.1.0",)


def test_what_was_dropped_comes_back_only_when_asked_for() -> None:
    """Retention is not undone by policy, but by a person."""
    known = having(first(OLD_PACKAGE), v1_0_0="dropped", v2_0_0="dropped")
    assert wanted(OLD_PACKAGE, known, "all") == ("1.1.0",)
    assert wanted(OLD_PACKAGE, known, "latest") == ()
    assert wanted(OLD_PACKAGE, known, "none", Want(("^1.0",))) == ("1.1.0",)
    assert wanted(OLD_PACKAGE, known, "none", Want(("1.0.0",))) == ("1.0.0",)


def test_what_a_person_asked_for_comes_first() -> None:
    """Whatever the policy says."""
    want = Want(("~1.0", "nosuch"))
    assert wanted(OLD_PACKAGE, None, "new", want) == ("1.0.0", "2.0.0")
    assert wanted(OLD_PACKAGE, None, "none", want) == ("1.0.0",)


@pytest.mark.parametrize("tags", [{}, {"latest": "9.9.9"}, {"latest": "odd"}])
def test_a_package_without_a_usable_latest(tags: dict[str, str]) -> None:
    """What npm would install in its place is taken."""
    assert wanted(document("1.0.0", "1.1.0", "2.0.0-rc.1", tags=tags), None, "new") == ("1.1.0",)


def test_a_package_without_versions() -> None:
    """There is nothing to want."""
    for mode in ("none", "latest", "new", "all"):
        assert wanted(document(tags={}), None, mode, Want(("latest",), all_versions=True)) == ()


@given(st.lists(st.text()).map(tuple), st.booleans())
def test_a_want_survives_as_text(specs: tuple[str, ...], all_versions: bool) -> None:
    """It waits in a row and comes back."""
    want = Want(specs, all_versions)
    assert Want.from_json(want.to_json()) == want
    assert bool(want) is bool(specs or all_versions)


def test_no_text_is_no_want() -> None:
    """An empty text asks for nothing; another is refused."""
    assert Want.from_json("") == Want()
    for text in ("[]", "5", "{", '{"specs":5}'):
        with pytest.raises(ValueError, match=r".+"):
            Want.from_json(text)
