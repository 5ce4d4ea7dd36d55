"""One 404 proves nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st

from npmmirror.change import Change
from npmmirror.clock import timestamp
from npmmirror.effects import Known, KnownVersion
from npmmirror.outcome import Failed, Gone, Mirrored, Skipped, WorkItem
from npmmirror.pipeline.removal import (
    HELD,
    NOT_FOUND,
    RemovalRule,
    answers_before,
    evidence_of,
    first_answer,
    reason_of,
    removed_event,
)

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
RULE = RemovalRule(answers=3, hours=24)
LIVE = Known(state="live", rev="3-c")
CHANGED = Change(7, "left-pad", "4-d")
DELETED = replace(CHANGED, deleted=True)


def row(answers: int, *, hours_ago: float, reason: str = NOT_FOUND) -> WorkItem:
    since = timestamp(NOW - timedelta(hours=hours_ago))
    return WorkItem("left-pad", "", reason, since, answers, CHANGED.rev, CHANGED.seq, since)


def test_the_first_answer_is_no_proof() -> None:
    """Npm's own maintenance once answered 404 for living packages."""
    outcome = RULE.judge(LIVE, CHANGED, None, NOW)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "not_found"
    assert outcome.retry_at == NOW + timedelta(hours=12)


def test_enough_answers_in_too_short_a_time_are_no_proof() -> None:
    """They have to lie a day apart, first to last; the next look is when that is so."""
    outcome = RULE.judge(LIVE, CHANGED, row(9, hours_ago=23), NOW)
    assert isinstance(outcome, Failed)
    assert outcome.retry_at == NOW + timedelta(hours=1)


def test_an_answer_of_a_clock_that_was_ahead_is_of_now() -> None:
    """Else nothing would be proven until that time comes, and each look would be due at once."""
    ahead = row(2, hours_ago=-24 * 365)
    assert first_answer(ahead, CHANGED, NOW) == NOW
    outcome = RULE.judge(LIVE, CHANGED, ahead, NOW)
    assert isinstance(outcome, Failed)
    assert outcome.retry_at == NOW + timedelta(hours=24)


def test_too_few_answers_over_a_long_time_are_no_proof() -> None:
    """A mirror that was off for a week has still asked twice only."""
    assert isinstance(RULE.judge(LIVE, CHANGED, row(1, hours_ago=200), NOW), Failed)


def test_enough_answers_over_the_time_are_a_proof() -> None:
    """Three answers, a day apart."""
    assert RULE.judge(LIVE, CHANGED, row(2, hours_ago=24), NOW) == Gone("removed")


def test_the_feeds_own_word_shortens_nothing() -> None:
    """Packages that the feed calls deleted come back: the answers are needed, and the hours."""
    assert isinstance(RULE.judge(LIVE, DELETED, None, NOW), Failed)
    assert isinstance(RULE.judge(LIVE, DELETED, row(2, hours_ago=23), NOW), Failed)
    assert RULE.judge(LIVE, DELETED, row(2, hours_ago=24), NOW) == Gone("removed")


def test_other_failures_are_no_answers() -> None:
    """Attempts that failed for another reason do not count as "not there"."""
    assert isinstance(
        RULE.judge(LIVE, DELETED, row(9, hours_ago=99, reason="http_500"), NOW), Failed
    )


def test_a_later_change_starts_over_unless_it_says_deleted() -> None:
    """It is the feed's word that the package is there."""
    later = Change(8, "left-pad", "5-e")
    assert answers_before(row(2, hours_ago=24), later) == 0
    assert first_answer(row(2, hours_ago=24), later, NOW) == NOW
    assert answers_before(row(2, hours_ago=24), replace(later, deleted=True)) == 2
    assert answers_before(row(2, hours_ago=24), CHANGED) == 2
    assert answers_before(row(2, hours_ago=24), None) == 2


def test_what_is_held_goes_on_being_confirmed() -> None:
    """The answers of a removal that the breaker holds still count."""
    assert RULE.judge(LIVE, CHANGED, row(3, hours_ago=48, reason=HELD), NOW) == Gone("removed")


def test_a_package_that_was_removed_before_is_no_news() -> None:
    """Nothing changes, nothing is tried again."""
    removed = Known(state="removed", rev=CHANGED.rev)
    assert RULE.judge(removed, CHANGED, None, NOW) == Mirrored(changed=False)


def test_a_package_that_was_removed_and_is_announced_again_is_looked_at_again() -> None:
    """A cache may not know it yet; as many answers as prove a removal prove that it is still gone."""
    removed = Known(state="removed", rev="3-c")
    assert isinstance(RULE.judge(removed, CHANGED, None, NOW), Failed)
    assert isinstance(RULE.judge(removed, None, row(2, hours_ago=1), NOW), Failed)
    assert RULE.judge(removed, None, row(3, hours_ago=1), NOW) == Mirrored(changed=False)
    for old in (DELETED, replace(CHANGED, rev="3-c"), replace(CHANGED, rev=None), None):
        assert RULE.judge(removed, old, None, NOW) == Mirrored(changed=False)


def test_a_package_that_was_never_held() -> None:
    """Deleted before it could be captured, or not there (yet)."""
    assert RULE.judge(None, DELETED, None, NOW) == Skipped("gone_before_capture")
    assert RULE.judge(None, CHANGED, None, NOW) == Failed(
        "not_found", None, "announced by the feed"
    )
    assert RULE.judge(None, None, None, NOW) == Failed("not_found", None)


def test_a_package_that_was_erased_is_as_if_never_held() -> None:
    """What upstream has or has not is no news of a package that must not be known."""
    assert RULE.judge(Known(state="erased"), DELETED, None, NOW) == Skipped("gone_before_capture")


def test_the_evidence_tells_what_was_answered_and_since_when() -> None:
    """Its times are in the capture log alone: an event is the same whenever it is made."""
    evidence = evidence_of(451, DELETED, row(2, hours_ago=24), NOW)
    first = timestamp(NOW - timedelta(hours=24))
    assert evidence == {"status": 451, "answers": 3, "first_at": first, "feed": "deleted"}
    known = replace(LIVE, versions={"1.0.0": KnownVersion(b""), "0.9.0": KnownVersion(b"", False)})
    told = removed_event(known, evidence).detail
    assert told == {"versions": 1, "status": 451, "answers": 3, "feed": "deleted"}


def test_a_record_of_an_older_program_has_its_event_too() -> None:
    """Evidence that tells less."""
    assert removed_event(LIVE, {"status": 404}).detail == {"versions": 0, "status": 404}
    assert [reason_of({"status": status}) for status in (404, 410, 451)] == [
        "not_found",
        "gone",
        "legal_reasons",
    ]


Answer = tuple[float, str]
ANSWERS = st.lists(
    st.tuples(
        st.floats(0, 20),
        st.sampled_from(["missing"] * 6 + ["found", "failed", "changed", "deleted"]),
    ),
    max_size=40,
)


@given(ANSWERS, st.integers(1, 4), st.floats(0, 48))
def test_whatever_is_answered_a_removal_is_proven(
    history: list[Answer], needed: int, hours: float
) -> None:
    """Gone exactly when the unbroken answers at the end are enough, over the time."""
    rule, now, seq = RemovalRule(needed, hours), NOW, 7
    work: WorkItem | None = None
    unbroken: list[datetime] = []
    for pause, what in history:
        now += timedelta(hours=pause)
        change = None
        if what in {"changed", "deleted"}:
            seq += 1
            change = Change(seq, "left-pad", f"{seq}-x", deleted=what == "deleted")
        if what == "found":
            work, unbroken = None, []
            continue
        if what == "failed":
            since = timestamp(now)
            work, unbroken = WorkItem("left-pad", "", "http_500", since, 1, since=since), []
            continue
        if what == "changed":
            unbroken = []
        unbroken.append(now)
        outcome = rule.judge(LIVE, change, work, now)
        proven = len(unbroken) >= needed and now - unbroken[0] >= timedelta(hours=hours)
        assert isinstance(outcome, Gone) == proven
        if isinstance(outcome, Failed):
            assert outcome.retry_at is not None
            assert outcome.retry_at >= now
        count, first = 1 + answers_before(work, change), first_answer(work, change, now)
        work = WorkItem(
            *("left-pad", "", NOT_FOUND, timestamp(now), count),
            rev=change.rev if change else (work.rev if work else None),
            seq=change.seq if change else (work.seq if work else None),
            since=timestamp(first),
        )
