"""The line that `systemctl status` shows."""

from dataclasses import replace

from npmmirror.daemon.glance import Glance, line

BEHIND = Glance(in_work=32, finished=9, follow_lag=1240000, mirror_lag=1250000, unfinished=5000)


def test_behind() -> None:
    """Both lags, what is not finished, the rate, what is in work."""
    assert line(BEHIND, 310.25) == (
        "following: 310.2 changes/s, follow lag 1,240,000, mirror lag 1,250,000, "
        "5,000 changes not finished, 32 in work"
    )


def test_at_the_head() -> None:
    """Where nothing is left to do."""
    now = Glance(in_work=0, finished=9, follow_lag=0, mirror_lag=0, unfinished=0)
    assert line(now, 0.0) == "following: 0.0 changes/s, at the head, 0 in work"


def test_what_is_paused_and_why() -> None:
    """With the time since when, and beside it what else is wrong."""
    now = replace(
        BEHIND,
        paused="unreachable: no route",
        paused_since="2026-11-20T10:00:00.123456Z",
        troubles=("the feed: unreachable (no route)",),
    )
    assert line(now, None) == (
        "fetching paused since 10:00:00Z (unreachable: no route): follow lag 1,240,000, "
        "mirror lag 1,250,000, 5,000 changes not finished, 32 in work; "
        "the feed: unreachable (no route)"
    )


def test_nothing_is_known_yet() -> None:
    """A start that waits for the feed."""
    now = Glance(in_work=0, finished=0, following=False, troubles=("the feed: http_503",))
    assert line(now, 0.0) == "waiting to follow: 0 in work; the feed: http_503"


def test_draining() -> None:
    """What is still in work."""
    assert line(BEHIND, 310.0, draining=True) == "draining: 32 in work"
