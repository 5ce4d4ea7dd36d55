"""One 404 proves nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from npmmirror.change import Change
from npmmirror.clock import timestamp
from npmmirror.effects import Known
from npmmirror.outcome import Failed, Gone, Mirrored, Skipped, WorkItem
from npmmirror.pipeline.removal import RemovalRule

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
RULE = RemovalRule(answers=3, hours=24)
LIVE = Known(state="live", rev="3-c")
CHANGED = Change(7, "left-pad", "4-d")
DELETED = replace(CHANGED, deleted=True)


def row(answers: int, *, hours_ago: float, reason: str = "not_found") -> WorkItem:
    since = timestamp(NOW - timedelta(hours=hours_ago))
    return WorkItem("left-pad", "", reason, since, attempts=answers, since=since)


def test_the_first_answer_is_no_proof() -> None:
    """Npm's own maintenance once answered 404 for living packages."""
    outcome = RULE.judge(LIVE, CHANGED, None, NOW)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "not_found"
    assert outcome.retry_at == NOW + timedelta(hours=12)


def test_enough_answers_in_too_short_a_time_are_no_proof() -> None:
    """They have to lie a day apart, first to last."""
    assert isinstance(RULE.judge(LIVE, CHANGED, row(9, hours_ago=23), NOW), Failed)


def test_too_few_answers_over_a_long_time_are_no_proof() -> None:
    """A mirror that was off for a week has still asked twice only."""
    assert isinstance(RULE.judge(LIVE, CHANGED, row(1, hours_ago=200), NOW), Failed)


def test_enough_answers_over_the_time_are_a_proof() -> None:
    """Three answers, a day apart."""
    assert RULE.judge(LIVE, CHANGED, row(2, hours_ago=24), NOW) == Gone("removed")


def test_the_feeds_own_word_needs_no_day() -> None:
    """Where the feed calls it deleted, repeated answers suffice; one still does not."""
    assert isinstance(RULE.judge(LIVE, DELETED, None, NOW), Failed)
    assert RULE.judge(LIVE, DELETED, row(2, hours_ago=0), NOW) == Gone("removed")


def test_other_failures_are_no_answers() -> None:
    """Attempts that failed for another reason do not count as "not there"."""
    assert isinstance(
        RULE.judge(LIVE, DELETED, row(9, hours_ago=99, reason="http_500"), NOW), Failed
    )


def test_a_package_that_was_removed_before_is_no_news() -> None:
    """Nothing changes, nothing is tried again."""
    assert RULE.judge(Known(state="removed"), CHANGED, None, NOW) == Mirrored(changed=False)


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
