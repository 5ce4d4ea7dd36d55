"""Who is to blame for a request that failed."""

import pytest

from npmmirror.outcome import WorkItem
from npmmirror.pipeline.blame import DOCUMENT, TARBALL, blame
from npmmirror.pipeline.pause import EVERYWHERE, Pause
from npmmirror.upstream import BadAnswer, HostFault, ServerFault
from tests.pipeline.conftest import ManualClock


def row(reason: str, attempts: int = 1) -> WorkItem:
    return WorkItem("bad", "", reason, "2026-11-22T08:00:00.000000Z", attempts=attempts)


def test_a_refusal_is_the_hosts_at_first(clock: ManualClock) -> None:
    """429, 503 or no connection: everybody waits, no attempt is used up."""
    host = Pause(clock)
    assert blame(host, DOCUMENT, "p", HostFault("http_503"), None)
    assert host.paused


def test_the_same_refusal_again_is_the_packages(clock: ManualClock) -> None:
    """As long as the others are served."""
    host = Pause(clock)
    assert not blame(host, DOCUMENT, "bad", HostFault("http_503"), row("http_503", 0))
    assert not host.paused


@pytest.mark.parametrize(("before", "now"), [("http_500", "http_503"), ("throttled", "throttled")])
def test_another_refusal_is_the_hosts(clock: ManualClock, before: str, now: str) -> None:
    """A new kind of it, or our own throttle's word, which is about nobody."""
    host = Pause(clock)
    assert blame(host, DOCUMENT, "bad", HostFault(now), row(before))
    assert host.paused


@pytest.mark.parametrize("reason", ["http_404", "too_large", "host_refused", "bad_name", "bad_url"])
def test_what_lies_in_the_question_is_never_the_hosts(clock: ManualClock, reason: str) -> None:
    """However many packages meet it one after the other."""
    host = Pause(clock)
    blamed = [blame(host, TARBALL, f"p{n}", BadAnswer(reason), None) for n in range(100)]
    assert not any(blamed)
    assert not host.paused


def test_an_answer_of_not_there_shows_that_the_host_is_well(clock: ManualClock) -> None:
    """It ends the suspicion that others raised."""
    host = Pause(clock)
    for number in range(EVERYWHERE - 1):
        blame(host, TARBALL, f"p{number}", ServerFault("http_500"), None)
    blame(host, TARBALL, "other", BadAnswer("http_404"), None)
    assert not blame(host, TARBALL, "next", ServerFault("http_500"), None)


def test_a_failure_of_many_is_the_hosts(clock: ManualClock) -> None:
    """Different packages, none of which failed before."""
    host = Pause(clock)
    blamed = [
        blame(host, DOCUMENT, f"p{n}", ServerFault("http_500"), None) for n in range(EVERYWHERE)
    ]
    assert blamed == [False] * (EVERYWHERE - 1) + [True]
