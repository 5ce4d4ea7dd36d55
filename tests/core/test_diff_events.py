"""Which events a document makes, beside what was known."""

from dataclasses import replace

import pytest

from npmmirror.diff import diff
from npmmirror.effects import Effects, EventKind, Known, KnownVersion
from npmmirror.packument import Packument
from tests.core.documents import (
    NEW,
    NEWER,
    OLD,
    SINCE,
    applied,
    changes,
    document,
    first,
    held,
    manifest,
    parsed,
    told,
    unpublished,
)


def sight(new: Packument, since: str | None = SINCE) -> Effects:
    """The first sight of a document."""
    return diff(new, None, None, following_since=since)


# First sight


@pytest.mark.parametrize("since", [None, SINCE])
def test_what_is_older_than_following_is_history(since: str | None) -> None:
    """An old package makes one event, with the counts."""
    old = manifest("1.0.0", deprecated="gone")
    found = sight(document(old, "1.1.0", times={"0.9.0": OLD}), since)
    assert told(found) == [("package_observed", None)]
    assert found.events[0].detail == {
        "state": "live",
        "versions": 2,
        "versions_gone": 1,
        "dist_tags": 1,
        "maintainers": 1,
        "deprecated": 1,
    }
    assert found.fresh == ()


def test_without_following_all_is_history() -> None:
    """What was published a moment ago is history, too, where nothing was ever followed."""
    assert told(sight(document("1.0.0", created=NEW, times={"1.0.0": NEW}), None)) == [
        ("package_observed", None)
    ]


def test_what_is_newer_than_following_is_news() -> None:
    """Only versions published since following began are events, and fresh."""
    found = sight(document("1.0.0", "1.1.0", "1.2.0", times={"1.1.0": NEWER, "1.2.0": NEW}))
    assert told(found) == [
        ("package_observed", None),
        ("version_published", "1.2.0"),
        ("version_published", "1.1.0"),
    ]
    assert found.events[0].detail["versions"] == 1
    assert found.fresh == ("1.2.0", "1.1.0")
    assert {facts.version for facts in found.versions} == {"1.0.0", "1.1.0", "1.2.0"}


def test_a_new_package_is_created_and_not_observed() -> None:
    """Nothing of it existed before; a version without a date is as new as the package."""
    found = sight(document("1.0.0", "1.1.0", created=NEW, times={"1.0.0": NEW, "1.1.0": "?"}))
    assert told(found) == [
        ("package_created", None),
        ("version_published", "1.0.0"),
        ("version_published", "1.1.0"),
    ]
    assert (found.events[0].happened_at, found.events[0].publisher) == (NEW, "alice")


def test_a_document_without_dates_is_history() -> None:
    """Nothing says that it is new."""
    undated = parsed({"name": "left-pad", "versions": {"1.0.0": manifest("1.0.0")}})
    assert told(sight(undated)) == [("package_observed", None)]


def test_first_sight_of_an_unpublished_package() -> None:
    """It is news only if it happened since following began."""
    assert told(sight(unpublished("1.0.0", at=OLD))) == [("package_observed", None)]
    assert told(sight(unpublished("1.0.0", at=NEW))) == [
        ("package_observed", None),
        ("package_unpublished", None),
    ]


def test_first_sight_of_a_security_hold() -> None:
    """The versions that went are those that only `time` still names."""
    assert told(sight(held("1.0.0", at=OLD))) == [("package_observed", None)]
    found = sight(held("1.0.0", "0.9.0", at=NEW))
    assert told(found) == [("package_observed", None), ("security_hold", "0.0.1-security")]
    assert found.events[1].detail["versions"] == ["0.9.0", "1.0.0"]
    assert found.events[0].detail["versions_gone"] == 2


def test_a_package_that_was_only_ever_missed_is_seen_first() -> None:
    """A row that a 404 made is no first sight; the document is, and restores the package."""
    found = diff(document("1.0.0"), Known("removed"), None, following_since=SINCE)
    assert told(found) == [("package_observed", None), ("package_restored", None)]


# Versions


def test_an_erased_package_is_seen_first() -> None:
    """Nothing is remembered of it but which files were dropped: what is old is history again."""
    erased = Known(state="erased", versions={"1.0.0": KnownVersion(b"", False, "dropped")})
    new = document("1.0.0", "1.1.0")
    found = diff(new, erased, None, following_since=SINCE)
    assert told(found) == [("package_observed", None)]
    assert {facts.version for facts in found.versions} == {"1.0.0", "1.1.0"}


def test_publishing() -> None:
    """A new version is an event with its date and publisher, and fresh."""
    found = changes(document("1.0.0"), document("1.0.0", "1.1.0", times={"1.1.0": NEW}))
    assert told(found) == [("version_published", "1.1.0"), ("dist_tag_set", "latest")]
    event = found.events[0]
    assert (event.happened_at, event.publisher, event.detail) == (NEW, "alice", {})
    assert found.fresh == ("1.1.0",)
    assert [facts.version for facts in found.versions] == ["1.1.0"]


def test_publishes_come_in_the_order_of_their_dates() -> None:
    """By date, then as listed; undated ones last."""
    times = {"3.0.0": NEW, "2.0.0": NEWER, "4.0.0": NEW, "5.0.0": "no date"}
    after = document("1.0.0", "5.0.0", "2.0.0", "3.0.0", "4.0.0", times=times, tags={})
    found = changes(document("1.0.0", tags={}), after)
    assert found.fresh == ("3.0.0", "4.0.0", "2.0.0", "5.0.0")


def test_an_old_date_does_not_make_history_of_what_was_not_there() -> None:
    """After the first sight a version that was not there is news, whatever its date."""
    found = changes(document("1.0.0", tags={}), document("1.0.0", "0.9.0", tags={}))
    assert told(found) == [("version_published", "0.9.0")]


def test_unpublishing_a_version() -> None:
    """A version that is no longer named vanished; the date is the document's."""
    found = changes(document("1.0.0", "1.1.0"), document("1.0.0", modified=NEW))
    assert told(found) == [("version_unpublished", "1.1.0"), ("dist_tag_set", "latest")]
    assert (found.vanished, found.events[0].happened_at) == (("1.1.0",), NEW)


@pytest.mark.parametrize("changed", [False, True])
def test_a_version_that_comes_back(changed: bool) -> None:
    """It is published again; only other bytes are fresh."""
    before = document("1.0.0", "1.1.0", tags={})
    known = applied(changes(before, document("1.0.0", tags={})), first(before))
    again = manifest("1.1.0", license="ISC") if changed else "1.1.0"
    found = diff(document("1.0.0", again, tags={}), known, None, following_since=SINCE)
    assert told(found) == [("version_published", "1.1.0")]
    assert found.events[0].detail == {"returned": True, "bytes_changed": changed}
    assert found.fresh == (("1.1.0",) if changed else ())
    assert [facts.version for facts in found.versions] == ["1.1.0"]


def test_versions_that_are_not_told_did_not_vanish() -> None:
    """An array where an object should be takes nothing back."""
    odd = parsed({"_id": "left-pad", "versions": [], "dist-tags": []})
    found = changes(document("1.0.0"), odd)
    assert (found.events, found.vanished, found.tags) == ((), (), None)
    assert (found.package.version_count, found.package.latest) == (1, "1.0.0")


# The package as a whole


def test_unpublishing_a_package() -> None:
    """One event with the list; tags and maintainers go with it."""
    found = changes(document("1.0.0", "1.1.0"), unpublished("1.0.0", "1.1.0"))
    assert told(found) == [("package_unpublished", None)]
    assert found.events[0].detail == {"versions": ["1.0.0", "1.1.0"]}
    assert (found.events[0].happened_at, found.vanished) == (NEW, ("1.0.0", "1.1.0"))
    assert (found.tags, found.people, found.package.state) == ({}, None, "unpublished")


def test_a_package_unpublished_without_a_list() -> None:
    """Where the document tells no versions, those that vanished are listed."""
    found = changes(document("1.1.0", "1.0.0"), unpublished())
    assert found.events[0].detail == {"versions": ["1.0.0", "1.1.0"]}


def test_a_security_hold() -> None:
    """One event tells what went and what is there now."""
    found = changes(document("1.0.0"), held("1.0.0"))
    assert told(found) == [("security_hold", "0.0.1-security")]
    assert found.events[0].detail == {
        "versions": ["1.0.0"],
        "dist_tags": {"latest": "0.0.1-security"},
        "maintainers": ["npm"],
    }
    assert (found.package.state, found.fresh) == ("security_hold", ())
    assert found.vanished == ("1.0.0",)


def test_a_hold_that_is_lifted() -> None:
    """What comes back is listed, not published again; the holder goes with the hold."""
    before = document("1.0.0", "1.1.0")
    known = applied(changes(before, held("1.0.0")), first(before))
    after = document("1.0.0", "1.1.0", "1.2.0", modified=NEWER, times={"1.2.0": NEWER})
    found = diff(after, known, None, following_since=SINCE)
    assert told(found) == [
        ("package_restored", None),
        ("version_published", "1.2.0"),
        ("dist_tag_set", "latest"),
        ("maintainer_added", "alice"),
        ("maintainer_removed", "npm"),
    ]
    assert found.events[0].detail == {"from": "security_hold", "versions": ["1.0.0", "1.1.0"]}
    assert found.fresh == ("1.2.0",)


def test_a_hold_that_was_all_we_knew() -> None:
    """Versions older than following that come into sight with their package are history."""
    known = first(held("1.0.0", at=OLD), SINCE)
    after = document("1.0.0", "1.1.0", times={"1.1.0": NEW}, tags={}, maintainers=("npm",))
    found = diff(after, known, None, following_since=SINCE)
    assert told(found)[:2] == [("package_restored", None), ("version_published", "1.1.0")]
    assert found.events[0].detail["versions"] == ["1.0.0"]


def test_other_bytes_that_come_back_with_their_package() -> None:
    """They are news, however old the date that they carry."""
    before = document("1.0.0", "1.1.0", maintainers=("npm",), tags={})
    known = applied(changes(before, held()), first(before))
    after = document("1.0.0", manifest("1.1.0", libc=1), maintainers=("npm",), tags={})
    found = diff(after, known, None, following_since=SINCE)
    assert told(found)[:2] == [("package_restored", None), ("version_published", "1.1.0")]
    assert found.events[0].detail["versions"] == ["1.0.0"]
    assert found.fresh == ("1.1.0",)


@pytest.mark.parametrize("present", [True, False])
def test_a_removed_package_that_is_there_again(present: bool) -> None:
    """The same document after a removal makes one event."""
    before = document("1.0.0")
    known = replace(
        first(before),
        state="removed",
        versions={"1.0.0": KnownVersion(before.digest("1.0.0"), present=present)},
    )
    found = diff(before, known, None, following_since=SINCE)
    assert told(found) == [("package_restored", None)]
    assert found.events[0].detail["versions"] == ([] if present else ["1.0.0"])


def test_a_new_package_under_an_unpublished_name() -> None:
    """The package is restored and its versions are news."""
    before = document("1.0.0")
    known = applied(changes(before, unpublished("1.0.0")), first(before))
    after = document("2.0.0", modified=NEWER, times={"2.0.0": NEWER})
    assert told(diff(after, known, None, following_since=SINCE)) == [
        ("package_restored", None),
        ("version_published", "2.0.0"),
        ("dist_tag_set", "latest"),
    ]


# Tags


def test_tags_are_set_moved_and_removed() -> None:
    """Each with where it pointed and points."""
    before = document("1.0.0", "2.0.0", tags={"latest": "1.0.0", "old": "1.0.0"})
    after = document("1.0.0", "2.0.0", tags={"latest": "2.0.0", "🚀": "9.9.9"}, modified=NEW)
    found = changes(before, after)
    assert told(found) == [
        ("dist_tag_set", "latest"),
        ("dist_tag_set", "🚀"),
        ("dist_tag_removed", "old"),
    ]
    assert [event.detail for event in found.events] == [
        {"from": "1.0.0", "to": "2.0.0"},
        {"from": None, "to": "9.9.9"},
        {"from": "1.0.0"},
    ]
    assert (found.events[0].version, found.events[0].publisher) == ("2.0.0", "alice")
    assert found.events[0].happened_at == NEW


def test_a_clock_that_stood_still_is_not_quoted() -> None:
    """`time.modified` may stand still; then it does not tell when this happened."""
    before = document("1.0.0", tags={"latest": "1.0.0"})
    after = document("1.0.0", tags={"latest": "1.0.0", "next": "1.0.0"})
    assert changes(before, after).events[0].happened_at is None


# Deprecation and other changes of manifests


def test_deprecating_and_taking_it_back() -> None:
    """Both directions, and another message; no change of the manifest beside it."""
    plain, gone = document("1.0.0"), document(manifest("1.0.0", deprecated="gone"))
    other = document(manifest("1.0.0", deprecated="really gone"))
    found = changes(plain, gone)
    assert told(found) == [("deprecated", "1.0.0")]
    assert found.events[0].detail == {"message": "gone", "before": None}
    assert told(changes(gone, plain)) == [("undeprecated", "1.0.0")]
    assert changes(gone, other).events[0].detail == {"message": "really gone", "before": "gone"}
    assert found.versions[0].deprecated == "gone"


@pytest.mark.parametrize("nothing", ["", False, None])
def test_spellings_of_not_deprecated_are_alike(nothing: object) -> None:
    """An empty message is none to npm."""
    found = changes(document("1.0.0"), document(manifest("1.0.0", deprecated=nothing)))
    assert (found.events, len(found.versions)) == ((), 1)


def test_a_version_that_comes_deprecated() -> None:
    """It was published first."""
    found = changes(document("1.0.0"), document("1.0.0", manifest("2.0.0", deprecated="no")))
    assert told(found) == [
        ("version_published", "2.0.0"),
        ("dist_tag_set", "latest"),
        ("deprecated", "2.0.0"),
    ]


def test_a_changed_manifest_names_its_fields() -> None:
    """Everything but the deprecation, which has an event of its own."""
    after = manifest("1.0.0", libc=["glibc"], license="ISC", deprecated="x", _npmUser=None)
    found = changes(document("1.0.0"), document(after))
    assert told(found) == [("deprecated", "1.0.0"), ("manifest_changed", "1.0.0")]
    assert found.events[1].detail == {"fields": ["_npmUser", "libc", "license"]}


def test_the_spelling_of_a_manifest_is_no_event() -> None:
    """Another order of keys is another row, and no news."""
    turned = dict(reversed(manifest("1.0.0").items()))
    found = changes(document("1.0.0"), document(turned))
    assert (found.events, len(found.versions)) == ((), 1)


def test_without_the_document_before_fields_cannot_be_told() -> None:
    """A capture that was erased leaves the fact that bytes changed."""
    known = first(document("1.0.0"))
    after = document(manifest("1.0.0", license="ISC", deprecated="x"))
    found = diff(after, known, None, following_since=SINCE)
    assert told(found) == [("manifest_changed", "1.0.0")]
    assert found.events[0].detail == {"fields": None}


# People, dependencies, the row


def test_maintainers_come_and_go() -> None:
    """By name."""
    found = changes(
        document("1.0.0", maintainers=("alice", "bob")),
        document("1.0.0", maintainers=("carol", "bob")),
    )
    assert told(found) == [("maintainer_added", "carol"), ("maintainer_removed", "alice")]
    assert found.people is not None
    assert [(p.role, p.name) for p in found.people] == [
        ("maintainer", "carol"),
        ("maintainer", "bob"),
        ("publisher", "alice"),
    ]


def test_an_empty_list_of_maintainers_tells_nothing() -> None:
    """Trusted publishing leaves it empty: nobody left, and nobody came when it is told again."""
    known, empty = document("1.0.0"), document("1.0.0", maintainers=())
    assert (changes(known, empty).events, changes(known, empty).people) == ((), None)
    assert changes(empty, known).events == ()
    assert changes(empty, known).people is not None


def test_dependencies_of_tagged_versions() -> None:
    """Computed when tags or the versions that they name changed, and only then."""
    one, two = (
        manifest("1.0.0", dependencies={"a": "1"}),
        manifest("2.0.0", dependencies={"b": "2"}),
    )
    before = document(one, two, tags={"latest": "1.0.0", "odd": "7.7.7"})
    moved = changes(before, document(one, two, tags={"latest": "2.0.0"}))
    other = changes(before, document(one, two, "3.0.0", tags=before.tags))
    assert sight(before).dependencies is not None
    assert [each.name for each in sight(before).dependencies or ()] == ["a"]
    assert [(each.version, each.name) for each in moved.dependencies or ()] == [("2.0.0", "b")]
    assert (other.dependencies, other.tags, other.people) == (None, None, None)


def test_the_package_row() -> None:
    """What the document tells of the package and its latest version."""
    latest = manifest("1.1.0", author={"name": "Ann"}, license="ISC")
    row = sight(document("1.0.0", latest, rev="4-a", times={"0.9.0": OLD})).package
    assert (row.state, row.rev, row.created_at, row.modified_at) == ("live", "4-a", OLD, OLD)
    assert (row.latest, row.latest_author, row.license) == ("1.1.0", "Ann", "ISC")
    assert (row.version_count, row.modifications) == (2, 3)


def test_a_dangling_latest_has_no_author() -> None:
    """The tag is told as it is."""
    row = sight(document("1.0.0", tags={"latest": "9.9.9"})).package
    assert (row.latest, row.latest_author, row.license) == ("9.9.9", None, None)


def test_every_kind_of_event_is_made_or_belongs_to_the_fetcher() -> None:
    """Only a removal cannot be told by a document."""
    seen = {
        event.kind
        for found in (
            sight(document("1.0.0")),
            sight(document("1.0.0", created=NEW)),
            changes(document("1.0.0"), document("1.0.0", "2.0.0", maintainers=("alice", "bob"))),
            changes(document("1.0.0", maintainers=("alice", "bob")), document("2.0.0", tags={})),
            changes(document("1.0.0"), document(manifest("1.0.0", deprecated="x", libc=1))),
            changes(document(manifest("1.0.0", deprecated="x")), document("1.0.0")),
            changes(document("1.0.0"), unpublished("1.0.0")),
            changes(unpublished("1.0.0"), document("2.0.0")),
            changes(document("1.0.0"), held("1.0.0")),
        )
        for event in found.events
    }
    assert set(EventKind) - seen == {EventKind.PACKAGE_REMOVED}
