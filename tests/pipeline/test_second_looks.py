"""Documents that cannot be believed at once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from npmmirror.capture import Payload
from npmmirror.change import Change
from npmmirror.clock import timestamp
from npmmirror.effects import Known
from npmmirror.outcome import Failed, WorkItem
from npmmirror.pipeline.examiner import Finding
from npmmirror.pipeline.schedule import QUICK_TRIES
from npmmirror.pipeline.second_looks import (
    CONFLICT,
    NOT_YET,
    STALE,
    STILL_THERE,
    TRIES,
    UNPROVEN,
    Asked,
    SecondLooks,
)

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
LOOKS = SecondLooks(answers=3, hours=24)
LIVE = Known(state="live", rev="3-c")
PLAIN = Known(state="live")
CHANGED = Change(7, "left-pad", "4-d")
NEWS = Payload(b"", 1, "00")


def asked(
    reason: str = "", tries: int = 0, hours_ago: float = 0, change: Change | None = CHANGED
) -> Asked:
    since = timestamp(NOW - timedelta(hours=hours_ago))
    row = WorkItem("left-pad", "", reason, since, tries, since=since) if reason else None
    rev = change.rev if change is not None and not change.deleted else None
    return Asked(change, rev, row)


def finding(rev: str | None, *, stale: bool = False, payload: Payload | None = NEWS) -> Finding:
    return Finding(rev, is_living=True, stale=stale, payload=payload, effects=None)


def reason(failed: Failed | None) -> str | None:
    return failed.reason if failed is not None else None


def test_a_document_that_is_as_announced_is_believed() -> None:
    """At once."""
    assert LOOKS.judge(asked(), finding("4-d"), LIVE, NOW) is None
    assert LOOKS.judge(asked(), finding("5-e"), LIVE, NOW) is None


def test_what_revisions_prove_to_be_old_is_never_believed() -> None:
    """However often it comes, and the schedule has the last word."""
    late = asked(STALE, tries=10**6, hours_ago=10**4)
    failed = LOOKS.judge(late, finding("3-c", stale=True), LIVE, NOW)
    assert failed == Failed(STALE, None, "found 3-c, announced 4-d")


def test_what_dates_alone_call_old_is_believed_in_the_end() -> None:
    """After quick looks over the time that a removal takes."""
    assert not LOOKS.believes(asked(), NOW)
    assert not LOOKS.believes(asked(STALE, QUICK_TRIES, hours_ago=23), NOW)
    assert not LOOKS.believes(asked(STALE, QUICK_TRIES - 1, hours_ago=99), NOW)
    assert not LOOKS.believes(asked("http_500", 99, hours_ago=99), NOW)
    assert LOOKS.believes(asked(STALE, QUICK_TRIES, hours_ago=24), NOW)


def test_until_then_it_is_looked_at_again_whatever_the_schedule_says() -> None:
    """A dead letter would keep a version for ever that upstream took back."""
    old = finding(None, stale=True)
    quick = LOOKS.judge(asked(STALE, QUICK_TRIES - 1), old, PLAIN, NOW)
    assert quick is not None
    assert quick.retry_at is None
    slow = LOOKS.judge(asked(STALE, 99, hours_ago=1), old, PLAIN, NOW)
    assert slow is not None
    assert slow.retry_at == NOW + timedelta(hours=12)
    last = LOOKS.judge(asked(STALE, 99, hours_ago=20), old, PLAIN, NOW)
    assert last is not None
    assert last.retry_at == NOW + timedelta(hours=4)


@pytest.mark.parametrize(
    ("kind", "found", "known", "change"),
    [
        (CONFLICT, finding("4-z"), LIVE, CHANGED),
        (NOT_YET, finding(None, payload=None), PLAIN, CHANGED),
        (STILL_THERE, finding("3-c"), LIVE, replace(CHANGED, deleted=True)),
    ],
)
def test_what_is_only_odd_is_taken_at_its_word(
    kind: str, found: Finding, known: Known, change: Change
) -> None:
    """After a few looks."""
    first = LOOKS.judge(asked(change=change), found, known, NOW)
    assert reason(first) == kind
    before_last = asked(kind, TRIES - 1, change=change)
    assert reason(LOOKS.judge(before_last, found, known, NOW)) == kind
    assert LOOKS.judge(asked(kind, TRIES, change=change), found, known, NOW) is None


def test_a_document_without_a_revision_that_changed_is_believed() -> None:
    """On a registry that gives none there is nothing else to hold it against."""
    assert LOOKS.judge(asked(), finding(None), PLAIN, NOW) is None


def test_what_nobody_announced_need_not_have_changed() -> None:
    """A look of the work list, or a person's."""
    assert LOOKS.judge(asked(change=None), finding(None, payload=None), PLAIN, NOW) is None


def test_a_document_without_a_revision_among_others_that_have_one() -> None:
    """Looked at again so often, be it the one that is held or another, and then believed."""
    for payload in (NEWS, None):
        for tries in range(TRIES):
            looked = replace(asked(UNPROVEN, tries), revs_given=True)
            failed = LOOKS.judge(looked, finding(None, payload=payload), PLAIN, NOW)
            assert reason(failed) == UNPROVEN
        enough = replace(asked(UNPROVEN, TRIES), revs_given=True)
        assert LOOKS.judge(enough, finding(None, payload=payload), PLAIN, NOW) is None
    assert LOOKS.judge(asked(), finding(None), PLAIN, NOW) is None


def test_a_document_that_was_announced_by_its_digest_is_believed() -> None:
    """That it has no revision, or is the one that is held, raises no doubt; that it is gone does."""
    found = msgspec.structs.replace(finding(None, payload=None), named=True)
    given = replace(asked(), revs_given=True)
    assert LOOKS.judge(asked(), found, PLAIN, NOW) is None
    assert LOOKS.judge(given, found, PLAIN, NOW) is None
    deleted = asked(change=Change(7, "left-pad", "4-d", deleted=True))
    assert reason(LOOKS.judge(deleted, found, PLAIN, NOW)) == STILL_THERE
