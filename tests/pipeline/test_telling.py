"""What the log says of finished changes: a line each, up to a number a second, then sums."""

import logging
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
import structlog

from npmmirror.capture import Location, Payload
from npmmirror.change import Change
from npmmirror.effects import Effects, Event, EventKind, PackageFacts, VersionFacts
from npmmirror.index import Mark
from npmmirror.outcome import (
    Digests,
    Failed,
    Gone,
    HeldTarball,
    Mirrored,
    MissedTarball,
    Outcome,
    Skipped,
    TarballOutcome,
    Work,
    WorkItem,
)
from npmmirror.pipeline.job import CapturedDocument, CapturedGone, Done, Job
from npmmirror.pipeline.telling import Telling, tell_added, tell_moved
from tests.pipeline.conftest import ManualClock

Lines = list[MutableMapping[str, Any]]
AT = "2026-11-22T08:00:00.000000Z"


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What is logged at info and above."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with structlog.testing.capture_logs() as captured:
        yield captured
    structlog.reset_defaults()


@pytest.fixture
def everything(lines: Lines) -> Lines:
    """What is logged at debug, too."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    return lines


def document() -> CapturedDocument:
    """A document of 900 bytes with one new version."""
    facts = PackageFacts("live", "1-a", None, None, "1.0.0", None, None, 1)
    effects = Effects(
        facts,
        versions=(VersionFacts("1.0.0", b"digest"),),
        events=(Event(EventKind.VERSION_PUBLISHED, "1.0.0"),),
    )
    return CapturedDocument(Payload(b"", 900, "00"), "1-a", None, effects)


def held(staged: str | None = "staging/1") -> HeldTarball:
    """A tarball of 100 bytes."""
    return HeldTarball("1.0.0", "packages/a.tgz", 100, Digests("00"), "", staged)


def done(
    outcome: Outcome,
    *tarballs: TarballOutcome,
    package: str = "a",
    change: bool = True,
    brought: CapturedDocument | None = None,
    gone: CapturedGone | None = None,
    put: tuple[WorkItem, ...] = (),
) -> Done:
    """A finished job, of a change unless said otherwise."""
    announced = Change(7, package, "1-a") if change else None
    job = Job(package, change=announced, tickets=[1] if change else [])
    return Done(
        job, outcome, AT, brought, gone, tuple(tarballs), work=Work(put=put), seconds=0.1239
    )


def mirrored(package: str = "a") -> Done:
    """A change with a new version and its tarball."""
    return done(Mirrored(), held(), package=package, brought=document())


def test_a_change_is_a_line(clock: ManualClock, lines: Lines) -> None:
    """With what it brought."""
    Telling(clock, most=10, quiet=False).committed([mirrored()])
    assert lines == [
        {
            "event": "mirrored",
            "log_level": "info",
            "package": "a",
            "seq": 7,
            "rev": "1-a",
            "events": 1,
            "versions": 1,
            "tarballs": 1,
            "bytes": 1000,
            "left": 0,
            "seconds": 0.124,
        }
    ]


@pytest.mark.parametrize(
    ("outcome", "event", "reason"),
    [
        (Mirrored(changed=False), "skipped_change", "unchanged"),
        (Skipped("too_large"), "skipped_change", "too_large"),
        (Gone("removed"), "gone", "removed"),
    ],
)
def test_a_change_that_brought_nothing_says_why(
    clock: ManualClock, lines: Lines, outcome: Outcome, event: str, reason: str
) -> None:
    """At info as well."""
    Telling(clock, most=10, quiet=False).committed([done(outcome)])
    [line] = lines
    assert (line["event"], line["reason"], line["log_level"]) == (event, reason, "info")


def test_what_the_policy_does_not_want_is_no_news(clock: ManualClock, lines: Lines) -> None:
    """Nearly all changes are such where little is wanted: no line at info, a place in the sums."""
    telling = Telling(clock, most=10, quiet=False)
    telling.committed([done(Skipped("policy", "policy.deny"))])
    assert lines == []
    assert telling.sums.ends["skipped"] == 1


def test_failures_say_when_they_are_tried_again(clock: ManualClock, lines: Lines) -> None:
    """Of the packument and of each tarball; a dead letter never is."""
    retry_at = "2026-11-22T09:00:00.000000Z"
    telling = Telling(clock, most=0, quiet=True)
    telling.committed(
        [
            done(
                Failed("http_500", datetime.now(UTC), "said so"),
                put=(WorkItem("a", "", "http_500", retry_at, 3),),
            ),
            done(
                Mirrored(changed=False),
                MissedTarball("1.0.0", Failed("digest_mismatch", None, "both")),
                change=False,
                put=(WorkItem("a", "1.0.0", "digest_mismatch", None, 12),),
            ),
        ]
    )
    keys = ("event", "reason", "detail", "attempts", "retry_at")
    assert [tuple(line[key] for key in keys) for line in lines] == [
        ("failed", "http_500", "said so", 3, retry_at),
        ("tarball_failed", "digest_mismatch", "both", 12, "never"),
    ]
    assert telling.errors == {"http_500": 1, "digest_mismatch": 1}


def test_what_is_over_is_summed_up(clock: ManualClock, lines: Lines) -> None:
    """In one line, when the next second begins."""
    telling = Telling(clock, most=2, quiet=False)
    telling.committed([mirrored(f"p{number}") for number in range(5)])
    telling.committed([done(Gone("removed")), done(Mirrored(changed=False))])
    assert [line["event"] for line in lines] == ["mirrored", "mirrored"]
    clock.move(1.5)
    telling.committed([mirrored("later")])
    more, later = lines[2:]
    assert more == {
        "event": "more_changes",
        "log_level": "info",
        "changes": 5,
        "mirrored": 3,
        "skipped": 1,
        "gone": 1,
        "events": 3,
        "versions": 3,
        "tarballs": 3,
        "bytes": 3000,
        "seconds": 1.5,
    }
    assert later["package"] == "later"


@pytest.mark.anyio
async def test_a_sum_does_not_wait_for_the_next_change(clock: ManualClock, lines: Lines) -> None:
    """It is told about a second later, and once."""
    telling = Telling(clock, most=0, quiet=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(telling.run)
        for count in (1, 2):
            telling.committed([mirrored()])
            with anyio.fail_after(10):
                while len(lines) < count:
                    await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert [(line["event"], line["changes"]) for line in lines] == [("more_changes", 1)] * 2
    assert clock.slept == [1.0, 1.0]


def test_the_end_tells_what_is_over(clock: ManualClock, lines: Lines) -> None:
    """Once."""
    telling = Telling(clock, most=0, quiet=False)
    telling.committed([mirrored()])
    telling.sum_up()
    telling.sum_up()
    assert [line["event"] for line in lines] == ["more_changes"]


def test_quiet_keeps_changes_out(clock: ManualClock, lines: Lines) -> None:
    """And their sums; what failed is told all the same, and everything is counted."""
    telling = Telling(clock, most=1, quiet=True)
    telling.committed([mirrored(), mirrored(), done(Failed("timeout", None))])
    telling.sum_up()
    assert [line["event"] for line in lines] == ["failed"]
    assert (telling.sums.changes, telling.sums.tarballs) == (3, 2)


def test_a_log_of_everything_leaves_no_change_out(clock: ManualClock, everything: Lines) -> None:
    """Quiet or not."""
    Telling(clock, most=1, quiet=False).committed([mirrored()] * 3)
    Telling(clock, most=1, quiet=True).committed([mirrored()] * 3)
    assert [line["log_level"] for line in everything] == ["info"] * 3 + ["debug"] * 3


def test_tarballs_that_are_not_wanted_come_with_their_change(
    clock: ManualClock, lines: Lines
) -> None:
    """And are left out with it."""
    big = MissedTarball("2.0.0", Skipped("too_large", "2 GiB"))
    change = done(Mirrored(), big, brought=document())
    Telling(clock, most=1, quiet=False).committed([change, change])
    assert [line["event"] for line in lines] == ["tarball_skipped", "mirrored"]
    assert lines[0]["version"] == "2.0.0"


def test_the_stages_are_told_at_debug(everything: Lines) -> None:
    """By the names that the first NPM-Mirror gave its topics."""
    tell_moved([mirrored(), done(Mirrored(), held(staged=None), package="adopted")])
    mark = Mark(9, AT, "00", Location(1, 0), 7)
    tell_added([mirrored(), done(Failed("timeout", None), package="failed")], mark)
    assert [(line["event"], line["package"], line["seq"]) for line in everything] == [
        ("moved_to_remote", "a", 7),
        ("added_to_db", "a", 7),
    ]


def test_the_stages_are_not_told_at_info(lines: Lines) -> None:
    """Tailing is not drowned."""
    tell_moved([mirrored()])
    tell_added([mirrored()], Mark(9, AT, "00", Location(1, 0), 7))
    assert lines == []
