"""What a job leaves for the work list."""

from dataclasses import replace
from datetime import timedelta

import pytest

from npmmirror.change import Change
from npmmirror.clock import timestamp
from npmmirror.effects import Known
from npmmirror.origin import BACKFILL, FORCED, RECONCILE
from npmmirror.outcome import Failed, Mirrored, MissedTarball, Outcome, Skipped, WorkItem
from npmmirror.pipeline.attestations import MissedBundle
from npmmirror.pipeline.job import (
    ASKED,
    ATTESTATION,
    PACKUMENT,
    REPAIR,
    THROTTLED,
    WANTED,
    Job,
    is_forced,
)
from npmmirror.pipeline.leftovers import Leftovers, dead_letters
from npmmirror.pipeline.look import Look
from npmmirror.pipeline.removal import HELD, NOT_FOUND
from npmmirror.pipeline.schedule import Schedule
from npmmirror.pipeline.second_looks import STALE, STILL_THERE
from npmmirror.policy import Want
from tests.pipeline.conftest import ManualClock

CHANGED = Change(7, "left-pad", "4-d")
FAULT = Failed("server_error", None, "503")
EARLIER = "2026-11-21T08:00:00.000000Z"


@pytest.fixture
def leftovers(clock: ManualClock) -> Leftovers:
    """Pauses of 30 s and more, three attempts."""
    return Leftovers(Schedule(clock, first_seconds=30, longest_seconds=100, max_attempts=3))


def look(outcome: Outcome) -> Look:
    return Look(outcome, Known(state="live", rev="3-c"))


def row(item: str, reason: str = "server_error", attempts: int = 1) -> WorkItem:
    return WorkItem("left-pad", item, reason, EARLIER, attempts, since=EARLIER)


def test_a_failed_document_is_tried_again_with_what_was_announced(
    leftovers: Leftovers, clock: ManualClock
) -> None:
    """The row keeps the change, for nothing else does once the checkpoint has passed it."""
    job = Job("left-pad", change=CHANGED, announced_at=EARLIER)
    work = leftovers.work(job, look(FAULT), [], [], settled=True)
    now = clock.now()
    due = timestamp(now + timedelta(seconds=30))
    since = timestamp(now)
    assert work.put == (
        WorkItem(
            "left-pad",
            PACKUMENT,
            "server_error",
            due,
            attempts=1,
            rev="4-d",
            seq=7,
            since=since,
            detail="503",
            announced_at=EARLIER,
        ),
    )
    assert work.done == ()


def test_what_only_a_person_asked_for_leaves_no_row(leftovers: Leftovers) -> None:
    """That person was told, and asks again or does not."""
    work = leftovers.work(Job("left-pad", want=Want()), look(FAULT), [], [], settled=False)
    assert (work.put, work.done) == ((), ())


@pytest.mark.parametrize(
    ("job", "waiting", "forced"),
    [
        (Job("left-pad"), "server_error", False),
        (Job("left-pad"), ASKED, True),
        (Job("left-pad"), REPAIR, True),
        (Job("left-pad", want=Want(("1.0.0",)), force=True), "server_error", True),
        (Job("left-pad", want=Want(("1.0.0",)), force=True), None, True),
        (Job("left-pad", want=Want(("1.0.0",))), None, False),
        (Job("left-pad", express=True), ASKED, False),
    ],
)
def test_what_was_forced_is_so_while_it_fails(
    leftovers: Leftovers, job: Job, waiting: str | None, *, forced: bool
) -> None:
    """By the job, which a person's wish may have joined, or by its row; not by a client's wish."""
    work = {"1.0.0": row("1.0.0", waiting)} if waiting is not None else {}
    missed = [MissedTarball("1.0.0", FAULT)]
    left = leftovers.work(replace(job, work=work), look(Mirrored()), [], missed, settled=False)
    assert [is_forced(one) for one in left.put] == [forced]
    assert left.put[0].reason == "server_error"


@pytest.mark.parametrize("origin", [BACKFILL, RECONCILE])
def test_tarballs_keep_who_brought_them_while_they_fail(leftovers: Leftovers, origin: str) -> None:
    """A paused backfill holds back what it brought; a failed tarball had lost its origin."""
    rows = {item: replace(row(item), origin=origin) for item in (PACKUMENT, "1.0.0")}
    missed = [MissedTarball("1.0.0", FAULT), MissedTarball("2.0.0", FAULT)]
    wanted = ["1.0.0", "2.0.0", "3.0.0"]
    for job, by_document in (
        (Job("left-pad", work=rows), origin),
        (Job("left-pad", work=rows, change=CHANGED), ""),
        (Job("left-pad", work=rows, want=Want()), ""),
    ):
        work = leftovers.work(job, look(Mirrored()), wanted, missed, settled=True)
        assert {one.item: one.origin for one in work.put} == {
            "1.0.0": origin,
            "2.0.0": by_document,
            "3.0.0": by_document,
        }


def test_a_fault_of_the_host_uses_up_no_attempt(leftovers: Leftovers, clock: ManualClock) -> None:
    """Else an outage would make dead letters of all that was in work."""
    job = Job("left-pad", document=False, work={"1.0.0": row("1.0.0", attempts=3)})
    missed = [MissedTarball("1.0.0", replace(FAULT, counts=False))]
    work = leftovers.work(job, look(Mirrored()), ["1.0.0"], missed, settled=False)
    assert [(one.attempts, one.since) for one in work.put] == [(3, EARLIER)]
    assert work.put[0].not_before == timestamp(clock.now() + timedelta(seconds=100))


def test_the_throttles_word_does_not_replace_what_upstream_said(leftovers: Leftovers) -> None:
    """A 503 that is one package's own was forgotten so, and stopped the whole mirror once more."""
    quiet = Failed(THROTTLED, None, "asked for 16 s of quiet", counts=False)
    old = {item: replace(row(item, "http_503"), detail="/a") for item in (PACKUMENT, "1.0.0")}
    job = Job("left-pad", change=CHANGED, work=old | {"2.0.0": row("2.0.0", WANTED, attempts=0)})
    missed = [MissedTarball(version, quiet) for version in ("1.0.0", "2.0.0")]
    work = leftovers.work(job, look(quiet), ["1.0.0", "2.0.0"], missed, settled=False)
    assert [(one.item, one.reason, one.detail, one.attempts) for one in work.put] == [
        (PACKUMENT, "http_503", "/a", 1),
        ("1.0.0", "http_503", "/a", 1),
        ("2.0.0", THROTTLED, "asked for 16 s of quiet", 0),
    ]


def test_the_last_attempt_leaves_a_dead_letter(leftovers: Leftovers) -> None:
    """It stays on the list, and is not due."""
    job = Job("left-pad", document=False, work={"1.0.0": row("1.0.0", attempts=2)})
    missed = [MissedTarball("1.0.0", FAULT)]
    work = leftovers.work(job, look(Mirrored()), ["1.0.0"], missed, settled=False)
    assert [(one.item, one.attempts, one.not_before) for one in work.put] == [("1.0.0", 3, None)]


def test_what_was_done_or_is_not_wanted_is_taken_off(leftovers: Leftovers) -> None:
    """A tarball that was skipped is done with, as one that is held."""
    rows = {item: row(item) for item in (PACKUMENT, "1.0.0", "2.0.0")}
    outcomes = [MissedTarball("1.0.0", Skipped("too_large")), MissedTarball("2.0.0", FAULT)]
    job = Job("left-pad", change=CHANGED, work=rows)
    work = leftovers.work(job, look(Mirrored()), ["1.0.0", "2.0.0"], outcomes, settled=True)
    assert [one.item for one in work.put] == ["2.0.0"]
    assert set(work.done) == {PACKUMENT, "1.0.0"}


@pytest.mark.parametrize(("force", "reason"), [(False, WANTED), (True, ASKED)])
def test_what_a_job_had_no_time_for_is_due_at_once(
    leftovers: Leftovers, clock: ManualClock, force: bool, reason: str
) -> None:
    """A row that waited keeps its reason and attempts; both say whether a person insisted."""
    job = Job("left-pad", want=Want(), force=force, work={"1.0.0": row("1.0.0", attempts=2)})
    work = leftovers.work(job, look(Mirrored()), ["1.0.0", "2.0.0"], [], settled=False)
    now = timestamp(clock.now())
    old = replace(row("1.0.0", attempts=2), not_before=now, origin=FORCED if force else "")
    assert work.put == (old, WorkItem("left-pad", "2.0.0", reason, now, since=now))


def test_attestations_that_were_not_asked_for_are_due_at_once(
    leftovers: Leftovers, clock: ManualClock
) -> None:
    """Those that failed wait, as a tarball would."""
    bundles = [MissedBundle("1.0.0", None), MissedBundle("2.0.0", FAULT)]
    work = leftovers.work(Job("left-pad"), look(Mirrored()), [], [], settled=False, bundles=bundles)
    now, later = timestamp(clock.now()), timestamp(clock.now() + timedelta(seconds=30))
    found = [(one.item, one.reason, one.not_before, one.attempts) for one in work.put]
    assert found == [("1.0.0", ATTESTATION, now, 0), ("2.0.0", "server_error", later, 1)]


def test_attestations_outlast_a_backfill_that_is_given_up(leftovers: Leftovers) -> None:
    """It takes its rows back, but the tarball is held by now."""
    rows = {item: replace(row(item), origin=BACKFILL) for item in (PACKUMENT, "1.0.0")}
    bundles = [MissedBundle("1.0.0", FAULT), MissedBundle("2.0.0", FAULT)]
    job = Job("left-pad", work=rows)
    work = leftovers.work(job, look(Mirrored()), [], [], settled=True, bundles=bundles)
    assert [(one.item, one.origin) for one in work.put] == [("1.0.0", ""), ("2.0.0", "")]


@pytest.mark.parametrize("reason", [NOT_FOUND, HELD])
@pytest.mark.parametrize(("deleted", "doubt"), [(False, STALE), (True, STILL_THERE)])
def test_a_document_that_is_there_has_answers_counted_anew(
    leftovers: Leftovers, clock: ManualClock, *, reason: str, deleted: bool, doubt: str
) -> None:
    """What the feed says of the package is looked after; rows of other troubles stay as they are."""
    counting = replace(row(PACKUMENT, reason, 5), deleted=deleted, rev="4-d", detail="answer 5")
    found = leftovers.contradicted([counting, row("1.0.0", reason), row(PACKUMENT, "bug")])
    now = timestamp(clock.now())
    assert found == [replace(counting, reason=doubt, attempts=1, since=now, detail="")]


def test_dead_letters_keep_what_is_taken_off(leftovers: Leftovers) -> None:
    """Nothing of it is due any more; the rest is as it was."""
    job = Job("left-pad", change=CHANGED, work={"1.0.0": row("1.0.0")})
    work = leftovers.work(job, look(FAULT), [], [], settled=True)
    dead = dead_letters(work)
    assert [one.not_before for one in dead.put] == [None]
    assert dead.done == work.done == ("1.0.0",)
