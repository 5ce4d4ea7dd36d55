"""Documents of lagging caches are told from documents that took something back."""

import pytest

from npmmirror.change import names_document
from npmmirror.effects import Known
from npmmirror.packument import Packument
from npmmirror.staleness import is_conflict, is_stale
from tests.core.documents import NEW, NEWER, OLD, document, first, held, parsed, unpublished


@pytest.mark.parametrize(
    ("rev", "announced", "stale"),
    [
        ("3-a", "4-b", True),
        ("9-a", "10-b", True),
        ("4-a", "4-b", False),
        ("5-a", "4-b", False),
        (None, "4-b", False),
        ("3-a", None, False),
        ("odd", "4-b", False),
    ],
)
def test_older_than_announced(rev: str | None, announced: str | None, stale: bool) -> None:
    """The number in front of the revision is compared, as a number."""
    assert is_stale(document("1.0.0", rev=rev), None, announced) is stale


def test_older_than_captured() -> None:
    """A captured revision is never gone back on, even where an older one was announced."""
    known = first(document("1.0.0", "1.1.0", rev="7-a", modified=NEW))
    older = document("1.0.0", rev="6-a", modified=OLD)
    assert is_stale(older, known, None)
    assert is_stale(older, known, "5-a")


def test_a_registry_that_counts_anew() -> None:
    """A smaller number with a newer date is a newer document."""
    known = first(document("1.0.0", rev="70-a", modified=OLD))
    assert not is_stale(document("1.0.0", rev="1-a", modified=NEW), known, "1-a")


def test_fewer_versions_under_a_newer_revision() -> None:
    """Where revisions tell the order, versions may go, whatever the date says."""
    known = first(document("1.0.0", "1.1.0", rev="7-a"))
    assert not is_stale(document("1.0.0", rev="8-a"), known, "8-a")


def without_rev(*versions: str, modified: str | None = OLD) -> Packument:
    """A document as a plain copy of a registry gives it."""
    return document(*versions, rev=None, modified=modified)


@pytest.mark.parametrize(
    ("known", "new", "stale"),
    [
        (without_rev("1.0.0", modified=NEW), without_rev("1.0.0", modified=OLD), True),
        (without_rev("1.0.0", modified=OLD), without_rev("1.0.0", modified=NEW), False),
        (without_rev("1.0.0"), without_rev("1.0.0"), False),
        (without_rev("1.0.0", "2.0.0"), without_rev("1.0.0"), True),
        (without_rev("1.0.0", "2.0.0"), without_rev("1.0.0", modified=NEW), False),
        (without_rev("1.0.0", "2.0.0"), without_rev("1.0.0", "3.0.0"), False),
        (without_rev("1.0.0"), without_rev("1.0.0", "2.0.0"), False),
        (
            without_rev("1.0.0", "2.0.0", modified=None),
            without_rev("1.0.0", modified=None),
            True,
        ),
        (without_rev("1.0.0", modified=None), without_rev("1.0.0", modified=OLD), False),
    ],
)
def test_without_revisions_dates_and_versions_decide(
    known: Packument, new: Packument, stale: bool
) -> None:
    """An older date is stale; so is less of the same under a date that is not newer."""
    assert is_stale(new, first(known), None) is stale


def test_a_document_that_says_that_versions_went_is_believed() -> None:
    """Neither unpublishing nor a hold is judged by the versions that are missing."""
    known = first(without_rev("1.0.0", "2.0.0"))
    gone = unpublished("1.0.0", "2.0.0", at=NEW)
    assert not is_stale(gone, known, None)
    assert not is_stale(held("1.0.0"), known, None)


def test_a_package_unpublished_under_an_old_date() -> None:
    """The time of unpublishing counts, where `modified` stood still."""
    told = {"created": OLD, "modified": OLD, "unpublished": {"time": NEWER, "versions": []}}
    known = first(without_rev("1.0.0", modified=NEW))
    assert not is_stale(parsed({"name": "left-pad", "time": told}), known, None)


def test_a_document_without_versions_takes_nothing_back() -> None:
    """Where versions are not told, there is no smaller set of them."""
    known = first(without_rev("1.0.0", modified=None))
    assert not is_stale(parsed({"name": "left-pad", "versions": []}), known, None)


def test_at_first_sight_nothing_is_older() -> None:
    """There is nothing to be older than; a package that was only ever missed is no different."""
    assert not is_stale(document("1.0.0"), None, None)
    assert not is_stale(document("1.0.0"), Known("removed"), None)


@pytest.mark.parametrize(
    ("known", "new"),
    [
        (without_rev("1.0.0", modified=NEW), without_rev("1.0.0", modified=OLD)),
        (without_rev("1.0.0", "2.0.0"), without_rev("1.0.0")),
        (without_rev("1.0.0", "2.0.0", modified=None), without_rev("1.0.0", modified=None)),
    ],
)
def test_what_dates_and_versions_say_may_be_overruled(known: Packument, new: Packument) -> None:
    """A registry that proves nothing can take something back in the end."""
    assert is_stale(new, first(known), None)
    assert not is_stale(new, first(known), None, believed=True)


def test_what_revisions_say_is_never_overruled() -> None:
    """Older than announced, or than captured."""
    known = first(document("1.0.0", "1.1.0", rev="7-a", modified=NEW))
    older = document("1.0.0", rev="6-a", modified=OLD)
    assert is_stale(older, known, None, believed=True)
    assert is_stale(older, None, "7-a", believed=True)


@pytest.mark.parametrize(
    ("rev", "announced", "conflict"),
    [
        ("4-a", "4-b", True),
        ("4-a", "4-a", False),
        ("4-a", "5-b", False),
        ("5-a", "4-b", False),
        (None, "4-b", False),
        ("4-a", None, False),
        ("odd", "even", False),
    ],
)
def test_two_revisions_of_a_generation(
    rev: str | None, announced: str | None, conflict: bool
) -> None:
    """Neither is older."""
    assert is_conflict(rev, announced) is conflict


def test_a_document_that_was_announced_by_its_digest() -> None:
    """Fewer versions are the truth then; an older date still is none."""
    known = first(without_rev("1.0.0", "2.0.0"))
    assert is_stale(without_rev("1.0.0"), known, "17-d")
    assert not is_stale(without_rev("1.0.0"), known, "17-d", named=True)
    newer = first(without_rev("1.0.0", modified=NEW))
    assert is_stale(without_rev("1.0.0", modified=OLD), newer, "17-d", named=True)


def test_a_revision_that_is_made_of_a_digest() -> None:
    """It names the one document; npm's own revisions name none."""
    digest = "ab" * 32
    assert names_document(f"17-{digest}", digest)
    assert not names_document(f"17-{digest}", "cd" * 32)
    assert not names_document("17-" + "ab" * 16, digest)
    assert not names_document(None, digest)
    assert not names_document("17-", None)
