"""What clients see of a document: hidden versions are left out, and no tag leads to one."""

from collections.abc import Collection

import pytest
from hypothesis import given, strategies as st

from npmmirror.packument import Packument
from npmmirror.policy import resolve
from npmmirror.policy.semver import version_of
from npmmirror.server.packuments import Shown
from npmmirror.server.visibility import Verdict, Visibility
from npmmirror.server.withheld import WithheldList
from tests.core.documents import NAME, document, manifest

VERSIONS = st.sampled_from(
    ["0.9.0", "1.0.0", "1.1.0", "2.0.0", "2.0.0-rc.1", "3.0.0-beta.2", "v1.5.0", "odd", "1.0.0+b"]
)
TAGS = st.dictionaries(st.sampled_from(["latest", "next", "old"]), VERSIONS, max_size=3)


def hiding(*entries: str) -> Visibility:
    """As `server.unheld = "hide"` with these entries on the withheld list."""
    return Visibility(WithheldList.parse(entries))


def fetching(*entries: str) -> Visibility:
    """The same with `fetch`."""
    return Visibility(WithheldList.parse(entries), fetches=True)


def made(
    versions: Collection[str], tags: dict[str, str], deprecated: Collection[str] = ()
) -> Packument:
    """A document of these versions."""
    told = [
        manifest(version, **({"deprecated": "no"} if version in deprecated else {}))
        for version in versions
    ]
    return document(*told, tags=tags)


def seen(found: Shown) -> tuple[list[str], dict[str, str]]:
    """The versions and the tags, to compare."""
    return list(found.versions), dict(found.tags)


def test_a_version_that_is_not_held_is_left_out() -> None:
    """The others keep the document's order."""
    found = hiding().shown(
        made(["1.0.0", "1.1.0", "1.2.0"], {"latest": "1.2.0"}), {"1.0.0", "1.2.0"}
    )
    assert seen(found) == (["1.0.0", "1.2.0"], {"latest": "1.2.0"})


def test_where_all_is_held_the_tags_are_the_documents_own() -> None:
    """Not even copied: nothing is looked at."""
    one = made(["1.0.0", "1.1.0"], {"latest": "1.0.0", "next": "7.7.7"})
    assert hiding().shown(one, {"1.0.0", "1.1.0", "0.1.0"}).tags is one.tags


@pytest.mark.parametrize(
    ("held", "deprecated", "latest"),
    [
        ({"1.0.0", "1.1.0", "3.0.0"}, (), "1.1.0"),
        ({"1.0.0", "1.1.0", "3.0.0"}, ("1.1.0",), "1.0.0"),
        ({"1.1.0", "3.0.0"}, ("1.1.0",), "3.0.0"),
        ({"3.0.0", "3.1.0"}, (), "3.1.0"),
        ({"1.0.0", "1.1.0"}, ("1.0.0", "1.1.0"), "1.1.0"),
        ({"1.1.0", "3.0.0"}, ("1.1.0", "3.0.0"), "1.1.0"),
        ({"1.0.0", "2.0.0-rc.1"}, (), "1.0.0"),
        ({"2.0.0-rc.1", "4.0.0-a"}, (), "2.0.0-rc.1"),
        ({"odd"}, (), None),
    ],
)
def test_latest_moves_to_what_npm_would_choose(
    held: set[str], deprecated: Collection[str], latest: str | None
) -> None:
    """Stable before deprecated before prerelease; what is not above the hidden one first."""
    versions = ["1.0.0", "1.1.0", "2.0.0-rc.1", "2.0.0", "3.0.0", "3.1.0", "4.0.0-a", "odd"]
    found = hiding().shown(made(versions, {"latest": "2.0.0"}, deprecated), held)
    assert found.tags.get("latest") == latest


def test_another_tag_goes_with_its_version() -> None:
    """As on npm when a version is unpublished: `next` must not lead to something old."""
    tags = {"next": "2.0.0", "latest": "1.0.0", "old": "0.9.0"}
    found = hiding().shown(made(["0.9.0", "1.0.0", "2.0.0"], tags), {"1.0.0"})
    assert found.tags == {"latest": "1.0.0"}


def test_a_tag_that_names_nothing_stays_upstreams() -> None:
    """It is not ours to mend."""
    found = hiding().shown(made(["1.0.0", "2.0.0"], {"latest": "9.9.9", "x": "2.0.0"}), {"1.0.0"})
    assert found.tags == {"latest": "9.9.9"}


def test_a_document_without_latest_gets_none() -> None:
    """Upstream has none."""
    assert hiding().shown(made(["1.0.0", "2.0.0"], {}), {"1.0.0"}).tags == {}


def test_what_is_withheld_is_left_out_though_it_is_held() -> None:
    """And `latest` moves away from it."""
    one = made(["1.0.0", "1.0.1"], {"latest": "1.0.1"})
    assert seen(hiding(f"{NAME}@1.0.1").shown(one, {"1.0.0", "1.0.1"})) == (
        ["1.0.0"],
        {"latest": "1.0.0"},
    )


def test_a_withheld_package_has_nothing_to_show() -> None:
    """Neither versions nor tags."""
    one = made(["1.0.0"], {"latest": "1.0.0"})
    assert seen(fetching(NAME).shown(one, {"1.0.0"})) == ([], {})
    assert fetching(NAME).withholds(NAME)


def test_what_can_be_fetched_is_shown() -> None:
    """With `fetch`: all of the document's, or those of it that upstream has still."""
    one = made(["1.0.0", "1.1.0", "1.2.0"], {"latest": "1.2.0"})
    assert fetching().shown(one, ()).versions == ("1.0.0", "1.1.0", "1.2.0")
    assert fetching().shown(one, {"1.0.0"}, {"1.1.0"}).versions == ("1.0.0", "1.1.0")
    assert fetching(f"{NAME}@1.1.0").shown(one, ()).versions == ("1.0.0", "1.2.0")


def test_a_tarballs_address_is_judged_as_the_document_is() -> None:
    """Withheld goes before held."""
    judge = hiding(f"{NAME}@1.x")
    assert judge.of(NAME, "1.0.0", {"1.0.0"}) is Verdict.WITHHELD
    assert judge.of(NAME, "2.0.0", {"2.0.0"}) is Verdict.SHOWN
    assert judge.of(NAME, "2.0.1", {"2.0.0"}) is Verdict.UNHELD
    assert judge.of("other", "1.0.0", {"1.0.0"}) is Verdict.SHOWN


def test_the_mark_is_that_of_what_is_hidden() -> None:
    """So that an ETag changes with what is shown, and with nothing else."""
    one = made(["1.0.0", "1.1.0", "2.0.0"], {"latest": "2.0.0"})
    everything = {"1.0.0", "1.1.0", "2.0.0"}
    whole = hiding("other").shown(one, everything | {"0.1.0"})
    assert whole.mark == fetching().shown(one, ()).mark == b""
    missing = hiding().shown(one, {"1.0.0", "1.1.0"})
    withheld = hiding(f"{NAME}@2.x").shown(one, everything)
    assert missing.mark == withheld.mark
    assert missing.mark not in {b"", hiding(f"{NAME}@1.x").shown(one, everything).mark}


@given(
    st.lists(VERSIONS, unique=True, max_size=7),
    TAGS,
    st.sets(VERSIONS),
    st.sets(VERSIONS),
    st.sampled_from([(), (f"{NAME}@1.x",), ("other",), (f"{NAME}@<2",)]),
)
def test_no_tag_leads_to_a_hidden_version(
    versions: list[str],
    tags: dict[str, str],
    held: set[str],
    deprecated: set[str],
    entries: tuple[str, ...],
) -> None:
    """Whatever is hidden; what is shown is the document's, and only what may be."""
    judge, one = hiding(*entries), made(versions, tags, deprecated)
    found = judge.shown(one, held)
    hidden = set(versions) - set(found.versions)
    assert list(found.versions) == [v for v in versions if judge.of(NAME, v, held) is Verdict.SHOWN]
    assert not hidden & set(found.tags.values())
    assert set(found.tags) <= set(tags)
    moved = {tag for tag in found.tags if found.tags[tag] != tags[tag]}
    assert moved <= {"latest"}
    if tags.get("latest") in hidden and any(version_of(v) for v in found.versions):
        assert found.tags["latest"] in found.versions


@given(st.sets(VERSIONS, min_size=1), st.sets(VERSIONS))
def test_latest_moves_to_what_npm_installs_for_the_bare_name(
    held: set[str], deprecated: set[str]
) -> None:
    """Where nothing is above the hidden one: npm's own choice, were there no such tag at all."""
    shown = hiding().shown(made([*sorted(held), "9.9.9"], {"latest": "9.9.9"}, deprecated), held)
    chosen = resolve(None, made(sorted(held), {}, deprecated))
    if chosen:  # of prereleases alone npm chooses none
        assert version_of(shown.tags["latest"]).compare(version_of(chosen[0])) == 0
